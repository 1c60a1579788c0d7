"""Why an execution did not succeed, and what follows from it: again, when, and whether the attempt counts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated

from pydantic import BeforeValidator, Field

from agentvine.domain.base import Model, Text

LONGEST_WAIT = 604_800.0
"""Seconds, a week: the longest that anybody is made to wait by what another side says."""


class FailureReason(StrEnum):
    """Every way in which an execution can end without a delivery."""

    # The order asks for something that cannot be had; only a person can mend it.
    REPOSITORY_NOT_FOUND = "repository_not_found"
    REPOSITORY_AUTH_FAILED = "repository_auth_failed"
    REPOSITORY_EMPTY = "repository_empty"
    BRANCH_NOT_FOUND = "branch_not_found"
    PUSH_REJECTED = "push_rejected"
    BRANCH_MOVED = "branch_moved"
    DENIED = "denied"
    BUDGET_EXCEEDED = "budget_exceeded"
    REPOSITORY_BUDGET = "repository_budget"
    """What the repository may cost in a day is used up; the order goes on tomorrow."""
    # The result is not good enough.
    VERIFICATION_FAILED = "verification_failed"
    NO_CHANGES = "no_changes"
    RESULT_REFUSED = "result_refused"
    MAX_TURNS = "max_turns"
    # Claude Code misbehaved.
    AGENT_NO_FIRST_MESSAGE = "agent_no_first_message"
    AGENT_IDLE = "agent_idle"
    AGENT_NO_EXIT = "agent_no_exit"
    AGENT_CRASHED = "agent_crashed"
    AGENT_NO_RESULT = "agent_no_result"
    AGENT_ERROR = "agent_error"
    TIMEOUT = "timeout"
    LIMIT_EXCEEDED = "limit_exceeded"
    # The model said no.
    MODEL_OVERLOADED = "model_overloaded"
    MODEL_RATE_LIMITED = "model_rate_limited"
    MODEL_AUTH_FAILED = "model_auth_failed"
    # The surroundings failed.
    SETUP_FAILED = "setup_failed"
    REPOSITORY_UNREACHABLE = "repository_unreachable"
    FORGE_UNAVAILABLE = "forge_unavailable"
    """The branch is pushed; the pull request or the review has to wait."""
    DISK_FULL = "disk_full"
    WORKER_LOST = "worker_lost"
    WORKER_ERROR = "worker_error"
    SELF_FENCED = "self_fenced"
    DRAINED = "drained"
    # The fleet's own verdicts.
    QUARANTINED = "quarantined"
    REQUEST_EXPIRED = "request_expired"
    NEEDED_TASK_CANCELLED = "needed_task_cancelled"


_REASONS = frozenset(FailureReason)

_REASON_OF_ANOTHER_RELEASE = re.compile(r"[a-z][a-z0-9_]{2,59}")


def _known(reason: object) -> object:
    """A reason that another release has given: what it means is unknown here, so that it is worth another try."""
    if isinstance(reason, str) and reason not in _REASONS and _REASON_OF_ANOTHER_RELEASE.fullmatch(reason):
        return FailureReason.WORKER_ERROR
    return reason


class Failure(Model):
    """Why, for programs and for people; `detail` says what to mend."""

    reason: Annotated[FailureReason, BeforeValidator(_known)]
    detail: Text = ""
    retry_after_seconds: float | None = Field(default=None, ge=0, le=LONGEST_WAIT, allow_inf_nan=False)
    """When the other side said so, the shortest time until it makes sense to try again."""


@dataclass(frozen=True, slots=True)
class RetryRule:
    """What follows from a failure."""

    retry: bool
    counts: bool = True
    """False: the attempt is given back, so that the order does not run out of attempts through no fault of its own."""
    first_delay: float = 5.0
    """Seconds before the second try; doubled with each failure, up to `most_delay`."""
    most_delay: float = 600.0

    def delay(self, failures: int) -> float:
        """The bound in seconds before the next try, before jitter, after so many failures (counted from 1).

        Which ones: of a failure that counts, the attempts that counted; of one that does not, those that came in a row.
        """
        return min(self.first_delay * 2.0 ** min(max(failures - 1, 0), 30), self.most_delay)


_NEVER = RetryRule(retry=False)
_AGAIN = RetryRule(retry=True)
_NOT_ITS_FAULT = RetryRule(retry=True, counts=False, first_delay=15.0)
_AT_ONCE = RetryRule(retry=True, counts=False, first_delay=0.0)

_REASON = FailureReason
RETRY_RULES: Mapping[FailureReason, RetryRule] = MappingProxyType(
    {
        _REASON.REPOSITORY_NOT_FOUND: _NEVER,
        _REASON.REPOSITORY_AUTH_FAILED: _NEVER,
        _REASON.REPOSITORY_EMPTY: _NEVER,
        _REASON.BRANCH_NOT_FOUND: _NEVER,
        _REASON.PUSH_REJECTED: _NEVER,
        _REASON.BRANCH_MOVED: _NEVER,
        _REASON.DENIED: _NEVER,
        _REASON.BUDGET_EXCEEDED: _NEVER,
        _REASON.REPOSITORY_BUDGET: _NOT_ITS_FAULT,
        _REASON.VERIFICATION_FAILED: _NEVER,
        _REASON.NO_CHANGES: _NEVER,
        _REASON.RESULT_REFUSED: _NEVER,
        _REASON.MAX_TURNS: _NEVER,
        _REASON.AGENT_NO_FIRST_MESSAGE: _AGAIN,
        _REASON.AGENT_IDLE: _AGAIN,
        _REASON.AGENT_NO_EXIT: _AGAIN,
        _REASON.AGENT_CRASHED: _AGAIN,
        _REASON.AGENT_NO_RESULT: _AGAIN,
        _REASON.AGENT_ERROR: _AGAIN,
        _REASON.TIMEOUT: _AGAIN,
        _REASON.LIMIT_EXCEEDED: _NEVER,
        _REASON.MODEL_OVERLOADED: _NOT_ITS_FAULT,
        _REASON.MODEL_RATE_LIMITED: RetryRule(retry=True, counts=False, first_delay=60.0, most_delay=3600.0),
        _REASON.MODEL_AUTH_FAILED: RetryRule(retry=True, counts=False, first_delay=30.0),
        _REASON.SETUP_FAILED: _AGAIN,
        _REASON.REPOSITORY_UNREACHABLE: _AGAIN,
        _REASON.FORGE_UNAVAILABLE: _NOT_ITS_FAULT,
        _REASON.DISK_FULL: _NOT_ITS_FAULT,
        _REASON.WORKER_LOST: RetryRule(retry=True, first_delay=0.0),
        _REASON.WORKER_ERROR: _AGAIN,
        _REASON.SELF_FENCED: _AT_ONCE,
        _REASON.DRAINED: _AT_ONCE,
        _REASON.QUARANTINED: _NEVER,
        _REASON.REQUEST_EXPIRED: _NEVER,
        _REASON.NEEDED_TASK_CANCELLED: _NEVER,
    }
)
"""One rule for every reason; `tests/unit/test_retry.py` sees to it that none is missing."""

GOES_ON: frozenset[FailureReason] = frozenset(
    {
        _REASON.AGENT_NO_FIRST_MESSAGE,
        _REASON.AGENT_IDLE,
        _REASON.AGENT_NO_EXIT,
        _REASON.AGENT_CRASHED,
        _REASON.AGENT_NO_RESULT,
        _REASON.AGENT_ERROR,
        _REASON.MODEL_OVERLOADED,
        _REASON.MODEL_RATE_LIMITED,
        _REASON.MODEL_AUTH_FAILED,
        _REASON.DISK_FULL,
        _REASON.WORKER_LOST,
        _REASON.WORKER_ERROR,
        _REASON.SELF_FENCED,
        _REASON.DRAINED,
    }
)
"""After which the next attempt goes on with the conversation: it was broken off, not judged. After all others the work
begins again, because what was done so far led nowhere (a verification that failed, a limit), or never began."""
