"""Which questions are alike for a precedent."""

from datetime import UTC, datetime

import pytest

from agentvine.domain.precedent import likeness_of
from agentvine.domain.request import RequestKind, WorkerRequest

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def like(message: str, *options: str) -> str | None:
    body = "01k9zq4r8w6x5v3n2m1b0c9d8f"
    request = WorkerRequest(
        id=f"req_{body}",
        task_id=f"tsk_{body}",
        work_order_id=f"wo_{body}",
        execution_id=f"exe_{body}",
        kind=RequestKind.CLARIFICATION,
        message=message,
        options=options,
        created_at=NOW,
        expires_at=NOW,
    )
    return likeness_of(request)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Which currency?", "  which   CURRENCY"),
        ("Use “EUR”, or 'USD'?", "use EUR or USD"),
        ("(Really?) Yes.", "Really yes"),
        ("?", "?"),
    ],
)
def test_questions_that_differ_in_form_alone_are_alike(one: str, other: str) -> None:
    assert like(one) == like(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Is total > 100?", "Is total < 100?"),
        ("Is a != b right?", "Is a = b right?"),
        ("Is it -1?", "Is it 1?"),
        ("C++ or not?", "C# or not?"),
        ("Is 1.5 right?", "Is 15 right?"),
        ("?", "!"),
    ],
)
def test_questions_that_differ_in_substance_are_not_alike(one: str, other: str) -> None:
    assert like(one) != like(other)
    assert like("Which?", one, other) != like("Which?", other, one)
