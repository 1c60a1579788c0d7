"""The gate that every tool call passes: what the agent asks, and what somebody has to agree to, goes to the controller.

A request is named after its order and the exact call, so the same call of the same order is the same request, whoever
makes it and however often; a call with other input is another one. That is how an answer finds the call that it was
given for, days later and on another host. It is asked once, held for a while, then left for later.
"""

import json
import re
from collections.abc import Mapping

from pydantic import JsonValue

from agentvine.domain.approval import Grant
from agentvine.domain.errors import Conflict, LeaseLost, NotFound
from agentvine.domain.ids import derived_id
from agentvine.domain.request import ControllerResponse, RequestKind, ToolUse, Unanswered
from agentvine.domain.retry import Failure, FailureReason
from agentvine.kit.logs import logger
from agentvine.wire.messages import Claimed, NewRequest
from agentvine.worker.agent.asking import ASK_TOOL, BUILT_IN
from agentvine.worker.agent.base import Decision, ToolCall, Verdict
from agentvine.worker.agent.refusals import Refusals
from agentvine.worker.agent.tools import Judgement, TypeGate
from agentvine.worker.approving import (
    Approvals,
    Foresight,
    NotAskable,
    check_written,
    digest_of,
    question_of,
    use_of,
)
from agentvine.worker.documents import Documents
from agentvine.worker.draft import Drafts
from agentvine.worker.queue_client import QueueClient

_LONGEST = 20_000
_MOST_OPTIONS = 20
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_CHOICE = ("approve", "deny")
_LATER = (
    "Nobody has answered yet. If you cannot go on without the answer, make exactly this call again, alone in its turn; "
    "you will be woken with the answer."
)
_NO_ANSWER = "Nobody answered in time. Decide yourself, and say in your last message what you decided and why."
_MOVED = "What the call names leads to other files than when it was asked for: make it again."
NOBODY_AGREED = "Nobody approved it in time: go on without it, and say in your last message that it is missing."
_OVER = "Nobody answered in time, and this order does not go on without an answer: stop here."

Answer = ControllerResponse | Unanswered | None
"""What became of a request: a response, what to do without one, or nothing yet."""

_log = logger("asking")


