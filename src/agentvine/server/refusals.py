"""Every error as an answer: a problem document that says what and where."""

import math
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus

from pydantic import JsonValue, ValidationError
from starlette.responses import Response

from agentvine.domain.errors import AgentVineError, InvalidInput, ServerFault, Unauthenticated, Unavailable
from agentvine.wire.problems import CONTENT_TYPE, Problem, to_problem

REQUEST_ID = "agentvine.request_id"
"""Where a request's scope holds its id."""
REFUSED_WITH = "agentvine.refused_with"
"""Where it holds the error with which an operation of FastAPI refused it."""
TOLD = 50
"""How many mistakes of one request are told."""
_IN_PARAMETERS = {"query": "parameter", "header": "header", "path": "path"}


def refusal(error: AgentVineError) -> Response:
    """The answer that makes a client raise `error` again."""
    problem = to_problem(error)
    return _response(problem, _headers(error))


def plain_refusal(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer where the HTTP status says it all (RFC 9457, section 4.2.1)."""
    problem = Problem(type="about:blank", title=HTTPStatus(status).phrase, status=status, detail=detail)
    return _response(problem, headers or {})


def fault(request_id: str) -> ServerFault:
    """What a client is told of an error that nobody thought of."""
    return ServerFault("the server failed; its log says why, under this request_id", request_id=request_id)


def body_mistakes(error: ValidationError) -> InvalidInput:
    """What pydantic found wrong in a body."""
    return invalid_input(
        (("body", *mistake["loc"]), mistake["msg"])
        for mistake in error.errors(include_url=False, include_context=False, include_input=False)
    )


def invalid_input(mistakes: Iterable[tuple[Sequence[int | str], str]]) -> InvalidInput:
    """One error for all mistakes; each is a place, whose first part is body, query, header or path, and a message."""
    errors: list[JsonValue] = []
    words: list[str] = []
    for (where, *path), said in mistakes:
        message = said.removeprefix("Value error, ")
        if where == "body":
            errors.append({"pointer": pointer(path), "message": message})
            words.append(f"{'.'.join(map(str, path)) or 'the body'}: {message}")
        else:
            errors.append({_IN_PARAMETERS.get(str(where), "parameter"): str(path[0]), "message": message})
            words.append(f"{where} parameter {path[0]}: {message}")
    more = f" (and {len(words) - 3} more)" if len(words) > 3 else ""
    return InvalidInput("; ".join(words[:3]) + more, errors=errors[:TOLD])


def pointer(path: Iterable[int | str]) -> str:
    """A JSON pointer (RFC 6901); empty for the whole document."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _headers(error: AgentVineError) -> dict[str, str]:
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": 'Bearer realm="agentvine"'}  # RFC 6750, section 3
    if isinstance(error, Unavailable):
        seconds = error.facts.get("retry_after", 1)
        return {"Retry-After": str(math.ceil(seconds) if isinstance(seconds, int | float) else 1)}
    return {}


def _response(problem: Problem, headers: Mapping[str, str]) -> Response:
    return Response(problem.model_dump_json(), problem.status, dict(headers), CONTENT_TYPE)
