"""What the three forges have in common, as far as we need it: one repository's pull requests and reviews.

The story that is told with these calls, the same for all of them, is in courier.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from agentvine.domain.retry import FailureReason
from agentvine.worker.forge.base import ForgeRefused, ForgeUnavailable, Proposal, Remark
from agentvine.worker.forge.connection import Connection, Parameters, Refusal, Told
from agentvine.worker.forge.difference import ChangedFile

PAGE = 100
MOST_PAGES = 20
"""Pages of a list that are read: 2000 reviews, files or pull requests of one branch."""


_T = TypeVar("_T")


class State(StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    MERGED = "merged"


@dataclass(frozen=True, slots=True)
class PullRequest:
    """One, whatever the forge calls it."""

    number: int
    url: str
    state: State
    branch: str
    head_sha: str
    body: str
    ours: bool
    """True if its branch is in this repository, not in somebody's copy."""
    base_sha: str = ""
    start_sha: str = ""
    """What GitLab's positions need besides."""


@dataclass(frozen=True, slots=True)
class Place:
    """A remark on a line that the diff shows."""

    remark: Remark
    file: ChangedFile


@dataclass(frozen=True, slots=True)
class Draft:
    """A review as it shall be posted: texts are marked, harmless and bounded."""

    mark: str
    text: str
    places: Sequence[Place]
    head_sha: str


class AlreadyThere(Exception):
    """The forge says that there is one already."""


class Desk(Protocol):
    """Each call may raise Refusal, Unsure (only those that write) and ForgeProblem, besides what it says."""

    longest_title: int
    longest_text: int

    async def of_branch(self, branch: str) -> list[PullRequest]:
        """Every pull request of that branch of this repository, in any state."""
        ...

    async def recent(self) -> list[PullRequest]:
        """Those of this repository that were changed last, in any state: about a hundred."""
        ...

    async def open(self, proposal: Proposal, title: str, body: str) -> PullRequest:
        """A new one. Raises AlreadyThere."""
        ...

    async def rewrite(self, number: int, body: str) -> None:
        """Give it another text."""
        ...

    async def label(self, number: int, labels: Sequence[str]) -> None:
        """Add these labels."""
        ...

    async def ask(self, number: int, reviewers: Sequence[str]) -> None:
        """Ask these people for a review."""
        ...

    async def renamed(self, branch: str) -> str | None:
        """What the branch is called now: the same, another name, or None if it is not there."""
        ...

    async def changed_files(self, pull: PullRequest) -> list[ChangedFile]:
        """What its diff shows."""
        ...

    async def posted(self, pull: PullRequest, mark: str) -> str | None:
        """The address of the review known by `mark`, if it was posted."""
        ...

    async def prepare(self, pull: PullRequest, draft: Draft) -> str:
        """See to it that exactly this is written down and not yet posted; gives a name for `post`.

        Raises AlreadyThere if this account has another unfinished review there.
        """
        ...

    async def post(self, pull: PullRequest, draft: Draft, name: str) -> str | None:
        """Post what was prepared; its address if the forge tells it at once."""
        ...


class Value(BaseModel):
    """Part of an answer. What else is in it is nobody's business here."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def understood(kind: type[_T], told: Told | JsonValue, who: str) -> _T:
    """An answer as a `kind`. Raises ForgeUnavailable if it is none."""
    value = told.value if isinstance(told, Told) else told
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[:1]
        raise ForgeUnavailable(f"{who} answers with something else than its API does: {first}") from error


_ADAPTERS: dict[object, TypeAdapter[object]] = {}


def _adapter(kind: type[_T]) -> TypeAdapter[_T]:
    """Adapters are dear to make and never change: each is made once."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]  # type: ignore[return-value]  # keyed by its own type


async def pages(
    connection: Connection, path: str, parameters: Parameters | None = None, most: int = MOST_PAGES
) -> list[JsonValue]:
    """All entries of a list, at most `most` pages of it; `limit` among the parameters is the size of a page.

    Raises Refusal, ForgeProblem.
    """
    wanted: Parameters = parameters or {}
    size, asked = (int(wanted["limit"]), wanted) if "limit" in wanted else (PAGE, {**wanted, "per_page": PAGE})
    entries: list[JsonValue] = []
    for page in range(1, most + 1):
        told = await connection.get(path, {**asked, "page": page})
        part = understood(list[JsonValue], told, connection.name)
        entries += part
        if len(part) < size:
            break
    return entries


def piece(text: str) -> str:
    """`text` as one piece of a path."""
    return quote(text, safe="")


def owner_and_name(repository: str, forge: str) -> tuple[str, str]:
    """The two parts of owner/name. Raises ForgeRefused for anything else."""
    owner, _, name = repository.partition("/")
    if not owner or not name or "/" in name:
        raise ForgeRefused(f"'{repository}' is no owner/name on {forge}", FailureReason.REPOSITORY_NOT_FOUND)
    return owner, name


async def sent_once(connection: Connection, path: str, sent: JsonValue, *, taken: Callable[[Refusal], bool]) -> Told:
    """Ask for something that may be there only once. Raises AlreadyThere where a refusal says that it is `taken`."""
    try:
        return await connection.send("POST", path, sent)
    except Refusal as refusal:
        if taken(refusal):
            raise AlreadyThere(refusal.said) from refusal
        raise
