"""Whatever somebody writes: what is quoted, code or hidden commands nothing, and what becomes of it can be stored."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from agentvine.domain.forge import ForgeComment, IssueSeen
from agentvine.domain.harmless import fenced, quoted
from agentvine.domain.intake import COMMAND, Command, answer_in, command_in, task_of_command, task_of_issue
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.repository_settings import IntakeRules, RepositorySettings
from agentvine.domain.request import RequestKind, WorkerRequest
from agentvine.domain.task import NewTask
from agentvine.domain.worker_types import PROFILES, TaskType

AT = datetime(2026, 1, 1, tzinfo=UTC)
LINES = st.sampled_from(
    [f"{COMMAND} test it", COMMAND, "> so", "```", "~~~", "    x", "", "<!--", "-->", "`", "<pre>", "x"]
)
BODIES = st.one_of(st.text(max_size=200), st.lists(LINES, max_size=12).map("\n".join)).map(
    lambda t: t.replace("\0", "")
)
RULES = IntakeRules(label="agent", users=("ann",))
URL = "https://git.example/a/b"


def issue(title: str, body: str) -> IssueSeen:
    return IssueSeen(number=1, url="", title=title[:500], body=body, author="x", at=AT)


@given(BODIES)
def test_nothing_quoted_fenced_or_hidden_is_a_command(body: str) -> None:
    assert command_in(quoted(body)) is None
    assert command_in(fenced(body)) is None
    assert command_in("\n".join(f"    {line}" for line in body.splitlines())) is None
    assert command_in(f"<!--{body.replace('-->', '')}") is None


HIDDEN = (
    "- log:\n\n- ```\n  /agentvine all of it\n  ```",
    "* ~~~\n  /agentvine all of it\n  ~~~",
    "- ```\n```\n/agentvine all of it\n```",
    "`x\n/agentvine all of it\n`",
    "`<!--`\n```\n-->\n/agentvine all of it\n```",
    "<div hidden>\n\n/agentvine all of it\n</div>",
    "x <div title='>' hidden>y\n/agentvine all of it",
    "<details>\n/agentvine all of it\n</details>",
    "<textarea>\n\n/agentvine all of it\n</textarea>",
    "> - so\n/agentvine all of it",
)
SHOWN = (
    "/agentvine it",
    "- so\n/agentvine it",
    "/agentvine it\n---",
    "<!-- hidden -->\n\n/agentvine it",
    "```\nx\n```\n  /agentvine it `and\r\nso on`",
    "\ue0000\ue000`/agentvine not it`\n/agentvine it",
    "from <name>\n\n/agentvine it",
)


def test_what_people_are_shown_as_words_is_a_command_and_nothing_else() -> None:
    assert [body for body in HIDDEN if command_in(body) is not None] == []
    found = [command_in(body) for body in SHOWN]
    assert [command.words[:2] if command else None for command in found] == ["it"] * len(SHOWN)


@given(BODIES, BODIES, st.sampled_from(TaskType), st.sampled_from([None, *PermissionLevel]))
def test_what_becomes_of_it_is_a_task_like_any_other(
    title: str, body: str, type_: TaskType, level: PermissionLevel | None
) -> None:
    rules = RULES.model_copy(update={"type": type_})
    settings = RepositorySettings(repository=URL, intake=rules, permission_level=level)
    comment = ForgeComment(id="1", author="ann", body=body, at=AT)
    command = command_in(body) or Command(None, title, body)
    for asked in (
        task_of_issue(issue(title, body), settings),
        task_of_command(command, comment, issue(title, body), settings),
    ):
        assert NewTask.model_validate_json(asked.model_dump_json()) == asked
        assert asked.repository == URL
        assert asked.level.rank <= PROFILES[asked.type].permission_level.rank
        assert asked.level.rank <= (level or PermissionLevel.SUPERVISED).rank
        assert (asked.hosts, asked.needs, asked.branch, asked.follows) == ((), (), "", None)


@given(BODIES, st.sampled_from(["ann", "Ann", "eve", "\uff41nn"]), st.booleans(), st.booleans())
def test_only_whole_words_of_those_who_are_named_answer(body: str, author: str, ours: bool, edited: bool) -> None:
    comment = ForgeComment(id="1", author=author, body=body, at=AT, ours=ours, edited=edited)
    request = WorkerRequest(
        id="req_00000000000000000000000000",
        task_id="tsk_00000000000000000000000000",
        work_order_id="wo_00000000000000000000000000",
        execution_id="exe_00000000000000000000000000",
        kind=RequestKind.CLARIFICATION,
        message="?",
        options=("one", "two"),
        created_at=AT,
        expires_at=AT,
    )
    answer = answer_in(comment, request, RULES)
    if ours or edited or author.lower() != "ann" or command_in(body) is not None or not body.strip():
        assert answer is None
    else:
        assert answer == {"1": "one", "2": "two"}.get(body.strip(), answer)