class Asking:
    """Implements `ToolGate`: judges each call by `gate`, and asks the controller where that is needed.

    `hold`: how many seconds the slot is held for an answer; `expiry`: after how many no answer can matter any more.
    `drafts` keep the diff so far for those who are asked. Without `foresight` no approval of a call holds for the
    result. `parked` is what was asked when it had to stop; `failure` is there when the order must not go on.
    """

    def __init__(
        self,
        gate: TypeGate,
        queue: QueueClient,
        claimed: Claimed,
        *,
        hold: float,
        expiry: float,
        drafts: Drafts | None = None,
        refusals: Refusals | None = None,
        approvals: Approvals | None = None,
        foresight: Foresight | None = None,
        documents: Documents | None = None,
    ) -> None:
        self._gate = gate
        self._queue = queue
        self._claimed = claimed
        self._hold = hold
        self._expiry = expiry
        self._drafts = drafts
        self._refusals = refusals or Refusals()
        self._approvals = approvals or Approvals()
        self._foresight = foresight
        self._documents = documents
        self._asked: set[str] = set()
        self.parked: NewRequest | None = None
        self.failure: Failure | None = None

    async def __call__(self, call: ToolCall) -> Verdict:
        """As in `ToolGate`; waits up to `hold` seconds."""
        if self.failure is not None:
            return Verdict(Decision.PARK, _OVER)
        if call.name in {ASK_TOOL, BUILT_IN}:
            return await self._question(call)
        judgement = self._gate.judge(call)
        if judgement.objection is not None:
            return self._denied(call, *judgement.objection)
        return await self._approval(call, judgement) if judgement.rulings else Verdict(Decision.ALLOW)

    def _denied(self, call: ToolCall, rule: str, reason: str) -> Verdict:
        self._refusals.note(call, rule, reason)
        return Verdict(Decision.DENY, reason)

    # ── questions ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _question(self, call: ToolCall) -> Verdict:
        try:
            check_written(call)
        except NotAskable as why:
            return Verdict(Decision.DENY, f"Nobody can be asked: {why}.")
        question, context, options = _question(call.input) if call.name == ASK_TOOL else _questions(call.input)
        if not _text(question).strip():
            return Verdict(Decision.DENY, "The call asks nothing: put one question.")
        if self._documents is not None:
            await self._documents.store_once()
        listed = [line for line in (" ".join(_CONTROL.sub(" ", one).split())[:500] for one in options) if line]
        request = NewRequest(
            token=self._claimed.lease.token,
            id=derived_id("req", self._claimed.order.id, digest_of(call.name, call.input)),
            kind=RequestKind.CLARIFICATION,
            expires_in_seconds=self._expiry,
            message=_text(question),
            context=_text(context),
            options=tuple(listed[:_MOST_OPTIONS]),
        )
        answer = await self.answer(request)
        if answer is None:
            return Verdict(Decision.PARK, _LATER)
        if isinstance(answer, ControllerResponse):
            return Verdict(Decision.ALLOW, answer=in_words(answer))
        return Verdict(Decision.PARK, _OVER) if self.failure else Verdict(Decision.ALLOW, answer=_NO_ANSWER)

    # ── approvals ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _approval(self, call: ToolCall, judgement: Judgement) -> Verdict:
        """Ask whether a call may be made that only breaks rules of what is sensitive."""
        rule = judgement.rulings[0].rule
        leaves = await self._leaves(call, judgement)
        if self._foresight is not None and await self._foresight.takes_back(call, judgement, leaves):
            return Verdict(Decision.ALLOW)
        try:
            use = use_of(call, judgement, leaves)
        except NotAskable as why:
            reasons = "\n".join(ruling.reason for ruling in judgement.rulings)
            return self._denied(call, rule, f"{reasons}\nNobody can be asked: {why}.")
        request = self.request_for(use, *question_of(call, judgement))
        answer = await self.answer(request)
        if answer is None:
            return Verdict(Decision.PARK, _LATER)
        if not isinstance(answer, ControllerResponse):
            return Verdict(Decision.PARK, _OVER) if self.failure else self._denied(call, rule, NOBODY_AGREED)
        if answer.verdict != "approved":
            self._approvals.drop(request.id)
            return self._denied(call, rule, denial(answer))
        if self._gate.judge(call).paths != judgement.paths:
            return self._denied(call, rule, _MOVED)
        return await self._approved(call, request, answer)

    async def _approved(self, call: ToolCall, request: NewRequest, response: ControllerResponse) -> Verdict:
        """Let the call be made as it was agreed to, perhaps with another input, which may do no more than any call.

        What was agreed to of files is what stands in the request: what they are now nobody was shown.
        """
        changed = response.changed_input
        if changed is not None:
            judgement = self._gate.judge(ToolCall(call.id, call.name, changed))
            if judgement.objection is not None:
                reason = f"{_by(response)} approved it with another input, but: {judgement.objection.reason}"
                return self._denied(call, judgement.objection.rule, reason)
        if (grant := Grant.of(await self._queue.as_it_stands(self._claimed.lease.execution_id, request))) is not None:
            self._approvals.add(grant)
        _log.info("approved", request_id=request.id, tool=call.name, by=response.made_by)
        return Verdict(Decision.ALLOW, told_with(response), changed_input=changed)

    async def _leaves(self, call: ToolCall, judgement: Judgement) -> Mapping[str, str | None]:
        return {} if self._foresight is None else await self._foresight.leaves(call, judgement.paths)

    def request_for(self, use: ToolUse, message: str, context: str) -> NewRequest:
        """The request by which somebody is asked to agree to `use`."""
        return NewRequest(
            token=self._claimed.lease.token,
            id=derived_id("req", self._claimed.order.id, use.digest),
            kind=RequestKind.APPROVAL,
            expires_in_seconds=self._expiry,
            message=message,
            context=context,
            options=_CHOICE,
            call=use,
        )

    # ── both ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def answer(self, request: NewRequest) -> Answer:
        """What becomes of `request`: it is asked, and waited for as long as the slot is held. Sets `parked` or
        `failure` where the work cannot go on."""
        try:
            response = await self._response(request)
        except LeaseLost:
            raise
        except Conflict as over:
            self._asked.discard(request.id)
            return self._unanswered(request, over)
        if response is None:
            self.parked = request
            return None
        self.parked = None
        self._asked.discard(request.id)  # made again, the call asks again: the answer may not hold any more
        return response

    def _unanswered(self, request: NewRequest, over: Conflict) -> Unanswered:
        """What to do without an answer. An approval that nobody gave is none."""
        if over.facts.get("unanswered") == Unanswered.FAIL:
            detail = f"nobody answered in time: {request.message}"
            self.failure = Failure(reason=FailureReason.REQUEST_EXPIRED, detail=detail[:20_000])
            return Unanswered.FAIL
        return Unanswered.DECIDE if request.kind is RequestKind.CLARIFICATION else Unanswered.DENY

    async def _response(self, request: NewRequest) -> ControllerResponse | None:
        hold = self._hold
        if request.id in self._asked:  # it was held before, and had to be called again alone
            hold = 0.0
        else:
            self._asked.add(request.id)
            await self._queue.enqueue_worker_request(self._claimed.lease.execution_id, request)
            _log.info("asked", request_id=request.id, execution_id=self._claimed.lease.execution_id)
        try:
            waiting = self._queue.wait_for_response(request.id, hold)
            return await (self._drafts.while_waiting(waiting) if self._drafts else waiting)
        except NotFound:  # the order was cancelled meanwhile, or the server was set up anew
            return None


