"""Answers to requests: whether one can be given, what is told of it, and how long it holds."""

import hashlib
import json
from datetime import datetime, timedelta

from pydantic import JsonValue

from agentvine.domain.errors import AlreadyAnswered, Conflict, InvalidInput
from agentvine.domain.request import ControllerResponse, RequestKind, RequestStatus, WorkerRequest

_TOLD = 2000
"""How much of a message an event says; all of it stands in the request."""


def check_fits(request: WorkerRequest, response: ControllerResponse) -> None:
    """Raises `InvalidInput` if it is no answer to such a request."""
    clarification = request.kind is RequestKind.CLARIFICATION
    if clarification is not (response.verdict == "answer"):
        wanted = "answer" if clarification else "approved or denied"
        raise _wrong("/verdict", f"the verdict on this {request.kind} is {wanted}")
    if response.changed_input is None:
        return
    if request.call is None:
        raise _wrong("/changed_input", "this request has no call whose input could be changed; leave it out")
    if response.verdict != "approved":
        raise _wrong("/changed_input", "only an approval may change the input; leave it out, or approve")


def with_end(request: WorkerRequest, response: ControllerResponse, seconds: float) -> ControllerResponse:
    """The approval of a call holds for so long, and no other answer ends."""
    if request.call is None or response.verdict != "approved":
        return response
    return response.model_copy(update={"valid_until": response.made_at + timedelta(seconds=seconds)})


def lapsed(request: WorkerRequest, now: datetime) -> bool:
    """True if it was approved, and the approval holds no more."""
    until = request.response.valid_until if request.response else None
    return until is not None and until <= now


def same_answer(request: WorkerRequest, given: ControllerResponse, offered: ControllerResponse) -> WorkerRequest:
    """The request, if the answer offered is the one that stands. Raises `AlreadyAnswered`."""
    if _content(given) == _content(offered):
        return request
    raise AlreadyAnswered(
        f"{given.made_by} answered it first: {given.verdict}",
        status=request.status.value,
        response=given.model_dump(mode="json"),
    )


def _wrong(pointer: str, message: str) -> InvalidInput:
    return InvalidInput(message, errors=[{"pointer": pointer, "message": message}])


def _content(response: ControllerResponse) -> tuple[object, ...]:
    return response.verdict, response.message, response.changed_input


def over(request: WorkerRequest) -> Conflict:
    """The error for a request that nobody can or will answer any more."""
    if request.response is not None:
        return Conflict("the approval holds no more; ask again", status="lapsed")
    if request.status is RequestStatus.WITHDRAWN:
        why = "its order has ended, so an answer would change nothing; it is asked again if the order is requeued"
    else:
        why = "nobody answered it in time"
    return Conflict(
        f"the request is {request.status}: {why}", status=request.status.value, unanswered=request.unanswered.value
    )


def told_of(request: WorkerRequest) -> dict[str, JsonValue]:
    """What an event says of the call that a request is about."""
    call = request.call
    return {} if call is None else {"tool": call.tool, "rule": call.rule, "digest": call.digest}


def told_of_answer(request: WorkerRequest, response: ControllerResponse) -> dict[str, JsonValue]:
    """What an event says of an answer: enough to know, from the audit log alone, what was allowed."""
    data: dict[str, JsonValue] = {"verdict": response.verdict, "by": response.made_by, **told_of(request)}
    if response.message:
        data["message"] = response.message[:_TOLD]
    if response.changed_input is not None and request.call is not None:
        data["changed_digest"] = digest_of_call(request.call.tool, response.changed_input)
    if response.valid_until is not None:
        data["valid_until"] = response.valid_until.isoformat()
    return data


def digest_of_call(tool: str, given: dict[str, JsonValue]) -> str:
    """SHA-256 over a tool and its input in canonical JSON."""
    canonical = json.dumps([tool, given], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "replace")).hexdigest()
