"""What an operator says of one repository: how it is worked on, who may ask for work, and what that may cost."""

import posixpath
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, SerializationInfo, StringConstraints, field_serializer, model_validator

from agentvine.domain.base import Line, Model, Moment, Strict
from agentvine.domain.forge import ForgeKind
from agentvine.domain.git_credential import Address
from agentvine.domain.ids import RepositoryId
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.repository import BranchName, RepositoryUrl
from agentvine.domain.task import Hosts
from agentvine.domain.worker_types import TaskType

UserName = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._\[\]-]*$")]
Command = Annotated[tuple[Line, ...], Field(max_length=20)]
"""Command lines, run one after another, as `.agentvine.toml` writes them."""
CommandName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,49}$")]
"""What the operator of the server calls a command that gives credentials."""


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
    """Where a task starts that names no branch."""
    setup: Command = ()
    test: Command = ()
    protected: Annotated[tuple[Line, ...], Field(max_length=200)] = ()
    """Patterns of paths that nobody may change."""
    hosts: Hosts = ()
    """What its sandboxes may reach besides, of that which a worker offers."""
    permission_level: PermissionLevel | None = None
    """The highest that its tasks may have."""
    concurrency: Annotated[int, Field(ge=1, le=1000)] | None = None
    budget_per_day_usd: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = None
    intake: IntakeRules = IntakeRules()
    follow_up: FollowUpRules = FollowUpRules()

    @property
    def address(self) -> str:
        """What makes it this repository, however its address is spelled."""
        return address_of(self.repository)

    @property
    def folded(self) -> str | None:
        """The address in lower case, if its forge tells no repositories apart by that."""
        return folded_address(self.repository, self.forge)

    @property
    def named(self) -> frozenset[str]:
        """Whose words count, in lower case: forges tell users apart regardless of case."""
        return frozenset(user.lower() for user in (*self.follow_up.users, *self.intake.users))

    @property
    def rules(self) -> "RepositoryRules":
        """The part that workers go by."""
        return RepositoryRules(
            setup=self.setup, test=self.test, protected=self.protected, hosts=self.hosts, forge=self.forge
        )


class RepositoryRules(Model):
    """What workers are told of a repository with each of its orders. It goes before what the repository says itself."""

    setup: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    forge: ForgeKind | None = None


class Repository(Model):
    """A repository that the server knows, as it is shown: secrets are never part of it."""

    id: RepositoryId
    settings: RepositorySettings
    created_at: Moment
    created_by: str
    """The id of the key that added it; tasks from the forge are submitted in its name."""
    updated_at: Moment
    credential: str | None = None
    """What kind is kept: `token` or `command NAME`. Never the secret itself."""
    webhook: bool = False
    """Whether a secret is kept by which the forge's webhooks are known."""
    trouble: str | None = None
    """Why the forge could not be looked at lately, or nobody is there who may, for people."""
    spent_today_usd: float = 0.0
    """What its orders have cost since midnight (UTC), those that run included."""


class NewCredential(Strict):
    """What git and the forge are shown: a token, or the name of a command of the server's that gives one."""

    username: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")] = "git"
    """What goes with a token; a command may say another."""
    token: Annotated[SecretStr, Field(max_length=10_000)] | None = Field(default=None, repr=False)
    command: CommandName | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        secret = self.token.get_secret_value() if self.token is not None else ""
        if (self.token is None) == (self.command is None):
            raise ValueError("give either a token or the name of a command")
        if self.token is not None and not (secret and secret.isprintable() and secret.isascii() and secret.strip()):
            raise ValueError("a token is one line of printable ASCII characters")
        return self

    @field_serializer("token", when_used="json")
    def _hidden(self, token: SecretStr | None, info: SerializationInfo) -> str | None:
        if token is None:
            return None
        return token.get_secret_value() if (info.context or {}).get("plain") else str(token)


_CASELESS = frozenset({ForgeKind.GITHUB, ForgeKind.GITLAB, ForgeKind.GITEA, ForgeKind.FORGEJO})
_HOSTS: Mapping[str | None, ForgeKind] = MappingProxyType(
    {
        "github.com": ForgeKind.GITHUB,
        "gitlab.com": ForgeKind.GITLAB,
        "codeberg.org": ForgeKind.FORGEJO,
        "gitea.com": ForgeKind.GITEA,
    }
)


def forge_of(settings: RepositorySettings) -> ForgeKind | None:
    """What software its forge runs, as an operator says or everybody knows of its host; None: nobody said."""
    return settings.forge or _HOSTS.get(urlsplit(settings.address).hostname)


def folded_address(url: str, forge: ForgeKind | None) -> str | None:
    """The normal form of an address in lower case, if its forge takes owners and names in any case for the same.

    GitHub, GitLab, Gitea and Forgejo do. None: the case may tell two repositories apart.
    """
    address = address_of(url)
    caseless = forge in _CASELESS or urlsplit(address).hostname in _HOSTS
    return address.lower() if caseless and address.isascii() else None


def address_of(url: str) -> str:
    """The normal form of a repository's address: two spellings of one repository have the same."""
    try:
        return str(Address.of(url))
    except ValueError:  # file:// and git://, which no credential can be for
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2].lower()
        return f"{parts.scheme.lower()}://{host}{posixpath.normpath(parts.path or '/')}"
