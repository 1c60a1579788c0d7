"""One conversation with the CLI through the SDK: what it is told, what is heard of it, what it comes to.

Imported only where a conversation begins: the SDK is slow to import.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    HookMatcher,
    Message,
    PermissionResultAllow,
    PermissionResultDeny,
    RateLimitEvent,
    ResultMessage,
    SessionStore,
    StreamEvent,
    SystemMessage,
    TextBlock,
    query,
)

from agentvine.domain.execution import Usage
from agentvine.domain.retry import Failure, FailureReason
from agentvine.kit.clock import Clock
from agentvine.kit.logs import REDACTED, logger, redact
from agentvine.worker.agent import outcome
from agentvine.worker.agent.asking import ASK_TOOL, BUILT_IN, SERVER, Answers, TurnCalls, answered_input
from agentvine.worker.agent.base import (
    AgentResult,
    Assignment,
    Decision,
    Meter,
    News,
    ToolCall,
    ToolGate,
    Transcript,
    Verdict,
)
from agentvine.worker.agent.launcher import Launch
from agentvine.worker.agent.metering import StreamMeter
from agentvine.worker.agent.outcome import ApiTrouble
from agentvine.worker.agent.watchdog import Pulse

_READING = ("Task", "Bash", "Read", "Glob", "Grep", "TodoWrite")
_WRITING = ("Edit", "Write", "NotebookEdit")
_NEVER = ("WebFetch", "WebSearch", "EnterPlanMode", "ExitPlanMode", "EnterWorktree", "Workflow")
_DEFERRED = "tool_deferred"
_SYNTHETIC = "<synthetic>"
"""The model's name in an answer that the CLI made up itself, to show an error."""
_LARGEST_MESSAGE = 16 * 1024 * 1024
_STDERR_LINES = 50
_LONGEST_WAIT_FOR_THE_MODEL = 60.0
"""Seconds that the CLI may wait by itself before its next try; beyond, the order goes back and the slot is free."""
_OVERDRAFT = 1.5
_TURNS_BEYOND = 5
"""Our own limits lie above the CLI's, whose counting they only check: its price list may differ from our estimate."""

_log = logger("claude")


