"""Errors on the wire: complete, and the same on both sides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agentvine.domain import errors
from agentvine.domain.errors import AgentVineError
from agentvine.wire.problems import STATUS, Problem, from_reply, to_problem


def subclasses(of: type[AgentVineError]) -> set[type[AgentVineError]]:
    return {one for child in of.__subclasses__() for one in {child} | subclasses(child)}


def test_every_error_has_a_line_in_the_table() -> None:
    assert set(STATUS) == subclasses(AgentVineError)


def test_names_are_unique_and_statuses_are_errors() -> None:
    names = [name for name, _ in STATUS.values()]
    assert len(set(names)) == len(names)
    assert all(400 <= status < 600 for _, status in STATUS.values())


@given(
    kind=st.sampled_from(sorted(STATUS, key=lambda one: one.__name__)),
    message=st.text(max_size=200),
    facts=st.dictionaries(
        st.from_regex(r"[a-z]{1,10}", fullmatch=True).filter(lambda name: name not in {"self", "message"}),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5),
        max_size=3,
    ),
)
def test_the_client_raises_what_the_server_raised(
    kind: type[AgentVineError], message: str, facts: dict[str, object]
) -> None:
    problem = to_problem(kind(message, **facts))
    again = from_reply(problem.status, problem.model_dump_json().encode())
    assert type(again) is kind
    assert (again.message, again.facts) == (message, facts)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (502, b"<html>bad gateway</html>", errors.Unavailable),
        (429, b"", errors.Unavailable),
        (504, b"\xff\xfe", errors.Unavailable),
        (500, b"oops", errors.ServerFault),
        (404, b"nginx", errors.NotFound),
        (401, b"", errors.Unauthenticated),
        (409, b"{}", errors.Conflict),
        (418, b"teapot", errors.InvalidInput),
        (599, b"", errors.ServerFault),
    ],
)
def test_strangers_pages_become_the_nearest_error(status: int, body: bytes, kind: type[AgentVineError]) -> None:
    assert type(from_reply(status, body)) is kind


def test_an_unknown_problem_becomes_the_nearest_error() -> None:
    newer = Problem(type="urn:agentvine:problem:quota", title="Quota", status=403, detail="no", facts={"left": 0})
    error = from_reply(403, newer.model_dump_json().encode())
    assert type(error) is errors.Forbidden
    assert error.facts == {"left": 0}


def test_facts_that_json_cannot_hold_are_a_mistake() -> None:
    with pytest.raises(ValidationError):
        to_problem(errors.Conflict("x", status=object()))
