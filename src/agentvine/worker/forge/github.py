"""GitHub and GitHub Enterprise, through the REST API. What is used of it: docs/forges.md."""

from collections.abc import Mapping, Sequence

from pydantic import Field, JsonValue

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
from agentvine.worker.forge.difference import ChangedFile, lines_of
from agentvine.worker.forge.harmless import harmless
from agentvine.worker.forge.marking import carries

HEADERS: Mapping[str, str] = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
_TEAM = "team/"


class _Repository(Value):
    full_name: str


class _End(Value):
    ref: str
    sha: str
    repo: _Repository | None = None


class _Pull(Value):
    number: int
    html_url: str
    state: str
    body: str | None = None
    merged_at: str | None = None
    head: _End
    base: _End

    def plainly(self) -> PullRequest:
        state = State.MERGED if self.merged_at else State(self.state)
        ours = self.head.repo is not None and self.base.repo is not None
        same = ours and self.head.repo == self.base.repo
        return PullRequest(self.number, self.html_url, state, self.head.ref, self.head.sha, self.body or "", same)


class _Review(Value):
    id: int
    html_url: str
    state: str
    body: str | None = None


class _File(Value):
    filename: str
    previous_filename: str | None = None
    patch: str = ""


class _Branch(Value):
    name: str = Field(min_length=1)


class GitHubDesk:
    """Implements `Desk`. `repository`: owner/name."""

    longest_title = 250
    """Of 256."""
    longest_text = 65_000
    """Of 65,536."""

    def __init__(self, connection: Connection, repository: str) -> None:
        self._connection = connection
        owner, name = owner_and_name(repository, "GitHub")
        self._owner = owner
        self._path = f"repos/{piece(owner)}/{piece(name)}"

    async def of_branch(self, branch: str) -> list[PullRequest]:
        """As in `Desk`."""
        wanted = {"head": f"{self._owner}:{branch}", "state": "all"}
        return self._plainly(await pages(self._connection, f"{self._path}/pulls", wanted))

    async def recent(self) -> list[PullRequest]:
        """As in `Desk`."""
        newest = {"state": "all", "sort": "updated", "direction": "desc"}
        return self._plainly(await pages(self._connection, f"{self._path}/pulls", newest, most=1))

    async def open(self, proposal: Proposal, title: str, body: str) -> PullRequest:
        """As in `Desk`. Where the plan has no drafts, it is opened as an ordinary one."""
        sent = {"title": title, "body": body, "head": proposal.branch, "base": proposal.target}
        try:
            return await self._opened({**sent, "draft": True} if proposal.draft else sent)
        except Refusal as refusal:
            if proposal.draft and "draft" in refusal.said.lower():
                return await self._opened(sent)
            raise

    async def _opened(self, sent: Mapping[str, str | bool]) -> PullRequest:
        told = await sent_once(self._connection, f"{self._path}/pulls", dict(sent), taken=_is_taken)
        return understood(_Pull, told, self._connection.name).plainly()

    async def rewrite(self, number: int, body: str) -> None:
        """As in `Desk`."""
        await self._connection.send("PATCH", f"{self._path}/pulls/{number}", {"body": body})

    async def label(self, number: int, labels: Sequence[str]) -> None:
        """As in `Desk`. GitHub makes those that it does not have."""
        path = f"{self._path}/issues/{number}/labels"
        await self._connection.send("POST", path, {"labels": list(labels)}, repeatable=True)

    async def ask(self, number: int, reviewers: Sequence[str]) -> None:
        """As in `Desk`."""
        people = [name for name in reviewers if not name.startswith(_TEAM)]
        teams = [name.removeprefix(_TEAM) for name in reviewers if name.startswith(_TEAM)]
        path = f"{self._path}/pulls/{number}/requested_reviewers"
        wanted: JsonValue = {"reviewers": [*people], "team_reviewers": [*teams]}
        await self._connection.send("POST", path, wanted, repeatable=True)

    async def renamed(self, branch: str) -> str | None:
        """As in `Desk`. GitHub leads from a former name to the new one."""
        try:
            told = await self._connection.get(f"{self._path}/branches/{piece(branch)}")
        except Refusal as refusal:
            if refusal.status == 404:
                return None
            raise
        return understood(_Branch, told, self._connection.name).name

    async def changed_files(self, pull: PullRequest) -> list[ChangedFile]:
        """As in `Desk`."""
        found = await pages(self._connection, f"{self._path}/pulls/{pull.number}/files")
        files = understood(list[_File], found, self._connection.name)
        return [ChangedFile(one.filename, one.previous_filename or one.filename, lines_of(one.patch)) for one in files]

    async def posted(self, pull: PullRequest, mark: str) -> str | None:
        """As in `Desk`."""
        fitting = [one for one in await self._reviews(pull) if one.state != "PENDING" and carries(one.body, mark)]
        return fitting[0].html_url if fitting else None

    async def prepare(self, pull: PullRequest, draft: Draft) -> str:
        """As in `Desk`. An account has at most one pending review on a pull request: GitHub itself keeps it at one."""
        pending = [one for one in await self._reviews(pull) if one.state == "PENDING"]  # others' are not shown
        if pending:
            if not carries(pending[0].body, draft.mark):
                raise ForgeRefused(f"{pull.url}: this account has an unfinished review there; finish or discard it")
            return str(pending[0].id)
        comments: list[JsonValue] = [
            {"path": one.remark.file, "line": one.remark.line, "side": "RIGHT", "body": harmless(one.remark.text)}
            for one in draft.places
        ]
        sent: JsonValue = {"commit_id": draft.head_sha, "body": draft.text, "comments": comments}
        told = await sent_once(
            self._connection, f"{self._path}/pulls/{pull.number}/reviews", sent, taken=_has_one_pending
        )
        return str(understood(_Review, told, self._connection.name).id)

    async def post(self, pull: PullRequest, draft: Draft, name: str) -> str | None:
        """As in `Desk`."""
        path = f"{self._path}/pulls/{pull.number}/reviews/{name}/events"
        try:
            told = await self._connection.send("POST", path, {"event": "COMMENT", "body": draft.text})
        except Refusal as refusal:
            if refusal.status in {404, 422}:  # posted by a try whose answer was lost, or discarded: look again
                raise Unsure(refusal.said) from refusal
            raise
        return understood(_Review, told, self._connection.name).html_url

    async def _reviews(self, pull: PullRequest) -> list[_Review]:
        found = await pages(self._connection, f"{self._path}/pulls/{pull.number}/reviews")
        return understood(list[_Review], found, self._connection.name)

    def _plainly(self, found: list[JsonValue]) -> list[PullRequest]:
        return [one.plainly() for one in understood(list[_Pull], found, self._connection.name)]


def _is_taken(refusal: Refusal) -> bool:
    return refusal.status == 422 and "already exists" in refusal.said


def _has_one_pending(refusal: Refusal) -> bool:
    return refusal.status == 422 and "pending review" in refusal.said
