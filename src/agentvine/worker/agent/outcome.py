"""What the end of a run means: the CLI's own words become a failure reason, or none."""

from dataclasses import dataclass
from datetime import datetime

from claude_agent_sdk import CLIConnectionError, CLIJSONDecodeError, CLINotFoundError, ProcessError, ResultMessage

from agentvine.domain.retry import LONGEST_WAIT, Failure, FailureReason
from agentvine.worker.agent import usage_limit

_LONGEST_DETAIL = 4000
_SIGNALS = 128
_R = FailureReason
_BY_SUBTYPE = {"error_max_turns": _R.MAX_TURNS, "error_max_budget_usd": _R.BUDGET_EXCEEDED}
_BY_TERMINAL_REASON = {"max_turns": _R.MAX_TURNS, "budget_exhausted": _R.BUDGET_EXCEEDED}
_WHAT_TO_MEND = {
    _R.MODEL_AUTH_FAILED: "check ANTHROPIC_API_KEY and ANTHROPIC_BASE_URL of the worker",
    _R.MODEL_RATE_LIMITED: "the model's rate limit is used up",
    _R.MODEL_OVERLOADED: "the model cannot be reached or is overloaded",
    _R.MAX_TURNS: "raise the task's budget of turns, or make the task smaller",
    _R.BUDGET_EXCEEDED: "raise the task's budget, or make the task smaller",
}


@dataclass(frozen=True, slots=True)
class ApiTrouble:
    """The model's side refused a request. `status` None: there was no answer at all."""

    status: int | None
    retry_after: float | None = None

    @property
    def reason(self) -> FailureReason:
        """What follows from it."""
        if self.status is None or self.status >= 500:
            return _R.MODEL_OVERLOADED
        if self.status == 402:  # what the gateway answers when the order's money is spent
            return _R.BUDGET_EXCEEDED
        if self.status == 429:
            return _R.MODEL_RATE_LIMITED
        return _R.MODEL_AUTH_FAILED if self.status in {401, 403} else _R.AGENT_ERROR

    def failure(self, said: str = "") -> Failure:
        """As a failure; `said` is what the CLI made of it."""
        status = f"HTTP {self.status}" if self.status else "no answer"
        wait = min(self.retry_after, LONGEST_WAIT) if self.retry_after and self.retry_after > 0 else None
        return failure(self.reason, said or status, retry_after=wait)


def failure(reason: FailureReason, said: str, *, retry_after: float | None = None) -> Failure:
    """A failure whose detail ends with what to mend, where that is known."""
    advice = _WHAT_TO_MEND.get(reason)
    text = said.replace("\0", "").strip()[-_LONGEST_DETAIL:]
    detail = f"{text} ({advice})" if advice and text else advice or text
    return Failure(reason=reason, detail=detail, retry_after_seconds=retry_after)


def of_result(result: ResultMessage, trouble: ApiTrouble | None, now: datetime) -> Failure | None:
    """What the CLI's result means; None: it says that it is finished.

    `trouble` is the last refusal of the model's side seen before it, for the time at which it makes sense to try again.
    """
    if not result.is_error and result.subtype == "success":
        return None
    said = "; ".join(result.errors or ()) or result.result or result.subtype
    reason = _BY_SUBTYPE.get(result.subtype) or _BY_TERMINAL_REASON.get(result.terminal_reason or "")
    if reason is not None:
        return failure(reason, said)
    if usage_limit.is_told(said):
        wait = usage_limit.seconds_left(said, now) or (trouble.retry_after if trouble else None)
        return ApiTrouble(429, wait).failure(said)
    if result.api_error_status is not None or result.terminal_reason == "api_error":
        if "credit balance" in said.lower():
            return failure(_R.MODEL_AUTH_FAILED, said)
        wait = trouble.retry_after if trouble else None
        return ApiTrouble(result.api_error_status, wait).failure(said)
    return failure(_R.AGENT_ERROR, said)


def of_error(error: Exception, stderr: str) -> Failure:
    """What it means that the SDK raised `error` without a result; `stderr` is the end of what the CLI wrote there."""
    tail = f"\n{stderr}" if stderr else ""
    if isinstance(error, CLINotFoundError):
        return failure(_R.AGENT_CRASHED, f"Claude Code could not be started: {error}")
    if isinstance(error, CLIJSONDecodeError):
        return failure(_R.AGENT_CRASHED, f"Claude Code said what nobody can read: {error}{tail}")
    if isinstance(error, ProcessError):
        code = error.exit_code
        how = f"signal {code - _SIGNALS}" if code is not None and code > _SIGNALS else f"exit code {code}"
        return failure(_R.AGENT_CRASHED, f"Claude Code ended with {how} and without a result{tail}")
    if isinstance(error, CLIConnectionError):
        return failure(_R.AGENT_CRASHED, f"the connection to Claude Code broke: {error}{tail}")
    return failure(_R.AGENT_ERROR, f"{type(error).__name__}: {error}{tail}")
