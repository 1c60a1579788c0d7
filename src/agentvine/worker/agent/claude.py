"""Claude Code, driven through the claude-agent-sdk.

One run is one process of the CLI. The SDK's connection is opened, read and closed by one coroutine in one task of its
own; `run` only watches that task, and before it returns the guardian beneath which the CLI ran has ended, and with it
everything that the CLI started. `tests/contract/test_claude_agent.py` holds the facts that are relied on.
"""

import asyncio
import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from agentvine.domain.execution import Usage
from agentvine.domain.retry import Failure, FailureReason
from agentvine.kit.clock import Clock, SystemClock
from agentvine.kit.doorbell import Doorbell
from agentvine.kit.logs import logger
from agentvine.worker.agent.base import AgentResult, Assignment, Entry, Meter, News, ToolGate, Transcript
from agentvine.worker.agent.launcher import Launch, Launcher, agent_environment
from agentvine.worker.agent.watchdog import Pulse

_CLOSE_SECONDS = 15.0

_log = logger("claude")


def bundled_cli() -> Path:
    """The Claude Code that comes with the SDK. Raises FileNotFoundError if the SDK is not installed."""
    spec = find_spec("claude_agent_sdk")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("claude-agent-sdk is not installed")
    return Path(spec.origin).parent / "_bundled" / "claude"


async def made_ready() -> None:
    """Import what a conversation needs, in a thread: seconds, the first time. Without it `run` waits for them."""
    await asyncio.to_thread(import_module, "agentvine.worker.agent.conversation")


class ClaudeCode:
    """The `Agent` that is Claude Code. `max_retries`: how often the CLI asks the model again by itself."""

    def __init__(self, launcher: Launcher, *, clock: Clock | None = None, max_retries: int = 5) -> None:
        self._launcher = launcher
        self._clock = clock or SystemClock()
        self._max_retries = max_retries

    async def run(
        self,
        assignment: Assignment,
        gate: ToolGate,
        transcript: Transcript,
        meter: Meter,
        news: News | None = None,
    ) -> AgentResult:
        """As in `Agent`. Raises OSError if `assignment.private` cannot be written."""
        await made_ready()
        environment = agent_environment(assignment, max_retries=self._max_retries)
        launch = self._launcher.prepare(assignment, environment)
        if assignment.resumes and not await _lay_out(assignment, launch, transcript):
            detail = "the conversation that should go on could not be loaded"
            return AgentResult(Usage(), failure=Failure(reason=FailureReason.AGENT_ERROR, detail=detail))
        return await _Run(assignment, launch, self._clock).watched(gate, transcript, meter, news)


async def _lay_out(assignment: Assignment, launch: Launch, transcript: Transcript) -> bool:
    """Put the conversation where the CLI looks for it. False if there is none.

    The CLI files a conversation under the path at which it sees the workspace. What the session cost so far is left
    out, or the CLI would count it again; so are the conversations of sub-agents, which are over.
    """
    from claude_agent_sdk import project_key_for_directory

    entries = [entry for entry in await transcript.load() if _goes_on(entry)]
    if not entries:
        return False
    folder = launch.configuration / "projects" / project_key_for_directory(launch.seen_at)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = "".join(json.dumps(entry, separators=(",", ":")) + "\n" for entry in entries)
    (folder / f"{assignment.session_id}.jsonl").write_text(lines, "utf-8")
    return True


def _goes_on(entry: Entry) -> bool:
    return entry.get("type") != "cost-state" and entry.get("isSidechain") is not True


class _Run:
    """One process of the CLI, from its start to its end."""

    def __init__(self, assignment: Assignment, launch: Launch, clock: Clock) -> None:
        self._assignment = assignment
        self._launch = launch
        self._clock = clock
        self._bell = Doorbell()
        self._pulse = Pulse(assignment.watchdog, asyncio.get_running_loop().time, self._bell.ring)
        self._verdict: Failure | None = None

    async def watched(self, gate: ToolGate, transcript: Transcript, meter: Meter, news: News | None) -> AgentResult:
        """Run to the end, whoever brings it about, and leave no process."""
        from agentvine.worker.agent.conversation import Conversation

        conversation = Conversation(
            self._assignment,
            self._launch,
            gate,
            transcript,
            meter,
            pulse=self._pulse,
            stop=self._stop,
            clock=self._clock,
            news=news,
        )
        holding = asyncio.create_task(conversation.hold(), name=f"claude {self._assignment.session_id}")
        try:
            await self._watch(holding)
        finally:
            await _uninterrupted(asyncio.ensure_future(self._end(holding)))
        verdict = self._verdict
        if verdict is not None and conversation.trouble is not None and verdict.reason in _SILENCES:
            verdict = conversation.trouble.failure(f"{verdict.detail}; the model's side refused")
        return conversation.concluded(verdict)

    def _stop(self, why: Failure) -> None:
        self._verdict = self._verdict or why
        self._bell.ring()

    async def _watch(self, holding: asyncio.Task[None]) -> None:
        """Wait until the conversation is over or has to be ended; in that case `_verdict` says why."""
        holding.add_done_callback(lambda _: self._bell.ring())
        while not holding.done() and self._verdict is None:
            if (overdue := self._pulse.overdue()) is not None:
                self._verdict = overdue
            else:
                await self._bell.wait(self._pulse.remaining())

    async def _end(self, holding: asyncio.Task[None]) -> None:
        """See to it that neither process nor task is left."""
        if not self._launch.started:
            holding.cancel()
        gone = await self._launch.end()
        for _ in range(2):
            await asyncio.wait({holding}, timeout=_CLOSE_SECONDS)
            if not holding.done():
                holding.cancel()
        if not (gone and await self._launch.end()):
            _log.error("processes of the agent do not die", session_id=self._assignment.session_id)


_SILENCES = frozenset({FailureReason.AGENT_NO_FIRST_MESSAGE, FailureReason.AGENT_IDLE, FailureReason.TIMEOUT})


async def _uninterrupted(work: asyncio.Future[None]) -> None:
    """Await `work` to its end even if this task is cancelled meanwhile; the cancellation is raised afterwards."""
    cancelled = False
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            cancelled = True
    work.result()
    if cancelled:
        raise asyncio.CancelledError
