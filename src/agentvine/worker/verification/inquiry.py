"""The form of a further question about a result: what is known goes in, checks come out.

What every type of task asks of every result stands in `checks.py`, and needs nothing but runs that were made anyway.
An inquiry may run more on the ground. The verifier asks those in `inquiries.py`, in their order.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from agentvine.domain.evidence import Check
from agentvine.domain.worker_types import TaskType
from agentvine.worker.bare_repository import Diff
from agentvine.worker.verification.ground import Ground
from agentvine.worker.verification.reading import Read
from agentvine.worker.verification.runs import TestRun
from agentvine.worker.verification.subject import Subject


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a result. A run is None where there was nothing to run, or no need."""

    subject: Subject
    ground: Ground
    changed: tuple[str, ...]
    """Paths of the files that differ between base and result; never empty."""
    diff: Diff
    before: TestRun | None = None
    """The tests on the base."""
    after: TestRun | None = None
    """The tests on the result."""
    crossed: TestRun | None = None
    """The result's tests on the base's code; for a refactoring the base's tests on the result's code."""
    read: Read = field(default_factory=Read)
    """What the changed files say."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an inquiry found out. Remarks are said in the evidence under what was not checked."""

    checks: tuple[Check, ...] = ()
    remarks: tuple[str, ...] = ()
    evidence: Mapping[str, object] = field(default_factory=dict)
    """Fields of `Evidence` that it fills, with values of their types."""


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question that is asked of results of some types.

    `ask` raises GitFailed and LimitExceeded, and nothing else. `costly`: it runs something, so a result that has failed
    already is not asked: it will come again.
    """

    name: str
    types: frozenset[TaskType]
    ask: Callable[[Facts], Awaitable[Answer]]
    costly: bool = False
