"""What Claude does, as it happens: the transcript of a task's executions."""

from typing import TYPE_CHECKING, Annotated

import typer

from agentvine.cli.call import Call
from agentvine.cli.command import command

if TYPE_CHECKING:
    from pydantic import JsonValue

    from agentvine.domain.execution import Execution
    from agentvine.wire.messages import TaskDetail, TranscriptPage

_LONG_POLL_SECONDS = 20.0
_TRY_AGAIN_SECONDS = 2.0

Target = Annotated[
    str, typer.Argument(metavar="TASK|EXECUTION", help="A task's id or enough of it, or a whole execution id.")
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on as it happens, until the task is over.")]
Raw = Annotated[
    bool, typer.Option("--json", help="Print the entries as Claude Code wrote them, one JSON object a line.")
]


@command("logs", "agentvine logs 7k3m9x2p", "agentvine logs -f 7k3m9x2p", "agentvine logs 7k3m9x2p --json")
async def logs(call: Call, target: Target, follow: Follow = False, as_json: Raw = False) -> None:
    """Show what Claude said and did.

    Its words, its tool calls with the argument that matters, the beginning of what came back, and what it cost.
    """
    from agentvine.cli.names import is_whole, task_id

    reader = Reader(call, follow, as_json)
    if is_whole(target.strip(), "exe_"):
        await reader.read(await call.desk.execution(target.strip()))
    else:
        await reader.read_task(await task_id(call.desk, target))


class Reader:
    """Prints transcripts, to their present end or on and on."""

    def __init__(self, call: Call, follow: bool, as_json: bool) -> None:
        self._call = call
        self._follow = follow
        self._as_json = as_json

    async def read_task(self, task_id: str) -> None:
        """Every attempt at a task, in order; when following, also those still to come."""
        from agentvine.cli.follow import following

        if not self._follow:
            detail = await self._call.desk.task(task_id)
            await self._read_new(detail, set())
            if not detail.executions:
                self._note(f"{detail.task.status.value}: nobody has worked on it yet")
            elif any(each.status.value == "open" for each in detail.requests):
                self._standing(detail)
            return
        async with following(self._call.desk, [task_id]) as changes:
            shown: set[str] = set()
            told = ""
            while True:
                detail = await self._patiently(task_id)
                if await self._read_new(detail, shown):
                    continue
                word = detail.task.status.value
                if word != told:
                    self._standing(detail)
                    told = word
                if word in {"completed", "failed", "cancelled"}:
                    return
                await changes.wait(_LONG_POLL_SECONDS)

    async def _read_new(self, detail: "TaskDetail", shown: set[str]) -> bool:
        new = [each for each in sorted(detail.executions, key=lambda each: each.attempt) if each.id not in shown]
        for execution in new:
            await self.read(execution)
            shown.add(execution.id)
        return bool(new)

    async def read(self, execution: "Execution") -> None:
        """One execution's transcript, and what it took if it is over."""
        self._note(f"── attempt {execution.attempt} on {execution.worker_id}  {execution.id}")
        after = 0
        while True:
            page = await self._page(execution.id, after)
            for entry in page.entries:
                self._print(entry)
            self._call.screen.flush()
            after = page.next
            if page.over or (not page.entries and not self._follow):
                break
        if page.over:
            self._note(_ending(await self._call.desk.execution(execution.id)))

    async def _page(self, execution_id: str, after: int) -> "TranscriptPage":
        from agentvine.domain.errors import Unavailable
        from agentvine.kit.doorbell import pause

        wait = _LONG_POLL_SECONDS if self._follow else 0.0
        while True:
            try:
                return await self._call.desk.transcript(execution_id, after, wait)
            except Unavailable:
                if not self._follow:
                    raise
            await pause(_TRY_AGAIN_SECONDS)

    async def _patiently(self, task_id: str) -> "TaskDetail":
        from agentvine.domain.errors import Unavailable
        from agentvine.kit.doorbell import pause

        while True:
            try:
                return await self._call.desk.task(task_id)
            except Unavailable:
                await pause(_TRY_AGAIN_SECONDS)

    def _print(self, entry: "dict[str, JsonValue]") -> None:
        from agentvine.cli.render import plain_json
        from agentvine.cli.transcript import lines

        if self._as_json:
            self._call.screen.raw(plain_json(entry))
            return
        for shown in lines(entry):
            self._call.screen.show(shown)

    def _standing(self, detail: "TaskDetail") -> None:
        """How it stands, and what is asked."""
        from agentvine.cli.asked import how_to_answer, options
        from agentvine.cli.text import short_id, shortened

        self._note(_standing(detail))
        if self._as_json:
            return
        for request in detail.requests:
            if request.status.value == "open":
                self._call.screen.say(("? ", "yellow"), shortened(request.message, 300))
                options(self._call.screen, request)
                self._note(f"→ {how_to_answer(request, short_id(request.id))}")

    def _note(self, words: str) -> None:
        if not self._as_json:
            self._call.screen.say((words, "dim"))
            self._call.screen.flush()


def _standing(detail: "TaskDetail") -> str:
    from agentvine.cli.progress import state

    words = state(detail)
    failure = detail.order.failure
    if detail.task.status.value == "failed" and failure is not None:
        return f"failed: {failure.reason.value}: {failure.detail}"
    return words


def _ending(execution: "Execution") -> str:
    from agentvine.cli.text import lasted, money, several
    from agentvine.cli.transcript import tokens

    usage = execution.usage
    words = [execution.outcome.value if execution.outcome else execution.phase.value]
    if execution.ended_at is not None:
        words.append(lasted(execution.started_at, execution.ended_at))
    words.append(several(usage.turns, "turn"))
    words.append(tokens(usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens, usage.output_tokens))
    words.append(money(usage.cost_usd))
    return "── " + " · ".join(words)
