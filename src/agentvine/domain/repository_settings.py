"""What an operator says of one repository: how it is worked on, who may ask for work, and what that may cost."""

from typing import Annotated

from pydantic import Field, StringConstraints

from agentvine.domain.base import Line, Model, Moment, Strict
from agentvine.domain.forge import ForgeKind
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.repository import BranchName, RepositoryUrl
from agentvine.domain.worker_types import TaskType

UserName = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._\[\]-]*$")]
Command = Annotated[tuple[Line, ...], Field(max_length=20)]
"""Command lines, run one after another, as `.agentvine.toml` writes them."""


class IntakeRules(Strict):
    """How work comes in from the forge."""

    label: Line | None = None
    """An open issue with it becomes a task. None: no issue does."""
    users: Annotated[tuple[UserName, ...], Field(max_length=200)] = ()
    """Whose comments `/agentvine …` make tasks, and whose replies answer questions. Nobody else's do."""
    type: TaskType = TaskType.FEATURE
    """What a labelled issue, or a command that names no type, becomes."""
    look_seconds: Annotated[float, Field(ge=5, le=86_400)] = 300.0
    """How often the forge is looked at where no webhook rings."""


class FollowUpRules(Strict):
    """What follows a pull request of ours."""

    enabled: bool = True
    tries: Annotated[int, Field(ge=0, le=20)] = 3
    """How often a pull request is gone on with for failing checks or conflicts, before a person has to."""
    users: Annotated[tuple[UserName, ...], Field(max_length=200)] = ()
    """Whose review comments are acted on; those whom intake names are, too."""
    look_seconds: Annotated[float, Field(ge=5, le=86_400)] = 300.0


class RepositorySettings(Strict):
    """All of it. What is None or empty is left to the repository, to what is detected, or unlimited."""

    repository: RepositoryUrl
    forge: ForgeKind | None = None
    default_branch: BranchName | None = None
    setup: Command = ()
    test: Command = ()
    protected: Annotated[tuple[Line, ...], Field(max_length=200)] = ()
    """Patterns of paths that nobody may change."""
    hosts: Annotated[tuple[Line, ...], Field(max_length=100)] = ()
    """What its sandboxes may reach besides, of that which a worker offers."""
    permission_level: PermissionLevel | None = None
    """The highest that its tasks may have."""
    concurrency: Annotated[int, Field(ge=1, le=1000)] | None = None
    budget_per_day_usd: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = None
    intake: IntakeRules = IntakeRules()
    follow_up: FollowUpRules = FollowUpRules()


class Repository(Model):
    """A repository that the server knows, as it is shown: secrets are never part of it."""

    settings: RepositorySettings
    created_at: Moment
    updated_at: Moment
    credential: str | None = None
    """What kind is kept: `token` or `command NAME`. Never the secret itself."""
    webhook: bool = False
    """Whether a secret is kept by which the forge's webhooks are known."""
    trouble: str | None = None
    """Why the forge could not be looked at lately, for people."""
