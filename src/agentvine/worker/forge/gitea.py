"""Gitea and Forgejo, through the API that both have. What is used of it: docs/forges.md."""

from collections.abc import Sequence

from pydantic import JsonValue

from agentvine.worker.forge.answers import Value
from agentvine.worker.forge.base import ForgeRefused, Proposal
from agentvine.worker.forge.connection import Connection, Refusal, Unsure
from agentvine.worker.forge.desk import Draft, PullRequest, State
from agentvine.worker.forge.difference import ChangedFile, files_of
from agentvine.worker.forge.gitea_api import PAGES, Head, gitea_api
from agentvine.worker.forge.harmless import harmless
from agentvine.worker.forge.marking import carries
from agentvine.worker.forge.repository_api import piece

_WIP = "WIP: "
_LOOKS = 4


class _Pull(Value):
    number: int
    html_url: str
    state: str
    merged: bool = False
    body: str | None = None
    head: Head
    base: Head

    def plainly(self) -> PullRequest:
        state = State.MERGED if self.merged else State(self.state)
        same = self.head.repo_id == self.base.repo_id
        return PullRequest(self.number, self.html_url, state, self.head.branch, self.head.sha, self.body or "", same)


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
        self._api = gitea_api(connection, repository)

    async def of_branch(self, branch: str) -> list[PullRequest]:
        """As in `Desk`. They cannot be asked for: the 500 that were changed last are looked through."""
        return [pull for pull in await self._pulls(PAGES) if pull.branch == branch]

    async def recent(self) -> list[PullRequest]:
        """As in `Desk`."""
        return await self._pulls(2)

    async def _pulls(self, most: int) -> list[PullRequest]:
        wanted = {"state": "all", "sort": "recentupdate"}
        return [one.plainly() for one in await self._api.all(_Pull, "pulls", wanted, most=most)]

    async def open(self, proposal: Proposal, title: str, body: str) -> PullRequest:
        """As in `Desk`."""
        sent: JsonValue = {
            "title": f"{_WIP}{title}" if proposal.draft else title,
            "body": body,
            "head": proposal.branch,
            "base": proposal.target,
        }
        return (await self._api.made(_Pull, "pulls", sent, taken=_is_taken)).plainly()

    async def rewrite(self, number: int, body: str) -> None:
        """As in `Desk`."""
        await self._api.send("PATCH", f"pulls/{number}", {"body": body})

    async def label(self, number: int, labels: Sequence[str]) -> None:
        """As in `Desk`, those that the repository has. Others are not made: Gitea would make two of the same name."""
        found = await self._api.all(_Label, "labels", most=PAGES)
        ids: list[JsonValue] = [one.id for one in found if one.name in labels]
        if not ids:
            raise Refusal(404, f"the repository has no label {', '.join(labels)}")
        await self._api.send("POST", f"issues/{number}/labels", {"labels": ids}, repeatable=True)

    async def ask(self, number: int, reviewers: Sequence[str]) -> None:
        """As in `Desk`."""
        wanted: JsonValue = {"reviewers": [*reviewers]}
        await self._api.send("POST", f"pulls/{number}/requested_reviewers", wanted, repeatable=True)

    async def renamed(self, branch: str) -> str | None:
        """As in `Desk`."""
        found = await self._api.if_there(_Branch, f"branches/{piece(branch)}")
        return None if found is None else found.name

    async def changed_files(self, pull: PullRequest) -> list[ChangedFile]:
        """As in `Desk`."""
        told = await self._api.get(f"pulls/{pull.number}.diff", accept="text/plain")
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
            await self._api.send("POST", f"pulls/{pull.number}/reviews", sent)
        raise Unsure("the pending review does not stay as it was written")

    async def _complete(self, pull: PullRequest, draft: Draft) -> str | None:
        """The pending review that is just this, if there is one; none is there otherwise."""
        pending = [one for one in await self._reviews(pull) if one.state == "PENDING"]
        for one in pending:
            if not carries(one.body, draft.mark):
                raise ForgeRefused(f"{pull.url}: this account has an unfinished review there; finish or discard it")
            if len(pending) == 1 and one.comments_count == len(draft.places):
                return str(one.id)
            await self._api.discard(f"pulls/{pull.number}/reviews/{one.id}")
        return None

    async def post(self, pull: PullRequest, draft: Draft, name: str) -> str | None:
        """As in `Desk`."""
        path = f"pulls/{pull.number}/reviews/{name}"
        sent: JsonValue = {"event": "COMMENT", "body": draft.text}
        try:
            return (await self._api.sent(_Review, "POST", path, sent)).html_url or None
        except Refusal as refusal:
            if refusal.status in {404, 422}:  # posted by a try whose answer was lost, or discarded: look again
                raise Unsure(refusal.said) from refusal
            raise

    async def _reviews(self, pull: PullRequest) -> list[_Review]:
        return await self._api.all(_Review, f"pulls/{pull.number}/reviews", most=PAGES)


def _is_taken(refusal: Refusal) -> bool:
    return refusal.status == 409
