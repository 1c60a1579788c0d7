"""What workers ask, drawn: short in the list, whole on its page. Strangers' words: all are cleaned."""

import difflib
from collections.abc import Iterator
from datetime import datetime

from pydantic import JsonValue

from agentvine.cli.render import Screen, block, plain_json, status
from agentvine.cli.results import DIFF_STYLES
from agentvine.cli.text import duration, repository_name, several, short_id, shortened, until
from agentvine.domain.request import ToolUse, Unanswered, WorkerRequest
from agentvine.wire.messages import Asked, TaskDetail

_LINES = 3
_WIDTH = 200
_OPTION_WIDTH = 120
_PATHS = 20
DIFF_LINES = 200
"""How much of a diff a page shows."""
_UNANSWERED = {
    Unanswered.DECIDE: "Claude decides itself",
    Unanswered.DENY: "it is denied, and Claude goes on without",
    Unanswered.FAIL: "the task fails",
}


def entry(screen: Screen, asked: Asked, now: datetime) -> None:
    """One request in the list."""
    request = asked.request
    screen.say(
        (short_id(request.id), "bold cyan"),
        f"  waits {_waited(request, now)}  ",
        (request.kind.value, "yellow"),
        f"  {asked.title}",
        (f"  {asked.type.value} in {repository_name(asked.repository)}, task {short_id(request.task_id)}", "dim"),
    )
    for row in _first(request.message):
        screen.say(f"  {row}")
    if request.call is not None:
        screen.say("  ", (_in_one_line(request.call), "bold"))
    for number, option in enumerate(request.options, 1):
        screen.say(f"  {number}. {shortened(option, _OPTION_WIDTH)}")
    where = "no slot is held" if asked.parked else "a worker holds its slot"
    screen.say((f"  {where}; {if_nobody(request, now)}", "dim"))


def if_nobody(request: WorkerRequest, now: datetime) -> str:
    """What happens if nobody answers, and when."""
    return f"if nobody answers, {_UNANSWERED[request.unanswered]} {until(request.expires_at, now)}"


def how_to_answer(request: WorkerRequest, name: str) -> str:
    """The command with which a person answers, where `name` names the request or its task."""
    if request.kind.value == "approval":
        return f"agentvine approve {name}; agentvine deny {name} --because TEXT"
    return f"agentvine answer {name} {'NUMBER|TEXT' if request.options else 'TEXT'}"


def page(screen: Screen, request: WorkerRequest, detail: TaskDetail, diff: str | None, now: datetime) -> None:
    """All that one needs in order to answer."""
    task = detail.task
    word = request.status.value
    screen.say((task.asked.title, "bold"))
    screen.say((f"{request.kind.value} ", "bold"), (word, str(status(word).style)), f"  {request.id}")
    for name, value in _facts(request, detail, now):
        screen.say((f"{name:<14}", "dim"), value)
    if task.asked.description:
        screen.show(block(f"\n{task.asked.description}"))
    _section(screen, "asked")
    screen.show(block(request.message, indent=2))
    if request.call is not None:
        _files(screen, request.call)
    if request.context:
        _section(screen, "context")
        screen.show(block(request.context, indent=2))
    options(screen, request)
    if request.call is not None:
        _call(screen, request.call)
    _diff(screen, diff, task.id)
    if request.response is not None:
        _section(screen, f"{request.response.verdict} by {request.response.made_by}")
        screen.show(block(request.response.message, indent=2))
    elif word == "open":
        screen.note(("→ ", "cyan"), (how_to_answer(request, short_id(request.id)), "dim"))


def options(screen: Screen, request: WorkerRequest) -> None:
    """The options of a request, as many as there are."""
    for number, option in enumerate(request.options, 1):
        screen.say(f"{number:>3}. {option}")


def _facts(request: WorkerRequest, detail: TaskDetail, now: datetime) -> Iterator[tuple[str, str]]:
    task = detail.task
    yield "task", f"{task.id}, {task.asked.type.value}, {task.permission_level.value}"
    yield "repository", f"{task.asked.repository}, branch {task.asked.branch}"
    yield "execution", request.execution_id
    if request.status.value == "open":
        parked = detail.order.status.value == "waiting"
        yield "waits", f"{_waited(request, now)}; {'no slot is held' if parked else 'a worker holds its slot'}"
        yield "unanswered", if_nobody(request, now)


def _waited(request: WorkerRequest, now: datetime) -> str:
    return duration((now - request.created_at).total_seconds())


