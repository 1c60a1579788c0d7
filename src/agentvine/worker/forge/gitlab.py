"""GitLab, gitlab.com or one's own, through the REST API. What is used of it: docs/forges.md.

A review is made of draft notes, which only their author sees, and which are published together.
"""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from agentvine.worker.forge.answers import Value, understood
from agentvine.worker.forge.base import ForgeRefused, Proposal
from agentvine.worker.forge.connection import Connection, Parameters, Refusal, Unsure
from agentvine.worker.forge.desk import Draft, Place, PullRequest, State
from agentvine.worker.forge.difference import ChangedFile, lines_of
from agentvine.worker.forge.marking import begin, carries, marked
from agentvine.worker.forge.repository_api import MOST_PAGES, RepositoryApi, piece

_STATES = {"opened": State.OPEN, "closed": State.CLOSED, "locked": State.OPEN, "merged": State.MERGED}
"""Locked: it is being merged at this moment."""
_DRAFT = "Draft: "
_LOOKS = 5


class _Refs(Value):
    base_sha: str | None = None
    head_sha: str | None = None
    start_sha: str | None = None


class _Merge(Value):
    iid: int
    web_url: str
    state: str
    source_branch: str
    source_project_id: int | None = None
    target_project_id: int
    sha: str | None = None
    description: str | None = None
    diff_refs: _Refs | None = None

    def plainly(self) -> PullRequest:
        refs = self.diff_refs or _Refs()
        return PullRequest(
            self.iid,
            self.web_url,
            _STATES.get(self.state, State.CLOSED),
            self.source_branch,
            self.sha or "",
            self.description or "",
            self.source_project_id == self.target_project_id,
            refs.base_sha or "",
            refs.start_sha or "",
        )


class _Note(Value):
    id: int
    body: str = ""


class _DraftNote(Value):
    id: int
    note: str


class _Diff(Value):
    new_path: str
    old_path: str
    diff: str = ""
    deleted_file: bool = False


class _User(Value):
    id: int


