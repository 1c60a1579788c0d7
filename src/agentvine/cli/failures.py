"""Errors in words: what went wrong and what to mend, on standard error, without a traceback."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agentvine.cli.context import ContextUnusable
from agentvine.cli.repository_options import OPTIONS as REPOSITORY_OPTIONS
from agentvine.domain import errors

if TYPE_CHECKING:
    from pydantic import ValidationError

    from agentvine.cli.render import Part, Screen

OPTIONS = {
    "type": "--type",
    "title": "--title",
    "description": "--description",
    "requirements": "--requirement",
    "repository": "--repo",
    "branch": "--branch",
    "permission_level": "--permission",
    "queue": "--queue",
    "priority": "--priority",
    "needs": "--needs",
    "hosts": "--host",
    "specializations": "--specialization",
    "budget/usd": "--budget-usd",
    "budget/turns": "--max-turns",
    "max_attempts": "--max-attempts",
    "timeout_seconds": "--timeout",
}
"""Field of a task → the option of `agentvine submit` that gives it."""

_MOST_LINES = 20


def tell(screen: "Screen", error: Exception) -> None:
    """Say on standard error what went wrong and what to do about it."""
    message, *hints = _words(error)
    screen.err.print(_line(("error: ", "bold red"), message), soft_wrap=True)
    for hint in hints[:_MOST_LINES]:
        screen.err.print(_line("  ", hint), soft_wrap=True)
    if len(hints) > _MOST_LINES:
        screen.err.print(_line(f"  and {len(hints) - _MOST_LINES} more"), soft_wrap=True)


def _line(*parts: "Part") -> object:
    from agentvine.cli.render import line

    return line(*parts)


def _words(error: Exception) -> Iterator[str]:
    if isinstance(error, ContextUnusable):
        yield str(error)
        return
    if not isinstance(error, errors.AgentVineError):
        yield f"{type(error).__name__}: {error}"
        return
    if isinstance(error, errors.Unavailable) and "url" in error.facts:
        yield f"no AgentVine server answers at {error.facts['url']}"
        yield "start one with `agentvine up`, or name another with --url or AGENTVINE_URL"
        return
    if isinstance(error, errors.InvalidInput):
        yield from _refused(error)
        return
    yield error.message
    yield from _details(error)


def _refused(error: errors.InvalidInput) -> Iterator[str]:
    mistakes = tuple(_mistakes(error.facts.get("errors")))
    repeated = any(mistake.endswith(error.message) or message in error.message for mistake, message in mistakes)
    yield "this cannot be accepted" if repeated else error.message
    yield from (mistake for mistake, _ in mistakes)
    if isinstance(cycle := error.facts.get("cycle"), (list, tuple)):
        yield " → ".join(str(each) for each in cycle)


def _details(error: errors.AgentVineError) -> Iterator[str]:
    facts = error.facts
    if isinstance(error, errors.AlreadyAnswered) and isinstance(response := facts.get("response"), dict):
        yield f"{response.get('verdict')} by {response.get('made_by')}: {response.get('message') or '(no words)'}"
    elif isinstance(error, errors.Unauthenticated):
        yield "the key is unknown, expired or revoked: give another with --key or AGENTVINE_API_KEY"
    elif isinstance(error, errors.Forbidden) and (needs := facts.get("needs")):
        yield f"it needs {needs}"
    elif isinstance(error, errors.ServerFault):
        yield "the server's log says why"


def _mistakes(found: object) -> Iterator[tuple[str, str]]:
    """Each mistake with its place in front, and alone."""
    if not isinstance(found, (list, tuple)):
        return
    for mistake in found:
        if isinstance(mistake, dict):
            where = place(str(mistake.get("pointer") or mistake.get("parameter") or ""))
            message = str(mistake.get("message", ""))
            yield (f"{where}: {message}" if where else message), message


def place(pointer: str) -> str:
    """The option, or the place in a task file, that an RFC 6901 pointer into a submission means."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.strip("/").split("/") if step]
    if steps[:1] in (["body"], ["query"]):
        steps = steps[1:]
    if steps[:1] == ["tasks"] and len(steps) > 1 and steps[1].isdigit():
        rest = [step for step in steps[2:] if step != "task"]
        return " ".join([f"task {int(steps[1]) + 1}", *([".".join(rest)] if rest else [])])
    for length in (3, 2, 1):
        name = "/".join(steps[:length])
        option = OPTIONS.get(name, REPOSITORY_OPTIONS.get(name)) if len(steps) >= length else None
        if option:
            number = steps[length : length + 1]
            return f"{option} number {int(number[0]) + 1}" if number and number[0].isdigit() else option
    return ".".join(steps)


def invalid(error: "ValidationError", what: str, prefix: str = "") -> errors.InvalidInput:
    """A mistake that was found before anything was sent, in the form in which the server tells its own."""
    from agentvine.domain.mistakes import plainly

    mistakes = [
        {
            "pointer": prefix + "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in each["loc"]),
            "message": plainly(each),
        }
        for each in error.errors(include_url=False, include_input=False)
    ]
    return errors.InvalidInput(what, errors=mistakes)