class Conversation:
    """Holds one conversation. `stop` is called when it has to be ended from outside, with the reason."""

    def __init__(
        self,
        assignment: Assignment,
        launch: Launch,
        gate: ToolGate,
        transcript: Transcript,
        meter: Meter,
        *,
        pulse: Pulse,
        stop: Callable[[Failure], None],
        clock: Clock,
        news: News | None = None,
    ) -> None:
        self._assignment = assignment
        self._launch = launch
        self._gate = gate
        self._transcript = transcript
        self._tell = meter
        self._pulse = pulse
        self._stop = stop
        self._clock = clock
        self._news = news
        self._meter = StreamMeter()
        self._answers: dict[str | None, tuple[str, str]] = {}
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._text: list[str] = []
        self._result: ResultMessage | None = None
        self._error: Exception | None = None
        self._asked = Answers()
        self._turn = TurnCalls()
        self._over = asyncio.Event()
        self._parked: ToolCall | None = None
        self._owed: list[str] = []
        """What Claude is told with the next call that comes to the hook."""
        self.trouble: ApiTrouble | None = None
        """The last refusal of the model's side, while nothing else was heard of the model since."""

    async def hold(self) -> None:
        """Connect, read and close: all in this coroutine, which has to run in a task of its own."""
        prompt = self._assignment.prompt
        said = self._nothing() if prompt is None else prompt
        messages = cast("AsyncGenerator[Message, None]", query(prompt=said, options=self._options()))
        try:
            async with aclosing(messages) as stream:
                async for message in stream:
                    self._hear(message)
        except Exception as error:  # noqa: BLE001  the SDK raises bare Exception too; whatever it is becomes an outcome
            self._error = error
            _log.debug("the conversation ended with an error", error=repr(error))
        finally:
            self._over.set()

    async def _nothing(self) -> AsyncIterator[dict[str, Any]]:
        """What is said where a parked call goes on; if the line were closed its tools could not be reached."""
        await self._over.wait()
        words: tuple[dict[str, Any], ...] = ()
        for one in words:
            yield one

    def concluded(self, verdict: Failure | None) -> AgentResult:
        """What it came to. `verdict` is why it was ended from outside, if it was."""
        usage = self._usage()
        self._tell(usage)
        structured = self._result.structured_output if self._result else None
        failure = verdict or self._failure()
        if verdict is not None and verdict.reason is FailureReason.AGENT_NO_EXIT:
            failure = self._failure() or verdict
        parked = self._parked if self._result is not None and self._result.stop_reason == _DEFERRED else None
        return AgentResult(usage, self._final_text(), structured, None if parked else failure, parked)

    def _failure(self) -> Failure | None:
        if self._result is not None:
            return outcome.of_result(self._result, self.trouble, self._clock.now())
        last_words = self._clean("\n".join(self._stderr))
        if self._error is not None:
            return outcome.of_error(self._error, last_words)
        said = f"Claude Code ended without a result\n{last_words}"
        return outcome.failure(FailureReason.AGENT_NO_RESULT, said)

    def _final_text(self) -> str:
        said = "\n".join(self._text) or (self._result.result if self._result else None) or ""
        return self._clean(said)

    def _clean(self, text: str) -> str:
        key = self._assignment.model.api_key
        return redact(text.replace(key, REDACTED) if key else text)

    def _usage(self) -> Usage:
        """The CLI's own account if there is one: it includes what sub-agents and side requests used."""
        counted = self._meter.total()
        if self._result is None or self._result.model_usage is None:
            return counted
        models = list(self._result.model_usage.values())
        return Usage(
            input_tokens=sum(model.get("inputTokens", 0) for model in models),
            output_tokens=sum(model.get("outputTokens", 0) for model in models),
            cache_read_tokens=sum(model.get("cacheReadInputTokens", 0) for model in models),
            cache_write_tokens=sum(model.get("cacheCreationInputTokens", 0) for model in models),
            turns=counted.turns,
            cost_usd=self._result.total_cost_usd or 0.0,
        )

    # ── what is heard ────────────────────────────────────────────────────────────────────────────────────────────

    def _hear(self, message: Message) -> None:
        match message:
            case StreamEvent():
                self._pulse.heard(model=True)
                self._count_event(message.event, message.parent_tool_use_id)
            case AssistantMessage():
                self._hear_answer(message)
            case ResultMessage():
                self._result = message
                self._over.set()
                self._pulse.finished()
            case RateLimitEvent():
                self._hear_limit(message)
            case SystemMessage(subtype="api_retry"):
                self._hear_retry(message.data)
            case _:
                self._pulse.heard(model=False)

    def _hear_answer(self, message: AssistantMessage) -> None:
        if message.model == _SYNTHETIC:
            self._pulse.heard(model=False)
            return
        self._pulse.heard(model=True)
        self.trouble = None
        if message.parent_tool_use_id is None:
            texts = [block.text for block in message.content if isinstance(block, TextBlock)]
            self._text = texts or self._text
        if message.message_id:
            self._count(message.message_id, message.model, message.usage or {}, message.parent_tool_use_id)

    def _count_event(self, event: dict[str, Any], parent: str | None) -> None:
        if parent is None:
            self._turn.hear(event)
            if self._news is not None and event.get("type") == "message_start":
                self._news.heard()
        if event.get("type") == "message_start":
            start = event.get("message", {})
            self._answers[parent] = (str(start.get("id")), str(start.get("model", "")))
            self._count(*self._answers[parent], start.get("usage") or {}, parent)
        elif event.get("type") == "message_delta" and parent in self._answers:
            self._count(*self._answers[parent], event.get("usage") or {}, parent)

    def _count(self, answer: str, model: str, usage: dict[str, Any], parent: str | None) -> None:
        self._meter.count(answer, model, usage, main=parent is None)
        total = self._meter.total()
        self._tell(total)
        budget, turns = self._assignment.budget_usd, self._assignment.max_turns
        if total.cost_usd > budget * _OVERDRAFT:
            why = f"about ${total.cost_usd:.2f} were used of ${budget:.2f}"
            self._stop(outcome.failure(FailureReason.BUDGET_EXCEEDED, why))
        elif total.turns > turns + _TURNS_BEYOND:
            self._stop(outcome.failure(FailureReason.MAX_TURNS, f"{total.turns} turns were taken, {turns} allowed"))

    def _hear_retry(self, data: dict[str, Any]) -> None:
        """The CLI was refused and means to ask again by itself; some refusals do not get better that way."""
        self._pulse.heard(model=False)
        status, delay = data.get("error_status"), float(data.get("retry_delay_ms") or 0) / 1000
        self.trouble = ApiTrouble(status if isinstance(status, int) else None, delay)
        if status in {401, 403} or delay > _LONGEST_WAIT_FOR_THE_MODEL:
            self._stop(self.trouble.failure())

    def _hear_limit(self, message: RateLimitEvent) -> None:
        self._pulse.heard(model=False)
        info = message.rate_limit_info
        if info.status == "rejected":
            wait = info.resets_at - self._clock.now().timestamp() if info.resets_at else None
            self.trouble = ApiTrouble(429, wait)

    # ── what the CLI is told ─────────────────────────────────────────────────────────────────────────────────────

    def _options(self) -> ClaudeAgentOptions:
        """Everything that the CLI would otherwise take from the machine or the repository is named here.

        Nothing ever asks a person: mode `default` sends what no rule allows to `can_use_tool`, the same gate as the
        hook. Both are needed: after a resumption a call may be carried out before the CLI knows of any hook.
        """
        task = self._assignment
        hook = HookMatcher(hooks=[self._before_tool], timeout=task.watchdog.total + 60, on_failure="block")
        after = HookMatcher(hooks=[self._after_tool])
        return ClaudeAgentOptions(
            cli_path=self._launch.program,
            cwd=task.workspace,
            env={"CLAUDE_CONFIG_DIR": str(self._launch.configuration)},  # by this the SDK recognises transcripts
            tools=[*_READING, BUILT_IN, *(_WRITING if task.profile.changes_files else ())],
            mcp_servers={SERVER: self._asked.server()},
            disallowed_tools=list(_NEVER),
            system_prompt={"type": "preset", "preset": "claude_code", "append": task.instructions},
            model=task.model.model,
            permission_mode="default",
            can_use_tool=self._may_use,
            hooks={"PreToolUse": [hook], "PostToolUse": [after], "PostToolUseFailure": [after]},
            setting_sources=[],
            strict_mcp_config=True,
            skills=[],
            verbatim_prompts=True,
            include_partial_messages=True,
            max_turns=task.max_turns,
            max_budget_usd=task.budget_usd,
            max_buffer_size=_LARGEST_MESSAGE,
            session_store=cast("SessionStore", _Mirror(task.session_id, self._transcript)),
            session_store_flush="eager",
            output_format={"type": "json_schema", "schema": dict(task.output_schema)} if task.output_schema else None,
            stderr=lambda line: self._stderr.append(line[:2000]),
            resume=task.session_id if task.resumes else None,
            session_id=None if task.resumes else task.session_id,
        )

    async def _before_tool(self, call: Any, tool_use_id: str | None, _context: object) -> Any:
        verdict = await self._ask(str(call.get("tool_name")), call.get("tool_input"), tool_use_id)
        said: dict[str, object] = {"hookEventName": "PreToolUse", "permissionDecision": verdict.decision.value}
        if verdict.decision is Decision.PARK:
            return {"hookSpecificOutput": {**said, "permissionDecision": "defer"}}
        if verdict.reason and verdict.decision is Decision.DENY:
            said["permissionDecisionReason"] = verdict.reason
        elif verdict.reason:
            self._owed.append(verdict.reason)
        if verdict.decision is Decision.DENY and (words := self._news_for(call)):  # no other hook follows it
            self._owed.append(words)
        if self._owed:
            said["additionalContext"] = "\n".join(self._owed)
            self._owed.clear()
        if verdict.changed_input is not None:
            said["updatedInput"] = dict(verdict.changed_input)
        return {"hookSpecificOutput": said}

    async def _after_tool(self, call: Any, _tool_use_id: str | None, _context: object) -> Any:
        """Tell the news with the call's result."""
        if not (words := self._news_for(call)):
            return {}
        return {"hookSpecificOutput": {"hookEventName": call.get("hook_event_name"), "additionalContext": words}}

    def _news_for(self, call: Any) -> str:
        """What is to be told with this call. A sub-agent's conversation is not the one that the news are for."""
        return "" if self._news is None or call.get("agent_id") is not None else self._news.take()

    async def _may_use(
        self, name: str, given: dict[str, Any], context: Any
    ) -> PermissionResultAllow | PermissionResultDeny:
        verdict = await self._ask(name, given, context.tool_use_id)
        if verdict.decision is Decision.ALLOW:
            if verdict.reason:  # which cannot be told here
                self._owed.append(verdict.reason)
            changed = verdict.changed_input
            return PermissionResultAllow(updated_input=dict(changed) if changed is not None else None)
        return PermissionResultDeny(message=verdict.reason)

    async def _ask(self, name: str, given: object, tool_use_id: str | None) -> Verdict:
        call = ToolCall(tool_use_id or "", name, given if isinstance(given, dict) else {})
        self._pulse.gate(entered=True)
        try:
            verdict = await self._gate(call)
            if verdict.decision is Decision.PARK:
                return await self._stopped_at(call, verdict)
        finally:
            self._pulse.gate(entered=False)
        if verdict.answer is not None and call.name == ASK_TOOL:
            self._asked.put(call.input, verdict.answer)
        elif verdict.answer is not None:
            return replace(verdict, changed_input=answered_input(call.input, verdict.answer))
        return verdict

    async def _stopped_at(self, call: ToolCall, verdict: Verdict) -> Verdict:
        """Of several calls in one turn all but one would be lost; then the agent is told to make this one alone."""
        if not await self._turn.alone(call.id):
            return Verdict(Decision.DENY, verdict.reason)
        self._parked = call
        return verdict


class _Mirror:
    """Hands on what the CLI writes. Only the session's id counts: the key's folder differs from machine to machine."""

    def __init__(self, session_id: str, transcript: Transcript) -> None:
        self._session_id = session_id
        self._transcript = transcript

    async def append(self, key: Any, entries: Sequence[Any]) -> None:
        if key["session_id"] == self._session_id:
            beside = {"isSidechain": True} if key.get("subpath") else {}
            await self._transcript.append([{**entry, **beside} for entry in entries])

    async def load(self, _key: object) -> None:
        """Nothing: the conversation lies where the CLI looks for it already."""
