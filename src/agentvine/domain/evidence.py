"""What the worker itself found out about a result, in a checkout that the agent never touched."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from agentvine.domain.base import Line, Model, Moment, Note, Text
from agentvine.domain.execution import Count, Seconds, Usage
from agentvine.domain.ids import ExecutionId, TaskId
from agentvine.domain.repository import Sha
from agentvine.domain.worker_types import TaskType


class CheckOutcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not_applicable"
    UNKNOWN = "unknown"


class Check(Model):
    """One named question about a result, and its answer. `why` is never empty unless it passed."""

    name: Line
    outcome: CheckOutcome
    why: Text = ""
    seconds: Seconds = 0.0


class CommandRecord(Model):
    """A command that the worker ran to find out."""

    argv: tuple[str, ...]
    where: str = Field(pattern="^(base|result|workspace)$")
    exit_code: int
    seconds: Seconds
    output_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    output_tail: Text = ""


class TestSummary(Model):
    """How a test run went. `counted` is False where the runner gave an exit code but no structured result."""

    __test__ = False  # keeps pytest from collecting it

    total: Count = 0
    passed: Count = 0
    failed: Count = 0
    skipped: Count = 0
    counted: bool = True
    failing: Annotated[tuple[str, ...], Field(max_length=200)] = ()
    """Names of failing tests, as the runner gives them, at most 200."""
    flaky: Annotated[tuple[str, ...], Field(max_length=200)] = ()
    """Names of tests that ended in one way and in another, at most 200; they count as failed."""
    runs: int = Field(default=1, ge=1)
    """How often the tests were run to tell so much."""


class CoverageSummary(Model):
    """How much of the code, tests left out, the tests reached. Without counts where only a percentage was told."""

    percent: float = Field(ge=0, le=100)
    statements: Count = 0
    covered: Count = 0


class Finding(Model):
    """One remark of a review."""

    file: Line
    line: int = Field(ge=1)
    severity: str = Field(pattern="^(info|low|medium|high|critical)$")
    title: Line
    why: Text
    fix: Text = ""
    source: Line = "claude"
    """Who found it: claude, or an analyser and its rule, as `ruff:F821`."""
    also: Annotated[tuple[Line, ...], Field(max_length=50)] = ()
    """Who else found the same."""


class Contact(Model):
    """An attempt to reach something outside the sandbox, or several alike."""

    at: Moment | None = None
    """When, of a single one."""
    way: Line
    """proxy, or model: the gateway to the model."""
    target: Line
    """host:port for the proxy, method and path for the model; as asked for, control characters escaped."""
    allowed: bool
    reason: Note = ""
    """Why it was refused, or why an allowed one failed."""
    count: Count = 1
    bytes_out: Count = 0
    bytes_in: Count = 0


class RefusedCall(Model):
    """A tool call of the agent that was not carried out, or several alike."""

    tool: Line
    subject: Note = ""
    """What it was about: the command, or the file."""
    rule: Line
    """Which rule refused it."""
    reason: Note = ""
    """What the agent was told."""
    count: Count = 1


class ApprovedCall(Model):
    """Something sensitive that the agent did, or that its result does, because somebody had agreed to it."""

    tool: Line
    """`result`: what the result changes, whatever changed it."""
    rule: Line
    """What makes it sensitive."""
    asked: Note
    """What was asked for."""
    made_by: Line
    """Who agreed, as in a response to a request."""
    changed: bool = False
    """True: it was approved, and made, with another input."""


class Evidence(Model):
    """The record that goes with a delivery, or with its refusal."""

    schema_version: int = 1
    execution_id: ExecutionId
    task_id: TaskId
    type: TaskType
    made_at: Moment
    base_sha: Sha
    head_sha: Sha | None
    checks: tuple[Check, ...]
    commands: tuple[CommandRecord, ...] = ()
    tests_before: TestSummary | None = None
    tests_after: TestSummary | None = None
    coverage_before: CoverageSummary | None = None
    """Where it was measured."""
    coverage_after: CoverageSummary | None = None
    files_changed: Count = 0
    lines_added: Count = 0
    lines_removed: Count = 0
    change_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """Over all that differs between base and head, see `statement.change_digest`."""
    findings: tuple[Finding, ...] = ()
    reviewed_since: Sha | None = None
    """Of a review: the commit from which on changes were reviewed. None: all that is there was."""
    usage: Usage = Usage()
    repairs: Count = 0
    sandbox: Line = "none"
    """How the agent and the repository's commands were confined."""
    egress: Annotated[tuple[Contact, ...], Field(max_length=200)] = ()
    """What was reached outside, or tried to, by the agent and by the repository's commands; at most 200 kinds."""
    refused_calls: Annotated[tuple[RefusedCall, ...], Field(max_length=200)] = ()
    """What the agent wanted to do and was not let, at most 200 kinds."""
    approved_calls: Annotated[tuple[ApprovedCall, ...], Field(max_length=200)] = ()
    """What somebody agreed to, in this execution or an earlier one of the order; the latest 200."""
    not_checked: tuple[str, ...] = ()
    """What a reader might think was checked, and was not."""

    @property
    def passed(self) -> bool:
        """True if no check failed and none is unknown."""
        return all(check.outcome in {CheckOutcome.PASSED, CheckOutcome.NOT_APPLICABLE} for check in self.checks)
