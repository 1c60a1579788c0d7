"""GitHub and GitHub Enterprise, through the REST API. What is used of it: docs/forges.md."""

from collections.abc import Mapping, Sequence

from pydantic import Field, JsonValue

from agentvine.worker.forge.answers import Value
from agentvine.worker.forge.base import ForgeRefused, Proposal
from agentvine.worker.forge.connection import Connection, Parameters, Refusal, Unsure
from agentvine.worker.forge.desk import Draft, PullRequest, State
from agentvine.worker.forge.difference import ChangedFile, lines_of
from agentvine.worker.forge.harmless import harmless
from agentvine.worker.forge.marking import carries
from agentvine.worker.forge.repository_api import MOST_PAGES, RepositoryApi, owner_and_name, piece

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
        self._owner, name = owner_and_name(repository, "GitHub")
        self._api = RepositoryApi(connection, f"repos/{piece(self._owner)}/{piece(name)}")

    async def of_branch(self, branch: str) -> list[PullRequest]:
        """As in `Desk`."""
        return await self._pulls({"head": f"{self._owner}:{branch}", "state": "all"})

    async def recent(self) -> list[PullRequest]:
        """As in `Desk`."""
        return await self._pulls({"state": "all", "sort": "updated", "direction": "desc"}, most=1)

    async def _pulls(self, wanted: Parameters, most: int = MOST_PAGES) -> list[PullRequest]:
        return [one.plainly() for one in await self._api.all(_Pull, "pulls", wanted, most=most)]

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
        return (await self._api.made(_Pull, "pulls", dict(sent), taken=_is_taken)).plainly()

    async def rewrite(self, number: int, body: str) -> None:
        """As in `Desk`."""
        await self._api.send("PATCH", f"pulls/{number}", {"body": body})

    async def label(self, number: int, labels: Sequence[str]) -> None:
        """As in `Desk`. GitHub makes those that it does not have."""
        await self._api.send("POST", f"issues/{number}/labels", {"labels": list(labels)}, repeatable=True)

    async def ask(self, number: int, reviewers: Sequence[str]) -> None:
        """As in `Desk`."""
        people = [name for name in reviewers if not name.startswith(_TEAM)]
        teams = [name.removeprefix(_TEAM) for name in reviewers if name.startswith(_TEAM)]
        wanted: JsonValue = {"reviewers": [*people], "team_reviewers": [*teams]}
        await self._api.send("POST", f"pulls/{number}/requested_reviewers", wanted, repeatable=True)

    async def renamed(self, branch: str) -> str | None:
        """As in `Desk`. GitHub leads from a former name to the new one."""
        found = await self._api.if_there(_Branch, f"branches/{piece(branch)}")
        return None if found is None else found.name

    async def changed_files(self, pull: PullRequest) -> list[ChangedFile]:
        """As in `Desk`."""
        files = await self._api.all(_File, f"pulls/{pull.number}/files")
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
        made = await self._api.made(_Review, f"pulls/{pull.number}/reviews", sent, taken=_has_one_pending)
        return str(made.id)

    async def post(self, pull: PullRequest, draft: Draft, name: str) -> str | None:
        """As in `Desk`."""
        path = f"pulls/{pull.number}/reviews/{name}/events"
        try:
            return (await self._api.sent(_Review, "POST", path, {"event": "COMMENT", "body": draft.text})).html_url
        except Refusal as refusal:
            if refusal.status in {404, 422}:  # posted by a try whose answer was lost, or discarded: look again
                raise Unsure(refusal.said) from refusal
            raise

    async def _reviews(self, pull: PullRequest) -> list[_Review]:
        return await self._api.all(_Review, f"pulls/{pull.number}/reviews")


def _is_taken(refusal: Refusal) -> bool:
    return refusal.status == 422 and "already exists" in refusal.said


def _has_one_pending(refusal: Refusal) -> bool:
    return refusal.status == 422 and "pending review" in refusal.said
