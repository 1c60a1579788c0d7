"""Questions of the agent on their way to the controller: asked once, held for a while, then left for later.

A request is named after its order and the exact call, so the same call of the same order is the same request, whoever
makes it and however often; a call with other input is another one. That is how an answer finds the call that it was
given for, days later and on another host.
"""

import hashlib
import json
from collections.abc import Mapping

from pydantic import JsonValue

from agentvine.domain.errors import Conflict, LeaseLost, NotFound
from agentvine.domain.ids import derived_id
from agentvine.domain.request import ControllerResponse, RequestKind
from agentvine.kit.logs import logger
from agentvine.wire.messages import Claimed, NewRequest
from agentvine.worker.agent.asking import ASK_TOOL, BUILT_IN
from agentvine.worker.agent.base import Decision, ToolCall, ToolGate, Verdict
from agentvine.worker.queue_client import QueueClient

_LONGEST = 20_000
_MOST_OPTIONS = 20
_LATER = (
    "Nobody has answered yet. If you cannot go on without the answer, make exactly this call again, alone in its turn; "
    "you will be woken with the answer."
)
_NO_ANSWER = "Nobody answered in time. Decide yourself, and say in your last message what you decided and why."

_log = logger("asking")


def digest_of(call: ToolCall) -> str:
    """SHA-256 over the tool and its input, in canonical JSON: what a request and its answer are bound to."""
    canonical = json.dumps([call.name, call.input], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "replace")).hexdigest()


class Asking:
    """Implements `ToolGate` for the tools that ask, and hands all other calls on to `gate`.

    `hold`: how many seconds the slot is held for an answer; `expiry`: after how many no answer can matter any more.
    `parked` is what was asked when it had to stop.
    """

    def __init__(self, gate: ToolGate, queue: QueueClient, claimed: Claimed, *, hold: float, expiry: float) -> None:
        self._gate = gate
        self._queue = queue
        self._claimed = claimed
        self._hold = hold
        self._expiry = expiry
        self._asked: set[str] = set()
        self.parked: NewRequest | None = None

    async def __call__(self, call: ToolCall) -> Verdict:
        """As in `ToolGate`; waits up to `hold` seconds."""
        if call.name not in {ASK_TOOL, BUILT_IN}:
            return await self._gate(call)
        request = self._request(call)
        if request is None:
            return Verdict(Decision.DENY, "The call asks nothing: put one question.")
        try:
            response = await self._response(request)
        except LeaseLost:
            raise
        except Conflict:  # it expired: whoever asks goes on without
            return Verdict(Decision.ALLOW, answer=_NO_ANSWER)
        if response is None:
            self.parked = request
            return Verdict(Decision.PARK, _LATER)
        self.parked = None
        return Verdict(Decision.ALLOW, answer=in_words(response))

    async def _response(self, request: NewRequest) -> ControllerResponse | None:
        hold = self._hold
        if request.id in self._asked:  # it was held before, and had to be called again alone
            hold = 0.0
        else:
            self._asked.add(request.id)
            await self._queue.enqueue_worker_request(self._claimed.lease.execution_id, request)
            _log.info("asked", request_id=request.id, execution_id=self._claimed.lease.execution_id)
        try:
            return await self._queue.wait_for_response(request.id, hold)
        except NotFound:  # the order was cancelled meanwhile, or the server was set up anew
            return None

    def _request(self, call: ToolCall) -> NewRequest | None:
        question, context, options = _question(call.input) if call.name == ASK_TOOL else _questions(call.input)
        if not question.strip():
            return None
        order = self._claimed.order.id
        return NewRequest(
            token=self._claimed.lease.token,
            id=derived_id("req", order, digest_of(call)),
            kind=RequestKind.CLARIFICATION,
            expires_in_seconds=self._expiry,
            message=_text(question),
            context=_text(context),
            options=tuple(" ".join(_text(option).split())[:500] for option in options if option.strip())[
                :_MOST_OPTIONS
            ],
        )


def in_words(response: ControllerResponse) -> str:
    """An answer as the agent is told it; a person and a rule are told apart."""
    by = "The controller's policy" if response.made_by.startswith("policy:") else "The controller"
    return f"{by} answers: {response.message}" if response.message.strip() else f"{by}: {response.verdict}."


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
