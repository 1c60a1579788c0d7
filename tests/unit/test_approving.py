"""What somebody is asked to agree to, what cannot be asked, and what an approval says of files."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import JsonValue

from agentvine.domain.approval import REGULAR, Grant, blob_id, covered, leaf, noted
from agentvine.domain.evidence import Check, CheckOutcome, Evidence
from agentvine.domain.precedent import likeness_of
from agentvine.domain.request import ControllerResponse, RequestKind, RequestStatus, ToolUse, Unanswered, WorkerRequest
from agentvine.domain.sensitive import Ruling
from agentvine.domain.worker_types import PROFILES, TaskType
from agentvine.worker.agent.base import ToolCall
from agentvine.worker.agent.edits import content_after
from agentvine.worker.agent.tools import Judgement, TypeGate
from agentvine.worker.approving import Approvals, Foresight, NotAskable, digest_of, question_of, use_of
from agentvine.worker.bare_repository import TreeFile
from agentvine.worker.clearance import lacks_only_approval, refusal_of, words_of
from agentvine.worker.verification.policy import SENSITIVE_CHECK

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PATH = "pyproject.toml"
RULING = Ruling("dependencies", "it decides", (PATH,), (PATH,))
JUDGEMENT = Judgement(None, (RULING,), (PATH,))
FORTY = "0" * 40


def call(name: str = "Write", **given: JsonValue) -> ToolCall:
    return ToolCall("toolu_1", name, given or {"file_path": PATH, "content": "x\n"})


def edit(old: str, new: str, **more: JsonValue) -> ToolCall:
    return call("Edit", file_path=PATH, old_string=old, new_string=new, **more)


def answered(leaves: dict[str, str | None], number: int = 1, **response: object) -> WorkerRequest:
    use = ToolUse(
        tool="Write",
        input={"file_path": PATH, "content": "x\n"},
        rule="dependencies, credentials",
        digest=digest_of("Write", {}),
        leaves=leaves,
    )
    values = {"verdict": "approved", "made_by": "key:1", "made_at": NOW, **response}
    return WorkerRequest(
        id=f"req_{number:026}",
        task_id=f"tsk_{FORTY[:26]}",
        work_order_id=f"wo_{FORTY[:26]}",
        execution_id=f"exe_{FORTY[:26]}",
        kind=RequestKind.APPROVAL,
        message="May the agent write it?",
        call=use,
        created_at=NOW,
        expires_at=NOW,
        response=ControllerResponse.model_validate(values),
    )


def test_another_input_is_another_digest() -> None:
    digests = {
        digest_of(*one) for one in (("Write", {"a": 1}), ("Write", {"a": "1"}), ("Edit", {"a": 1}), ("Write", {}))
    }
    assert len(digests) == 4
    assert digest_of("Write", {"a": 1, "b": 2}) == digest_of("Write", {"b": 2, "a": 1})
    assert digest_of("Write", {"a": "\ud800"}) != digest_of("Write", {"a": "b"})


def test_a_call_is_asked_about_as_it_is() -> None:
    use = use_of(call(), JUDGEMENT, {PATH: FORTY})
    assert (use.tool, use.input, use.rule) == ("Write", {"file_path": PATH, "content": "x\n"}, "dependencies")
    assert (use.leaves, use.paths) == ({PATH: FORTY}, (PATH,))
    assert use.digest == digest_of("Write", use.input, [PATH], ["dependencies"])
    assert use.paths_whole
    assert use.rules_whole


def test_what_is_too_much_to_be_listed_is_said_to_be_more() -> None:
    names = [f"{number:02}-{'x' * 47}" for number in range(20)]
    paths = tuple(map(str, range(201)))
    use = use_of(call(), Judgement(None, tuple(Ruling(name, "why", ("a",)) for name in names), paths), {})
    assert (use.paths, use.paths_whole) == (paths[:200], False)
    assert (use.rule, use.rules_whole) == (", ".join(names[:9]), False)
    less = use_of(call(), Judgement(None, tuple(Ruling(name, "why", ("a",)) for name in names[:-1]), paths[:-1]), {})
    assert less.paths_whole
    assert less.digest != use.digest
    again = ToolUse.model_validate_json(use.model_dump_json())
    assert not (again.paths_whole or again.rules_whole)


def test_a_call_is_the_same_wherever_the_checkout_is_and_another_where_a_link_leads_elsewhere(tmp_path: Path) -> None:
    def asked(root: Path, target: str) -> ToolUse:
        link = root / "notes" / "link"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        what = call(file_path="notes/link", content="x\n")
        return use_of(what, TypeGate(PROFILES[TaskType.FEATURE], root).judge(what), {})

    here, there = asked(tmp_path / "a", "../deploy/a.yml"), asked(tmp_path / "b", "../deploy/a.yml")
    other = asked(tmp_path / "a", "../deploy/b.yml")
    assert (here.paths, other.paths) == (("deploy/a.yml",), ("deploy/b.yml",))
    assert here.digest == there.digest != other.digest
    alike = [likeness_of(answered({}).model_copy(update={"call": use})) for use in (here, there, other)]
    assert alike[0] == alike[1] != alike[2]


def test_another_rule_makes_it_another_call() -> None:
    stricter = Judgement(None, (RULING, Ruling("licences", "why", (PATH,), (PATH,))), (PATH,))
    assert use_of(call(), JUDGEMENT, {}).digest != use_of(call(), stricter, {}).digest
    both = Judgement(None, tuple(reversed(stricter.rulings)), (PATH,))
    assert use_of(call(), both, {}).digest == use_of(call(), stricter, {}).digest
    odd = Judgement(None, (RULING,), ("\udcff",))
    with pytest.raises(NotAskable):
        use_of(call(), odd, {})


@pytest.mark.parametrize(
    "content",
    [
        "x" * 200_001,
        "\ud800",
        "a\0b",
        float("nan"),
        "ghp_" + "a1" * 18,
        "\\u0000 is fine, " + "sk-ant-" + "x" * 30,
    ],
)
def test_what_cannot_be_shown_cannot_be_asked(content: JsonValue) -> None:
    with pytest.raises(NotAskable):
        use_of(call(file_path=PATH, content=content), JUDGEMENT, {})


def test_what_is_nested_without_end_is_no_reason_to_break() -> None:
    deep: JsonValue = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(NotAskable):
        use_of(call(file_path=PATH, content=deep), JUDGEMENT, {})
    assert use_of(call(file_path=PATH, content="the text \\u0000 is no NUL"), JUDGEMENT, {}).tool == "Write"


def test_what_is_asked_names_the_call_and_the_reason() -> None:
    assert question_of(call(), JUDGEMENT)[0] == f"May the agent write `{PATH}`?"
    assert question_of(edit("a", "b"), JUDGEMENT)[0] == f"May the agent change `{PATH}`?"
    assert question_of(call("Read", file_path=".env"), Judgement(None, (RULING,), (".env",)))[0].endswith(
        "read `.env`?"
    )
    command = call("Bash", command="pip  install\nx" + "y" * 1000, description="Get x")
    message, context = question_of(command, JUDGEMENT)
    assert message.startswith("May the agent run `pip install x")
    assert len(message) < 400
    assert "sensitive by the rule dependencies (it decides)" in context
    assert "Get x" in context


@pytest.mark.parametrize(
    ("what", "before", "after"),
    [
        (call(file_path=PATH, content="ä\n"), None, "ä\n".encode()),
        (call(file_path=PATH, content=7), None, None),
        (call(file_path=PATH, content="\ud800"), None, None),
        (edit("b", "c"), b"abd", b"acd"),
        (edit("b", "c"), b"abb", None),
        (edit("b", "c", replace_all=True), b"abb", b"acc"),
        (edit("x", "c"), b"abb", None),
        (edit("", "c"), b"abb", None),
        (edit("b", "c"), b"ab\r\n", None),
        (edit("b", "c"), b"\xffb", None),
        (edit("b", "c"), None, None),
        (
            call("MultiEdit", edits=[{"old_string": "a", "new_string": "b"}, {"old_string": "b", "new_string": "c"}]),
            b"a",
            b"c",
        ),
        (call("MultiEdit", edits=[{"old_string": "a"}]), b"a", None),
        (call("MultiEdit", edits=7), b"a", None),
        (call("NotebookEdit", new_source="x"), b"a", None),
        (call("Bash", command="x"), b"a", None),
    ],
)
def test_what_a_file_will_hold(what: ToolCall, before: bytes | None, after: bytes | None) -> None:
    assert content_after(what, before) == after


async def test_a_change_is_foreseen_only_from_what_somebody_knows(tmp_path: Path) -> None:
    approvals = Approvals()

    async def base() -> Sequence[TreeFile]:
        return [TreeFile("100755", blob_id(b"base\n"), 5, PATH)]

    foresight = Foresight(tmp_path, base, approvals)
    (tmp_path / PATH).write_bytes(b"base\n")
    changed = leaf("100755", blob_id(b"more\n"))
    assert await foresight.leaves(edit("base", "more"), [PATH]) == {PATH: changed}
    (tmp_path / PATH).write_bytes(b"sneaked\nbase\n")
    assert await foresight.leaves(edit("base", "more"), [PATH]) == {}
    now = leaf("100755", blob_id(b"sneaked\nbase\n"))
    approvals.add(Grant("req_1", "result", "dependencies", "May it?", "key:1", leaves={PATH: now}))
    assert await foresight.leaves(edit("base", "more"), [PATH]) != {}
    approvals.drop("req_1")
    assert await foresight.leaves(edit("base", "more"), [PATH]) == {}
    assert await foresight.leaves(call(), [PATH]) == {PATH: leaf("100755", blob_id(b"x\n"))}
    assert await foresight.leaves(call(), ["/etc/passwd"]) == {}
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert await foresight.leaves(edit("root", "x"), ["link"]) == {}


async def test_making_it_again_what_it_was_needs_nobody(tmp_path: Path) -> None:
    async def base() -> Sequence[TreeFile]:
        return [TreeFile(REGULAR, blob_id(b"x\n"), 2, PATH)]

    foresight = Foresight(tmp_path, base, Approvals())
    as_before = await foresight.leaves(call(), [PATH])
    assert await foresight.takes_back(call(), JUDGEMENT, as_before)
    assert not await foresight.takes_back(call(), JUDGEMENT, {PATH: FORTY})
    assert not await foresight.takes_back(call(), JUDGEMENT, {})


@pytest.mark.parametrize(
    ("command", "free"),
    [
        ("rm LICENSE", True),
        ("git rm -f -- LICENSE 'deploy/new.yml'", True),
        ("git rm -q LICENSE && git commit -qm 'docs: back'", True),
        ('git rm -q LICENSE && git commit -qm "$(make)"', False),
        ("rm -rf LICENSE; rm uv.lock", False),
        ("cat LICENSE; rm LICENSE", False),
        ("rm LICENSE > LICENSE", False),
        ("rm LICENSE && make", False),
        ("rm $(make) LICENSE", False),
        ("rm LICENSE $X", False),
        ("rm LICENSE /etc/passwd", False),
        ("env rm LICENSE", False),
        ("git rm --pathspec-from-file=x LICENSE", False),
        ("cat .env; rm .env", False),
        ("rm .env", False),
        (f"rm LICENSE {PATH}", False),
        ("rm -r deploy/old LICENSE", False),
        ("rm -f uv.lock; cp /tmp/x uv.lock", False),
        ("rm -f LICENSE; pip install x", False),
    ],
)
async def test_to_delete_what_was_not_there_needs_nobody_and_nothing_beside_it_does(
    tmp_path: Path, command: str, free: bool
) -> None:
    async def base() -> Sequence[TreeFile]:
        return [TreeFile(REGULAR, blob_id(b"x\n"), 2, path) for path in (PATH, "deploy/old/a.yml")]

    what = call("Bash", command=command)
    judgement = TypeGate(PROFILES[TaskType.FEATURE], tmp_path).judge(what)
    assert judgement.objection is None
    assert judgement.rulings
    assert await Foresight(tmp_path, base, Approvals()).takes_back(what, judgement, {}) is free


def test_an_approval_is_of_files_as_they_are() -> None:
    request = answered({PATH: FORTY, "gone": None})
    grant = Grant.of(request)
    assert grant is not None
    assert covered(PATH, FORTY, [grant])
    assert covered("gone", None, [grant])
    for path, left in ((PATH, None), (PATH, f"120000 {FORTY}"), ("other", FORTY), ("gone", FORTY)):
        assert not covered(path, left, [grant])
    assert covered(PATH, FORTY, [grant], "credentials")
    assert not covered(PATH, FORTY, [grant], "licences")
    twin = Grant("req_1", "Write", "x", "?", "key:1", leaves={"a\ufffd": FORTY})
    assert not covered("a\ufffd", FORTY, [twin]), "several names look like this one"


@pytest.mark.parametrize("verdict", ["denied", "answer"])
def test_what_was_not_approved_allows_nothing(verdict: str) -> None:
    assert Grant.of(answered({PATH: FORTY}, verdict=verdict)) is None
    assert Grant.kept([answered({PATH: FORTY}, verdict=verdict)], NOW) == ()


def test_approved_with_another_input_it_is_about_what_that_leaves() -> None:
    changed = {"file_path": PATH, "content": "y\n"}
    for given, leaves in (
        (changed, {PATH: blob_id(b"y\n")}),
        ({**changed, "file_path": "elsewhere"}, {}),
        ({**changed, "content": "\ud800"}, {}),
        ({"file_path": PATH}, {}),
    ):
        grant = Grant.of(answered({PATH: FORTY}, changed_input=given))
        assert grant is not None
        assert (grant.leaves, grant.changed) == (leaves, True)
    again = Grant.kept([answered({PATH: FORTY}, changed_input=changed)], NOW)
    approvals = Approvals()
    approvals.know(again)
    assert [grant.leaves for grant in approvals.grants] == [{PATH: blob_id(b"y\n")}], (
        "it goes to the next without input"
    )
    assert [one.changed for one in noted(approvals.grants)] == [True]


def test_what_goes_to_the_next_execution_is_bounded_and_holds_still() -> None:
    later, over = NOW + timedelta(hours=1), NOW - timedelta(seconds=1)
    requests = [answered({PATH: FORTY}, 2, valid_until=later), answered({PATH: FORTY}, 1, valid_until=over)]
    kept = Grant.kept(requests, NOW)
    assert [request.id for request in kept] == [requests[0].id]
    assert kept[0].call is not None
    assert kept[0].call.input == {}
    many = [answered({PATH: FORTY}, number) for number in range(300, 0, -1)]
    kept = Grant.kept(many, NOW)
    assert [request.id for request in kept] == [request.id for request in reversed(many[:200])]
    wide = [answered({f"{number}": FORTY for number in range(2000)}, one) for one in range(30)]
    assert len(Grant.kept(wide, NOW)) == 10


def test_what_the_agent_is_told_of_a_result_that_may_not_leave() -> None:
    asked = answered({PATH: FORTY}, verdict="denied", message="too early")
    failed = Check(name=SENSITIVE_CHECK, outcome=CheckOutcome.FAILED, why="it is sensitive")
    evidence = Evidence(
        execution_id=asked.execution_id,
        task_id=asked.task_id,
        type=TaskType.FEATURE,
        made_at=NOW,
        base_sha=FORTY,
        head_sha=FORTY,
        checks=(failed,),
    )
    assert lacks_only_approval(evidence)
    assert not lacks_only_approval(
        evidence.model_copy(update={"checks": (failed, failed.model_copy(update={"name": "x"}))})
    )
    assert refusal_of(asked, evidence) == "The controller denied it: too early"
    expired = asked.model_copy(update={"status": RequestStatus.EXPIRED, "response": None})
    assert refusal_of(expired, evidence).startswith("Nobody approved it in time")
    stricter = asked.model_copy(update={"response": None})
    assert refusal_of(stricter, evidence) == f"{SENSITIVE_CHECK}: it is sensitive"
    edited = answered({}, changed_input={"files": {}}, message="so").response
    assert words_of(edited) == 'The controller does not want it as it is, but so: {"files": {}} so'
    assert words_of(Unanswered.DENY).startswith("Nobody approved it in time")
