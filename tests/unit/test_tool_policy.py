import pytest

from agentvine.domain.tool_policy import TOOLS, FileKind, policy_of
from agentvine.domain.worker_types import PROFILES, TaskType

CODE, TEST, DOCS = FileKind.CODE, FileKind.TEST, FileKind.DOCS


def test_every_tool_of_every_type_is_in_the_table_and_no_other() -> None:
    named = {tool for profile in PROFILES.values() for tool in profile.tools}
    assert named == TOOLS.keys()


@pytest.mark.parametrize(
    ("kind", "writes"),
    [
        (TaskType.FEATURE, {CODE, TEST, DOCS}),
        (TaskType.BUGFIX, {CODE, TEST, DOCS}),
        (TaskType.TEST, {TEST}),
        (TaskType.DOCS, {DOCS}),
        (TaskType.REFACTOR, {CODE, DOCS}),
        (TaskType.REVIEW, set()),
    ],
)
def test_what_each_type_may_write(kind: TaskType, writes: set[FileKind]) -> None:
    policy = policy_of(kind)
    assert policy.writes == writes
    assert {one for one in FileKind if policy.objection_to_writing(one) is None} == writes


def test_fewer_tools_are_less_freedom() -> None:
    assert policy_of(TaskType.FEATURE, ["test_write"]).writes == {TEST}
    assert policy_of(TaskType.FEATURE, ["code_write"]).writes == {CODE, DOCS}
    assert policy_of(TaskType.BUGFIX, ["log_analysis"]).writes == frozenset()
    assert policy_of(TaskType.REVIEW, ["code_write"]).writes == frozenset()


def test_the_objection_says_what_is_possible_instead() -> None:
    assert policy_of(TaskType.TEST).objection_to_writing(CODE) == (
        "This task changes tests only. If code must change, say so in your last message."
    )
    assert "report" in (policy_of(TaskType.REVIEW).objection_to_writing(DOCS) or "")


def test_a_tool_that_was_taken_away_takes_its_programs_with_it() -> None:
    assert policy_of(TaskType.TEST).objection_to_running("pytest") is None
    assert "test_execute" in (policy_of(TaskType.TEST, ["test_write"]).objection_to_running("pytest") or "")
    assert policy_of(TaskType.REVIEW, ["lint_check"]).objection_to_running("ruff") is None
    assert policy_of(TaskType.REVIEW, ["lint_check"]).objection_to_running("bandit")
    assert policy_of(TaskType.DOCS, ["docs_write"]).objection_to_running("mmdc")


def test_other_types_tools_are_no_reason_to_refuse_a_program() -> None:
    for program in ("pytest", "ruff", "mypy", "bandit", "ls"):
        assert policy_of(TaskType.FEATURE).objection_to_running(program) is None


def test_only_who_migrates_runs_migrations() -> None:
    for kind in TaskType:
        refused = policy_of(kind).objection_to_running("alembic") is not None
        assert refused is ("db_migrate" not in PROFILES[kind].tools)


def test_an_unknown_tool_is_told_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="no tool 'code'; the tools are code_write, "):
        policy_of(TaskType.FEATURE, ["code"])