class GitLabDesk:
    """Implements `Desk`. `repository`: the project's whole path."""

    longest_title = 240
    """Of 255, with room for `Draft:`."""
    longest_text = 1_000_000
    """Of 1,048,576."""

    def __init__(self, connection: Connection, repository: str) -> None:
        self._api = RepositoryApi(connection, f"projects/{piece(repository)}")

    async def of_branch(self, branch: str) -> list[PullRequest]:
        """As in `Desk`."""
        return await self._merges({"source_branch": branch, "state": "all"})

    async def recent(self) -> list[PullRequest]:
        """As in `Desk`."""
        return await self._merges({"state": "all", "order_by": "updated_at", "sort": "desc"}, most=1)

    async def _merges(self, wanted: Parameters, most: int = MOST_PAGES) -> list[PullRequest]:
        return [one.plainly() for one in await self._api.all(_Merge, "merge_requests", wanted, most=most)]

    async def open(self, proposal: Proposal, title: str, body: str) -> PullRequest:
        """As in `Desk`."""
        sent: dict[str, JsonValue] = {
            "title": f"{_DRAFT}{title}" if proposal.draft else title,
            "description": body,
            "source_branch": proposal.branch,
            "target_branch": proposal.target,
        }
        return (await self._api.made(_Merge, "merge_requests", sent, taken=_is_taken)).plainly()

    async def rewrite(self, number: int, body: str) -> None:
        """As in `Desk`."""
        await self._api.send("PUT", _merge(number), {"description": body})

    async def label(self, number: int, labels: Sequence[str]) -> None:
        """As in `Desk`. GitLab makes those that it does not have."""
        await self._api.send("PUT", _merge(number), {"add_labels": ",".join(labels)}, repeatable=True)

    async def ask(self, number: int, reviewers: Sequence[str]) -> None:
        """As in `Desk`. Names that GitLab does not know are left out."""
        ids: list[JsonValue] = []
        for name in reviewers:
            told = await self._api.connection.get("users", {"username": name})
            ids += [user.id for user in understood(list[_User], told, self._api.forge)[:1]]
        if len(ids) < len(reviewers):
            unknown = f"{len(reviewers) - len(ids)} of {len(reviewers)} reviewers are not known there"
            if not ids:
                raise Refusal(404, unknown)
        await self._api.send("PUT", _merge(number), {"reviewer_ids": ids}, repeatable=True)

    async def renamed(self, branch: str) -> str | None:
        """As in `Desk`."""
        found = await self._api.if_there(dict[str, JsonValue], f"repository/branches/{piece(branch)}")
        return None if found is None else branch

    async def changed_files(self, pull: PullRequest) -> list[ChangedFile]:
        """As in `Desk`."""
        diffs = await self._api.all(_Diff, f"{_merge(pull.number)}/diffs")
        return [ChangedFile(one.new_path, one.old_path, lines_of(one.diff)) for one in diffs if not one.deleted_file]

    async def posted(self, pull: PullRequest, mark: str) -> str | None:
        """As in `Desk`."""
        found = await self._api.all(_Note, f"{_merge(pull.number)}/notes", {"sort": "desc"})
        notes = [one for one in found if carries(one.body, mark)]
        return f"{pull.url}#note_{notes[0].id}" if notes else None

    async def prepare(self, pull: PullRequest, draft: Draft) -> str:
        """As in `Desk`. Draft notes are counted before they are published: each must be there once."""
        full = await self._api.one(_Merge, _merge(pull.number))
        wanted = self._notes(full.plainly(), draft)
        for _ in range(_LOOKS):
            if await self._complete(pull, wanted):
                return draft.mark
        raise Unsure("the draft notes do not stay as they were written")

    async def _complete(self, pull: PullRequest, wanted: Mapping[str, dict[str, JsonValue]]) -> bool:
        """True if exactly these notes were there; else they are now, as far as the answers can be believed."""
        path = f"{_merge(pull.number)}/draft_notes"
        there: set[str] = set()
        clean = True
        for note in await self._api.all(_DraftNote, path):
            marks = [mark for mark in wanted if begin(mark) in note.note]
            if not marks:
                raise ForgeRefused(f"{pull.url}: this account has an unfinished review there; finish or discard it")
            if marks[0] in there:
                clean = False
                await self._api.discard(f"{path}/{note.id}")
            there.add(marks[0])
        for mark, sent in wanted.items():
            if mark not in there:
                clean = False
                await self._api.send("POST", path, sent)
        return clean

    async def post(self, pull: PullRequest, draft: Draft, name: str) -> str | None:
        """As in `Desk`. Published a second time there is nothing left to publish."""
        await self._api.send("POST", f"{_merge(pull.number)}/draft_notes/bulk_publish")
        return None

    def _notes(self, pull: PullRequest, draft: Draft) -> dict[str, dict[str, JsonValue]]:
        """The draft notes by their marks."""
        notes: dict[str, dict[str, JsonValue]] = {draft.mark: {"note": draft.text}}
        for number, place in enumerate(draft.places, 1):
            mark = f"{draft.mark}:{number}"
            text = marked(place.remark.text, mark, self.longest_text)
            notes[mark] = {"note": text, "position": _position(pull, place)}
        return notes


def _merge(number: int) -> str:
    return f"merge_requests/{number}"


def _position(pull: PullRequest, place: Place) -> dict[str, JsonValue]:
    """Where a note stands; a line that was not changed needs its old number as well."""
    position: dict[str, JsonValue] = {
        "position_type": "text",
        "base_sha": pull.base_sha,
        "start_sha": pull.start_sha,
        "head_sha": pull.head_sha,
        "new_path": place.file.path,
        "old_path": place.file.old_path,
        "new_line": place.remark.line,
    }
    old = place.file.lines.get(place.remark.line)
    return position if old is None else {**position, "old_line": old}


def _is_taken(refusal: Refusal) -> bool:
    return refusal.status == 409
