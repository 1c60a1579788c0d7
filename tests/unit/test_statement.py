"""A signed statement is good in one form only."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentvine.domain.evidence import Check, CheckOutcome, Evidence
from agentvine.domain.statement import NotGood, Statement, change_digest, envelope, opened
from agentvine.domain.worker_types import TaskType
from agentvine.kit.signing import SigningKey

KEY = SigningKey.generate()
EVIDENCE = Evidence(
    execution_id="exe_01k9zq4r8w6x5v3n2m1b0c9d8f",
    task_id="tsk_01k9zq4r8w6x5v3n2m1b0c9d8f",
    type=TaskType.BUGFIX,
    made_at=datetime(2026, 1, 1, tzinfo=UTC),
    base_sha="a" * 40,
    head_sha="b" * 40,
    checks=(Check(name="tests pass", outcome=CheckOutcome.PASSED, why="\u00fcn\u00ef \u202e \U0001f600"),),
    change_sha256="c" * 64,
)
STATEMENT = Statement("https://git.example.org/shop.git", "b" * 40, EVIDENCE)


def signed(statement: Statement = STATEMENT, key: SigningKey = KEY) -> bytes:
    return envelope(statement, key.public.id, key.sign).encode("ascii")


GOOD = signed()


def open_it(content: bytes, key: SigningKey = KEY) -> Statement:
    return opened(content, key.public.id, key.public.verifies)


def test_what_was_signed_is_read_back() -> None:
    assert open_it(GOOD) == STATEMENT
    assert signed() == GOOD


def test_every_byte_counts() -> None:
    for place in range(len(GOOD)):
        for other in (GOOD[place] ^ 1, 0x20 if GOOD[place] != 0x20 else 0x0A):
            changed = GOOD[:place] + bytes([other]) + GOOD[place + 1 :]
            with pytest.raises(NotGood):
                open_it(changed)


@given(place=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255))
def test_any_other_byte_anywhere_is_noticed(place: int, byte: int) -> None:
    changed = GOOD[:place] + bytes([byte]) + GOOD[place + 1 :]
    if changed != GOOD:
        with pytest.raises(NotGood):
            open_it(changed)


@given(place=st.integers(0, len(GOOD)), more=st.binary(max_size=3), less=st.integers(0, 3))
@example(place=len(GOOD), more=b"\n", less=0)
@example(place=0, more=b" ", less=0)
def test_nothing_can_be_added_or_left_out(place: int, more: bytes, less: int) -> None:
    changed = GOOD[:place] + more + GOOD[place + less :]
    if changed != GOOD:
        with pytest.raises(NotGood):
            open_it(changed)


@given(st.binary(max_size=200))
@example(b"{}")
@example(b"[" * 100_000)
@example(b'{"payload":"","payloadType":"","signatures":[{"keyid":"","sig":""}]}')
@example(b'{"payload":1,"signatures":[{"keyid":[],"sig":{}}]}')
def test_whatever_it_is_the_error_is_told(content: bytes) -> None:
    with pytest.raises(NotGood):
        open_it(content)


def test_another_key_and_another_kind_of_statement() -> None:
    with pytest.raises(NotGood, match="another key"):
        open_it(GOOD, SigningKey.generate())
    whole = json.loads(GOOD)
    payload = base64.b64decode(whole["payload"]).replace(b"urn:agentvine:evidence:v1", b"urn:agentvine:evidence:v9")
    pre = b" ".join([b"DSSEv1", b"28", b"application/vnd.in-toto+json", str(len(payload)).encode(), payload])
    whole["payload"] = base64.b64encode(payload).decode()
    whole["signatures"][0]["sig"] = base64.b64encode(KEY.sign(pre)).decode()
    with pytest.raises(NotGood, match="something else"):
        open_it(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode() + b"\n")


def test_what_is_signed_is_what_dsse_says() -> None:
    whole = json.loads(GOOD)
    payload = base64.b64decode(whole["payload"])
    pre = f"DSSEv1 28 application/vnd.in-toto+json {len(payload)} ".encode() + payload
    assert KEY.public.verifies(base64.b64decode(whole["signatures"][0]["sig"]), pre)
    told = json.loads(payload)
    assert told["subject"] == [{"name": STATEMENT.repository, "digest": {"gitCommit": STATEMENT.commit}}]


TREES = st.dictionaries(
    st.text(min_size=1, max_size=5), st.tuples(st.sampled_from(["100644", "100755"]), st.sampled_from(["1", "2"]))
)


@given(TREES, TREES, TREES, TREES)
def test_the_digest_of_a_change_is_that_of_no_other(
    one: dict[str, tuple[str, str]],
    two: dict[str, tuple[str, str]],
    three: dict[str, tuple[str, str]],
    four: dict[str, tuple[str, str]],
) -> None:
    def difference(
        before: dict[str, tuple[str, str]], after: dict[str, tuple[str, str]]
    ) -> dict[str, tuple[object, object]]:
        paths = before.keys() | after.keys()
        return {path: (before.get(path), after.get(path)) for path in paths if before.get(path) != after.get(path)}

    same = difference(one, two) == difference(three, four)
    assert (change_digest(one, two) == change_digest(three, four)) == same