def _section(screen: Screen, name: str) -> None:
    screen.say()
    screen.say((name, "bold"))


def _first(text: str) -> list[str]:
    rows = [row for row in text.splitlines() if row.strip()]
    more = [f"\u2026 {several(len(rows) - _LINES, 'more line')}"] if len(rows) > _LINES else []
    return [shortened(row, _WIDTH) for row in rows[:_LINES]] + more


# ── the exact call ───────────────────────────────────────────────────────────────────────────────────────────────


def _in_one_line(call: ToolUse) -> str:
    subject = next((call.input[name] for name in ("command", "file_path", "notebook_path") if name in call.input), None)
    shown = subject if isinstance(subject, str) else plain_json(call.input)
    return f"{call.tool}  {shortened(shown, _WIDTH)}"


def _files(screen: Screen, call: ToolUse) -> None:
    """The files that a call is about, links resolved."""
    for path in call.paths[:_PATHS]:
        screen.say(("  file  ", "dim"), shortened(path, _WIDTH))
    if len(call.paths) > _PATHS or not call.paths_whole:
        rest = several(len(call.paths) - _PATHS, "more file") if call.paths_whole else "more files than are listed"
        screen.say((f"  \u2026 {rest}", "dim"))


def _call(screen: Screen, call: ToolUse) -> None:
    _section(screen, f"the exact call: {call.tool}")
    screen.say((f"  it needs approval: {call.rule}", "dim"))
    rest = dict(call.input)
    if call.tool == "Bash" and isinstance(command := rest.pop("command", None), str):
        screen.show(block(command, "bold", indent=2))
    elif (rows := _edited(call)) is not None:
        _coloured(screen, rows)
        rest = {name: value for name, value in rest.items() if name not in _SHOWN_AS_DIFF}
    if rest:
        screen.show(block(plain_json(rest, indent=2), indent=2))


_SHOWN_AS_DIFF = frozenset({"file_path", "content", "old_string", "new_string", "edits"})


def _edited(call: ToolUse) -> list[str] | None:
    """The input of a tool that writes files, as a diff; None for any other tool, and for input that is not theirs."""
    path = call.input.get("file_path")
    if not isinstance(path, str):
        return None
    if call.tool == "Write":
        content = call.input.get("content")
        return [f"+++ {path}", *_added(content)] if isinstance(content, str) else None
    edits = call.input.get("edits") if call.tool == "MultiEdit" else [call.input] if call.tool == "Edit" else None
    if not isinstance(edits, list):
        return None
    rows = [f"--- {path}", f"+++ {path}"]
    for edit in edits:
        old, new = _strings(edit)
        if old is None or new is None:
            return None
        if call.tool == "MultiEdit" and isinstance(edit, dict) and edit.get("replace_all"):
            rows.append("@@ everywhere in the file @@")
        rows += _changed(old, new)
    return rows


def _changed(old: str, new: str) -> list[str]:
    """One replacement as a diff. Only `\\n` ends a line: any other end is part of it, and seen."""
    if old.endswith("\n") and new.endswith("\n"):
        old, new = old[:-1], new[:-1]
    rows = list(difflib.unified_diff(old.split("\n"), new.split("\n"), lineterm=""))[2:]
    if old != new and old.splitlines() == new.splitlines():
        rows.append("\\ only line ends change")
    return rows


def _added(content: str) -> list[str]:
    return [f"+{row}" for row in content.removesuffix("\n").split("\n")] if content else []


def _strings(edit: JsonValue) -> tuple[str | None, str | None]:
    given = edit if isinstance(edit, dict) else {}
    old, new = given.get("old_string"), given.get("new_string")
    return (old if isinstance(old, str) else None), (new if isinstance(new, str) else None)


def _diff(screen: Screen, diff: str | None, task_id: str) -> None:
    if diff is None:
        return
    rows = diff.removesuffix("\n").split("\n") if diff.strip() else []
    _section(screen, "the changes so far" if rows else "nothing is changed so far")
    _coloured(screen, rows[:DIFF_LINES])
    if len(rows) > DIFF_LINES:
        more = several(len(rows) - DIFF_LINES, "more line")
        screen.say((f"  \u2026 {more}; `agentvine diff {short_id(task_id)}` shows all", "dim"))


def _coloured(screen: Screen, rows: list[str]) -> None:
    for row in rows:
        style = next((style for start, style in DIFF_STYLES if row.startswith(start)), "")
        screen.show(block(row.expandtabs(8), style, indent=2))
