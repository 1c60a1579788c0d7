"""Gitea and Forgejo, through the API that both have. What is used of it: docs/forges.md."""

from collections.abc import Sequence

from pydantic import JsonValue

from agentvine.worker.forge.base import ForgeRefused, Proposal
from agentvine.worker.forge.connection import Connection, Refusal, Unsure
from agentvine.worker.forge.desk import (
    Draft,
    PullRequest,
    State,
    Value,
    owner_and_name,
    pages,
    piece,
    sent_once,
    understood,
)
from agentvine.worker.forge.difference import ChangedFile, files_of
from agentvine.worker.forge.harmless import harmless
from agentvine.worker.forge.marking import carries

_PAGE = 50
"""Gitea's own most (MAX_RESPONSE_ITEMS), unless its operator changed it."""
_PAGES = 10
"""Pull requests of a branch cannot be asked for: the 500 that were changed last are looked through."""
_WIP = "WIP: "
_LOOKS = 4


class _Repository(Value):
    id: int


class _End(Value):
    ref: str = ""
    sha: str = ""
    repo: _Repository | None = None
    repo_id: int = 0


class _Pull(Value):
    number: int
    html_url: str
    state: str
    merged: bool = False
    body: str | None = None
    head: _End
    base: _End

    def plainly(self) -> PullRequest:
        state = State.MERGED if self.merged else State(self.state)
        same = self.head.repo_id == self.base.repo_id
        return PullRequest(self.number, self.html_url, state, self.head.ref, self.head.sha, self.body or "", same)


class _Review(Value):
    id: int
    state: str
    html_url: str = ""
    body: str | None = None
    comments_count: int = 0


class _Label(Value):
    id: int
    name: str


class _Branch(Value):
    name: str


class GiteaDesk:
    """Implements `Desk`. `repository`: owner/name."""

    longest_title = 240
    """Of 255, with room for `WIP:`."""
    longest_text = 250_000

    def __init__(self, connection: Connection, repository: str) -> None:
        self._connection = connection
        owner, name = owner_and_name(repository, "Gitea")
        self._path = f"repos/{piece(owner)}/{piece(name)}"

    async def of_branch(self, branch: str) -> list[PullRequest]:
        """As in `Desk`, of the pull requests that were changed last."""
        return [pull for pull in await self._pulls(_PAGES) if pull.branch == branch]

    async def recent(self) -> list[PullRequest]:
        """As in `Desk`."""
        return await self._pulls(2)

    async def _pulls(self, most: int) -> list[PullRequest]:
        wanted: dict[str, str | int] = {"state": "all", "sort": "recentupdate", "limit": _PAGE}
        found = await self._list("pulls", wanted, most)
        return [one.plainly() for one in understood(list[_Pull], found, self._connection.name)]

    async def _list(self, what: str, wanted: dict[str, str | int] | None = None, most: int = _PAGES) -> list[JsonValue]:
        return await pages(self._connection, f"{self._path}/{what}", {"limit": _PAGE, **(wanted or {})}, most)

    async def open(self, proposal: Proposal, title: str, body: str) -> PullRequest:
        """As in `Desk`."""
        sent: JsonValue = {
            "title": f"{_WIP}{title}" if proposal.draft else title,
            "body": body,
            "head": proposal.branch,
            "base": proposal.target,
        }
        told = await sent_once(self._connection, f"{self._path}/pulls", sent, taken=_is_taken)
        return understood(_Pull, told, self._connection.name).plainly()

    async def rewrite(self, number: int, body: str) -> None:
        """As in `Desk`."""
        await self._connection.send("PATCH", f"{self._path}/pulls/{number}", {"body": body})

    async def label(self, number: int, labels: Sequence[str]) -> None:
        """As in `Desk`, those that the repository has. Others are not made: Gitea would make two of the same name."""
        found = understood(list[_Label], await self._list("labels"), self._connection.name)
        ids: list[JsonValue] = [one.id for one in found if one.name in labels]
        if not ids:
            raise Refusal(404, f"the repository has no label {', '.join(labels)}")
        path = f"{self._path}/issues/{number}/labels"
        await self._connection.send("POST", path, {"labels": ids}, repeatable=True)

    async def ask(self, number: int, reviewers: Sequence[str]) -> None:
        """As in `Desk`."""
        path = f"{self._path}/pulls/{number}/requested_reviewers"
        await self._connection.send("POST", path, {"reviewers": [*reviewers]}, repeatable=True)

    async def renamed(self, branch: str) -> str | None:
        """As in `Desk`."""
        try:
            told = await self._connection.get(f"{self._path}/branches/{piece(branch)}")
        except Refusal as refusal:
            if refusal.status == 404:
                return None
            raise
        return understood(_Branch, told, self._connection.name).name

    async def changed_files(self, pull: PullRequest) -> list[ChangedFile]:
        """As in `Desk`."""
        told = await self._connection.get(f"{self._path}/pulls/{pull.number}.diff", accept="text/plain")
        return files_of(told.body.decode(errors="replace"))

    async def posted(self, pull: PullRequest, mark: str) -> str | None:
        """As in `Desk`."""
        fitting = [one for one in await self._reviews(pull) if one.state != "PENDING" and carries(one.body, mark)]
        return fitting[0].html_url or pull.url if fitting else None

    async def prepare(self, pull: PullRequest, draft: Draft) -> str:
        """As in `Desk`.

        Gitea puts the remarks of a second call into the first one's pending review: they are counted, and a review with
        another number of them is discarded.
        """
        path = f"{self._path}/pulls/{pull.number}/reviews"
        comments: list[JsonValue] = [
            {"path": one.remark.file, "new_position": one.remark.line, "body": harmless(one.remark.text)}
            for one in draft.places
        ]
        sent: JsonValue = {
            "event": "PENDING",
            "commit_id": draft.head_sha,
            "body": draft.text,
            "comments": comments,
        }
        for _ in range(_LOOKS):
            if (name := await self._complete(pull, draft)) is not None:
                return name
            await self._connection.send("POST", path, sent)
        raise Unsure("the pending review does not stay as it was written")

    async def _complete(self, pull: PullRequest, draft: Draft) -> str | None:
        """The pending review that is just this, if there is one; none is there otherwise."""
        pending = [one for one in await self._reviews(pull) if one.state == "PENDING"]
        for one in pending:
            if not carries(one.body, draft.mark):
                raise ForgeRefused(f"{pull.url}: this account has an unfinished review there; finish or discard it")
            if len(pending) == 1 and one.comments_count == len(draft.places):
                return str(one.id)
            await self._discard(f"{self._path}/pulls/{pull.number}/reviews/{one.id}")
        return None

    async def _discard(self, path: str) -> None:
        try:
            await self._connection.send("DELETE", path)
        except Refusal as refusal:
            if refusal.status != 404:
                raise

    async def post(self, pull: PullRequest, draft: Draft, name: str) -> str | None:
        """As in `Desk`."""
        path = f"{self._path}/pulls/{pull.number}/reviews/{name}"
        try:
            told = await self._connection.send("POST", path, {"event": "COMMENT", "body": draft.text})
        except Refusal as refusal:
            if refusal.status in {404, 422}:  # posted by a try whose answer was lost, or discarded: look again
                raise Unsure(refusal.said) from refusal
            raise
        return understood(_Review, told, self._connection.name).html_url or None

    async def _reviews(self, pull: PullRequest) -> list[_Review]:
        found = await self._list(f"pulls/{pull.number}/reviews")
        return understood(list[_Review], found, self._connection.name)


def _is_taken(refusal: Refusal) -> bool:
    return refusal.status == 409
