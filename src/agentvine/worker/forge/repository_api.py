"""The part of a forge's API that is about one repository: desks and windows ask, and send, through it alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

from pydantic import JsonValue

from agentvine.domain.retry import FailureReason
from agentvine.worker.forge.answers import understood
from agentvine.worker.forge.base import ForgeRefused
from agentvine.worker.forge.connection import Connection, Parameters, Refusal, Told
from agentvine.worker.forge.desk import AlreadyThere

MOST_PAGES = 20
"""Pages of a list that are read: 2000 reviews, files or pull requests of one branch."""

_T = TypeVar("_T")
_Page = TypeVar("_Page")


@dataclass(frozen=True, slots=True)
class RepositoryApi:
    """One repository, as `connection` reaches it. `path`: where it is in the API, quoted.

    What a call names is below that path. Each may raise Refusal and ForgeProblem, those that write Unsure as well.
    """

    connection: Connection
    path: str
    page_size: int = 100
    size_name: str = "per_page"
    """How a call says how many entries a page shall have."""

    @property
    def forge(self) -> str:
        """The forge's name, for messages."""
        return self.connection.name

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def get(self, what: str = "", wanted: Parameters | None = None, *, accept: str | None = None) -> Told:
        """The plain answer."""
        return await self.connection.get(self._at(what), wanted, accept=accept)

    async def one(self, kind: type[_T], what: str = "", wanted: Parameters | None = None) -> _T:
        """The answer as a `kind`."""
        return understood(kind, await self.get(what, wanted), self.forge)

    async def if_there(self, kind: type[_T], what: str) -> _T | None:
        """As `one`; None where the forge knows nothing of it (404)."""
        try:
            return await self.one(kind, what)
        except Refusal as refusal:
            if refusal.status == 404:
                return None
            raise

    async def all(
        self, kind: type[_T], what: str, wanted: Parameters | None = None, *, most: int = MOST_PAGES
    ) -> list[_T]:
        """The entries of a list, each as a `kind`: at most `most` pages of it."""
        entries = await self.within(list[JsonValue], what, list, wanted, most=most)
        return [understood(kind, one, self.forge) for one in entries]

    async def within(
        self,
        page: type[_Page],
        what: str,
        entries: Callable[[_Page], Sequence[_T]],
        wanted: Parameters | None = None,
        *,
        most: int = MOST_PAGES,
    ) -> list[_T]:
        """The entries of a list that is told in objects: `entries` takes them out of one `page`.

        A page may be shorter than was asked for, by a limit of the forge's operator: then more is read where the forge
        says that there is more.
        """
        found: list[_T] = []
        for number in range(1, most + 1):
            asked: Parameters = {**(wanted or {}), self.size_name: self.page_size, "page": number}
            told = await self.get(what, asked)
            part = entries(understood(page, told, self.forge))
            found += part
            full = len(part) >= self.page_size
            if not (part and (full or told.goes_on or len(found) < told.entries)):
                break
        return found

    async def tail(self, what: str, most: int) -> bytes:
        """The last `most` bytes of a long text, as in `Connection.tail`."""
        return await self.connection.tail(self._at(what), most)

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def send(self, method: str, what: str, body: JsonValue = None, *, repeatable: bool = False) -> Told:
        """The plain answer; `repeatable` as in `Connection.send`."""
        return await self.connection.send(method, self._at(what), body, repeatable=repeatable)

    async def sent(self, kind: type[_T], method: str, what: str, body: JsonValue) -> _T:
        """The answer as a `kind`."""
        return understood(kind, await self.send(method, what, body), self.forge)

    async def made(self, kind: type[_T], what: str, body: JsonValue, *, taken: Callable[[Refusal], bool]) -> _T:
        """Something that may be there only once. Raises AlreadyThere where a refusal says that it is `taken`."""
        try:
            return await self.sent(kind, "POST", what, body)
        except Refusal as refusal:
            if taken(refusal):
                raise AlreadyThere(refusal.said) from refusal
            raise

    async def discard(self, what: str) -> None:
        """Take it away, if nobody else did."""
        try:
            await self.send("DELETE", what)
        except Refusal as refusal:
            if refusal.status != 404:
                raise

    def _at(self, what: str) -> str:
        return f"{self.path}/{what}" if what else self.path


def piece(text: str) -> str:
    """`text` as one piece of a path."""
    return quote(text, safe="")


def owner_and_name(repository: str, forge: str) -> tuple[str, str]:
    """The two parts of owner/name. Raises ForgeRefused for anything else."""
    owner, _, name = repository.partition("/")
    if not owner or not name or "/" in name:
        raise ForgeRefused(f"'{repository}' is no owner/name on {forge}", FailureReason.REPOSITORY_NOT_FOUND)
    return owner, name
