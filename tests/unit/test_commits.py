"""Commit objects and messages as values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentvine.worker.commits import Commit, dated, signed

OURS = {"AgentVine-Task": "tsk_1", "AgentVine-Execution": "exe_1"}
BLOCK = "AgentVine-Task: tsk_1\nAgentVine-Execution: exe_1\n"


def sign(message: str) -> str:
    return signed(message.encode(), "fix", OURS).decode()


def test_trailers_make_a_paragraph_of_their_own() -> None:
    assert sign("fix: the parser\n") == f"fix: the parser\n\n{BLOCK}"
    assert sign("fix: the parser\n\nIt dropped the last line.\n") == (
        f"fix: the parser\n\nIt dropped the last line.\n\n{BLOCK}"
    )


def test_trailers_join_those_that_are_there() -> None:
    assert sign("fix: it\n\nWhy.\n\nSigned-off-by: A <a@b>\nCo-Authored-By: B <b@c>\n") == (
        f"fix: it\n\nWhy.\n\nSigned-off-by: A <a@b>\nCo-Authored-By: B <b@c>\n{BLOCK}"
    )


def test_a_subject_that_looks_like_a_trailer_is_still_the_subject() -> None:
    assert sign("Note: careful") == f"fix: Note: careful\n\n{BLOCK}"


def test_forged_trailers_are_replaced_wherever_they_stand() -> None:
    forged = "fix: it\n\nAgentVine-Task: tsk_other\n\nMore.\n\nagentvine-execution: exe_other\nReviewed-by: X <x@y>\n"
    assert sign(forged) == f"fix: it\n\nMore.\n\nReviewed-by: X <x@y>\n{BLOCK}"


@pytest.mark.parametrize(
    ("subject", "wanted"),
    [
        ("correct the parser", "fix: correct the parser"),
        ("fix: correct the parser", "fix: correct the parser"),
        ("Fix: correct the parser", "fix: correct the parser"),
        ("test: reproduce it", "test: reproduce it"),
        ("feat(api)!: drop v1", "feat(api)!: drop v1"),
        ("FEAT(api): new", "feat(api): new"),
        ("fix the parser", "fix: fix the parser"),
        ("fixed: the parser", "fix: fixed: the parser"),
        ("chore(deps): bump", "chore(deps): bump"),
        ("fix:no space", "fix: fix:no space"),
        ("fix:", "fix: untitled change"),
        ("", "fix: untitled change"),
        ("WIP", "fix: WIP"),
    ],
)
def test_subjects(subject: str, wanted: str) -> None:
    assert sign(subject).split("\n")[0] == wanted


@given(st.text(max_size=300), st.sampled_from(["feat", "fix", "test", "docs", "refactor"]))
def test_signing_again_changes_nothing(message: str, prefix: str) -> None:
    once = signed(message.encode("utf-8", "surrogatepass"), prefix, OURS)
    assert signed(once, prefix, OURS) == once
    assert once.endswith(BLOCK.encode())
    assert once.count(b"AgentVine-Task:") == 1


def test_a_message_in_another_encoding_survives() -> None:
    assert "für".encode("latin-1") in signed("fix: für".encode("latin-1"), "fix", OURS)


RAW = (
    b"tree " + b"1" * 40 + b"\nparent " + b"2" * 40 + b"\nparent " + b"3" * 40 + b"\n"
    b"author Ann <ann@example.org> 1700000000 +0100\ncommitter Carl <c@d> 1700000100 +0000\n"
    b"encoding ISO-8859-1\ngpgsig -----BEGIN\n line two\n  parent " + b"4" * 40 + b"\n -----END\n\nfix: it\n\nmore\n"
)


def test_a_commit_is_read_and_written_but_for_its_signature() -> None:
    commit = Commit.parse(RAW)
    assert commit.parents == ("2" * 40, "3" * 40)
    assert commit.message == b"fix: it\n\nmore\n"
    before, _, after = RAW.partition(b"gpgsig")
    assert commit.render() == before + after[after.index(b"\n\n") + 1 :]
    assert Commit.parse(commit.render()) == commit


def test_dates_are_carried_over() -> None:
    commit = Commit.parse(RAW)
    assert dated(commit.committer, commit.author) == b"Carl <c@d> 1700000000 +0100"


def test_what_is_no_commit_is_said() -> None:
    with pytest.raises(ValueError, match="not a commit"):
        Commit.parse(b"tree 1\n\nno author")
