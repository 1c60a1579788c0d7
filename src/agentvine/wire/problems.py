"""Errors on the wire: RFC 9457 problem documents. One table, read both ways."""

from collections.abc import Mapping
from types import MappingProxyType

from pydantic import JsonValue, TypeAdapter, ValidationError

from agentvine.domain import errors
from agentvine.domain.base import Model

CONTENT_TYPE = "application/problem+json"
_PREFIX = "urn:agentvine:problem:"

STATUS: Mapping[type[errors.AgentVineError], tuple[str, int]] = MappingProxyType(
    {
        errors.InvalidInput: ("invalid_input", 422),
        errors.DependencyCycle: ("dependency_cycle", 422),
        errors.IdempotencyMismatch: ("idempotency_mismatch", 422),
        errors.TooLarge: ("too_large", 413),
        errors.Unauthenticated: ("unauthenticated", 401),
        errors.Forbidden: ("forbidden", 403),
        errors.NotFound: ("not_found", 404),
        errors.Conflict: ("conflict", 409),
        errors.LeaseLost: ("lease_lost", 409),
        errors.Superseded: ("superseded", 409),
        errors.AlreadyAnswered: ("already_answered", 409),
        errors.UpgradeRequired: ("upgrade_required", 426),
        errors.Unavailable: ("unavailable", 503),
        errors.ServerFault: ("server_fault", 500),
    }
)
"""Error class → (the last part of its type URI, its HTTP status). Complete: a test counts the classes."""

_BY_NAME = {name: error for error, (name, _) in STATUS.items()}
_BY_STATUS = {status: error for error, (_, status) in reversed(tuple(STATUS.items()))}
_FACTS: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


class Problem(Model):
    """RFC 9457, section 3; `facts` is our extension member."""

    type: str
    title: str
    status: int
    detail: str
    facts: dict[str, JsonValue] = {}


def to_problem(error: errors.AgentVineError) -> Problem:
    """The document for `error`. Facts that JSON cannot hold are a programming error and raise."""
    name, status = STATUS[type(error)]
    return Problem(
        type=_PREFIX + name,
        title=name.replace("_", " ").capitalize(),
        status=status,
        detail=error.message,
        facts=_FACTS.validate_python(error.facts),
    )


def from_reply(status: int, body: bytes) -> errors.AgentVineError:
    """The error that a reply with `status` ≥ 400 stands for.

    The class the server raised if the body is one of our problems; else the nearest class by status, with the start of
    the body as its message (a proxy in between has its own pages).
    """
    try:
        problem = Problem.model_validate_json(body)
    except ValidationError:
        text = body[:300].decode("utf-8", "replace").strip() or f"HTTP status {status}"
        return _nearest(status)(text, status=status)
    known = _BY_NAME.get(problem.type.removeprefix(_PREFIX))
    return (known or _nearest(status))(problem.detail, **problem.facts)


def _nearest(status: int) -> type[errors.AgentVineError]:
    if status in {429, 502, 503, 504}:
        return errors.Unavailable
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return errors.InvalidInput if status < 500 else errors.ServerFault