def _by(response: ControllerResponse) -> str:
    """Who answered; a person, a rule and what was kept of an earlier answer are told apart."""
    kind = response.made_by.partition(":")[0]
    return {
        "policy": "The controller's policy",
        "precedent": "The controller, by an answer from before,",
        "assistant": "The controller's assistant, automatically,",
        "forge": "A person on the forge",
    }.get(kind, "The controller")


def in_words(response: ControllerResponse) -> str:
    """An answer as the agent is told it."""
    by = _by(response)
    return f"{by} answers: {response.message}" if response.message.strip() else f"{by}: {response.verdict}."


def denial(response: ControllerResponse) -> str:
    """A denial as the agent is told it."""
    why = response.message.strip()
    return f"{_by(response)} denied it" + (
        f": {why}" if why else ". Go on without it, and say so in your last message."
    )


def told_with(response: ControllerResponse) -> str:
    """What the agent is told beside an approved call; empty if there is nothing to tell."""
    message = response.message.strip()
    if response.changed_input is None:
        return f"{_by(response)} approved this call and says: {message}" if message else ""
    said = f" and says: {message}" if message else ""
    return (
        f"{_by(response)} approved this call with another input{said}. It was not made as you wrote it, but with this: "
        f"{_shown_input(response.changed_input)}"
    )


def _shown_input(given: Mapping[str, JsonValue]) -> str:
    """An input as JSON, not too long."""
    text = json.dumps(dict(given), ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _question(given: Mapping[str, JsonValue]) -> tuple[str, str, list[str]]:
    options = given.get("options")
    listed = [str(option) for option in options] if isinstance(options, list) else []
    return str(given.get("question") or ""), str(given.get("context") or ""), listed


def _questions(given: Mapping[str, JsonValue]) -> tuple[str, str, list[str]]:
    """The questions of Claude Code's own tool, as one."""
    asked = given.get("questions")
    questions = [one for one in asked if isinstance(one, dict)] if isinstance(asked, list) else []
    said: list[str] = []
    options: list[str] = []
    for one in questions:
        said.append(str(one.get("question") or ""))
        choices = one.get("options")
        listed = choices if isinstance(choices, list) else []
        options += [
            f"{choice.get('label')}: {choice.get('description')}" for choice in listed if isinstance(choice, dict)
        ]
    return "\n".join(said), "", options


def _text(text: str) -> str:
    return text.replace("\0", "")[:_LONGEST]
