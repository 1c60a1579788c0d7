"""What is to be verified."""

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from agentvine.domain.approval import Grant
from agentvine.domain.evidence import RefusedCall
from agentvine.domain.execution import Usage
from agentvine.domain.repository_settings import RepositoryRules
from agentvine.domain.retry import FailureReason
from agentvine.domain.sensitive import Sensitive
from agentvine.domain.tool_policy import ToolPolicy
from agentvine.domain.worker_types import TaskType
from agentvine.worker.access import Access
from agentvine.worker.bare_repository import BareRepository
from agentvine.worker.git_errors import RepositoryProblem


class SetupFailed(RepositoryProblem):
    """The base itself cannot be set up or tested, so nothing can be found out about a result."""

    reason = FailureReason.SETUP_FAILED


@dataclass(frozen=True, slots=True)
class Subject:
    """A result that is to be verified. `commits` holds base and head; `folder` and `private` are for this alone."""

    execution_id: str
    task_id: str
    type: TaskType
    url: str
    commits: BareRepository
    base: str
    head: str
    folder: Path
    private: Path
    access: Access = field(default_factory=Access)
    usage: Usage = field(default_factory=Usage)
    repairs: int = 0
    answer: JsonValue = None
    """The agent's structured answer, of a review."""
    since: str | None = None
    """Of a review: the commit from which on `base` is reviewed. None: all that it holds."""
    builds_on: str | None = None
    """The commit after which the agent's own begin, where `base` lies before it; what is before it left already, under
    the rules of then."""
    said: str = ""
    """The agent's last words."""
    tools: ToolPolicy | None = None
    """What the worker may write. None: what its type may."""
    sensitive: Sensitive = field(default_factory=Sensitive)
    refused_calls: tuple[RefusedCall, ...] = ()
    grants: tuple[Grant, ...] = ()
    """What somebody has agreed to."""
    asked: str = ""
    """The words of the task."""
    rules: RepositoryRules = field(default_factory=RepositoryRules)
    """What an operator says of the repository."""
