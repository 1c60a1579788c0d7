"""The controller's policy on this server: read from a file at the start, and read anew when the file has changed.

A file that cannot be used never takes the place of rules that can: at the start the server refuses to begin with it,
later the old rules stay in force, and `/health` says so.
"""

import asyncio
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from agentvine.domain.policy import LARGEST_POLICY, Case, Decision, Policy, PolicyMistakes, Rule, decide, parse
from agentvine.domain.request import ControllerResponse, Unanswered, WorkerRequest
from agentvine.domain.work_order import WorkOrder
from agentvine.kit.configuration import ConfigurationError
from agentvine.kit.doorbell import pause
from agentvine.kit.logs import logger

LOOK_SECONDS = 1.0
"""How often the file is looked at; what is looked at is whether it is another one, not what is in it."""
_VARIABLE = "AGENTVINE_SERVER_POLICY"
_VERDICTS: dict[Decision, Literal["answer", "approved", "denied"]] = {
    Decision.ANSWER: "answer",
    Decision.APPROVE: "approved",
    Decision.DENY: "denied",
}
_log = logger("policy")

_Mark = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the policy says of a request. `rule` None: no rule fits."""

    rule: Rule | None
    unanswered: Unanswered

    @property
    def settles(self) -> bool:
        """True if the rule answers, approves or denies."""
        return self.rule is not None and self.rule.decide is not Decision.ASK

    def applied(self, request: WorkerRequest) -> WorkerRequest:
        """A new request, with what happens if nobody answers, and when."""
        changes: dict[str, object] = {"unanswered": self.unanswered}
        if self.rule is not None and self.rule.expires_after is not None:
            changes["expires_at"] = request.created_at + self.rule.expires_after
        return request.model_copy(update=changes)


class PolicyInForce:
    """The rules by which requests are judged at present. Judging is safe from any thread."""

    def __init__(self, path: Path | None = None) -> None:
        """None: no rules, everything goes to people. Raises `ConfigurationError` with every mistake in the file."""
        self._path = path
        self._policy = Policy()
        self._mark: _Mark | None = None
        self._trouble: str | None = None
        if path is not None:
            try:
                self._policy, self._mark = _read(path)
            except PolicyMistakes as error:
                raise ConfigurationError(*(f"{_VARIABLE}: {path}: {one}" for one in error.mistakes)) from error

    def ruling(self, order: WorkOrder, request: WorkerRequest) -> Ruling:
        """What the rules say of a request that is asked for `order`."""
        policy = self._policy
        rule = decide(policy, Case.of(order, request))
        return Ruling(rule, policy.when_unanswered(request, rule))

    def degraded(self) -> dict[str, str]:
        """`policy` and why an older version of the file is in force, or nothing."""
        return {} if self._trouble is None else {"policy": self._trouble}

    async def run(self) -> None:
        """Look at the file every `LOOK_SECONDS`, until cancelled."""
        while self._path is not None:
            await pause(LOOK_SECONDS)
            await asyncio.to_thread(self.look, self._path)

    def look(self, path: Path) -> None:
        """Put the file's rules in force if it has changed and can be used."""
        try:
            mark = _mark(path.stat())
        except OSError:
            mark = None  # reading says why
        if mark is not None and mark == self._mark:
            return
        self._mark = mark
        try:
            self._policy, self._mark = _read(path)
        except PolicyMistakes as error:
            self._keep_old(error)
        else:
            self._trouble = None
            _log.info("policy read anew", file=str(path), rules=len(self._policy.rule))

    def _keep_old(self, error: PolicyMistakes) -> None:
        """`/health` is open to everybody, so the mistakes themselves are told in the log alone."""
        trouble = f"{str(self._path)!r} cannot be used; the rules from before are in force, and the log says why"
        if self._mark is not None or trouble != self._trouble:
            _log.warning("the rules from before stay in force", file=str(self._path), mistakes=list(error.mistakes))
        self._trouble = trouble


def response_of(rule: Rule, at: datetime) -> ControllerResponse:
    """What a rule that settles requests responds."""
    return ControllerResponse(
        verdict=_VERDICTS[rule.decide], message=rule.message, made_by=f"policy:{rule.name}", made_at=at
    )


def _read(path: Path) -> tuple[Policy, _Mark]:
    """The policy in a file, and by what to know this version of it. Raises `PolicyMistakes`."""
    try:
        with path.open("rb") as file:
            mark = _mark(os.fstat(file.fileno()))  # before reading: what is written meanwhile is seen next time
            content = file.read(LARGEST_POLICY + 1)
    except OSError as error:
        raise PolicyMistakes(f"it cannot be read: {error.strerror}") from error
    return parse(content), mark


def _mark(found: os.stat_result) -> _Mark:
    """The time of the last change of content, name or mode, which nobody can set back."""
    return found.st_dev, found.st_ino, found.st_ctime_ns, found.st_size
