"""What GitLab shows, and answers there. What is used of its API: docs/forges.md.

Issues and merge requests are numbered apart. Whatever is said is in discussions; one that began as a single note is no
thread until somebody answers it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from agentvine.domain.forge import ForgeComment, IssueSeen, PullHead, PullSeen
from agentvine.worker.forge.account import Account
from agentvine.worker.forge.answers import Value
from agentvine.worker.forge.base import ForgeRefused
from agentvine.worker.forge.connection import Connection, Parameters, Refusal
from agentvine.worker.forge.difference import part_around
from agentvine.worker.forge.gitlab_checks import GitLabChecks
from agentvine.worker.forge.repository_api import RepositoryApi, piece
from agentvine.worker.forge.shown import (
    MOST_LABELS,
    Text,
    When,
    body,
    built,
    ident,
    is_edited,
    latest,
    word,
)
from agentvine.worker.forge.window import Note, Spot, head_of

_MOST_PAGES = 50
"""An issue has at most 5,000 notes."""
_MOST_TALKED = 50
"""Issues, and merge requests, whose discussions are looked at when work is looked for: those that were changed last."""
_THREAD = re.compile(r"discussion-([0-9a-zA-Z_-]{1,100})")


class _User(Value):
    username: Text = ""


class _Item(Value):
    """An issue or a merge request."""

    iid: int
    web_url: Text
    title: Text = ""
    description: Text = ""
    author: _User | None = None
    created_at: When
    state: str
    labels: list[Text] = []
    source_branch: Text = ""
    target_branch: Text = ""
    source_project_id: int | None = None
    target_project_id: int | None = None
    sha: Text = ""
    has_conflicts: bool | None = None

    @property
    def is_open(self) -> bool:
        """A merge request is locked while it is being merged."""
        return self.state in {"opened", "locked"}


class _Position(Value):
    new_path: Text = ""
    old_path: Text = ""
    new_line: int | None = None
    old_line: int | None = None


class _Note(Value):
    id: int
    body: Text = ""
    author: _User | None = None
    created_at: When
    updated_at: When | None = None
    system: bool = False
    position: _Position | None = None


class _Discussion(Value):
    id: str
    individual_note: bool = False
    notes: list[_Note] = []


class _Diff(Value):
    new_path: Text
    diff: Text = ""


class _Project(Value):
    issues_access_level: str = ""
    issues_enabled: bool = True


class GitLabWindow:
    """Implements `Window`. `repository`: the project's whole path; `account`: who we are, if that is known already."""

    longest_text = 1_000_000

    def __init__(self, connection: Connection, repository: str, account: str | None = None) -> None:
        self._api = RepositoryApi(connection, f"projects/{piece(repository)}")
        self._account = Account(connection, account)
        self._checks = GitLabChecks(self._api)

    async def account(self) -> str | None:
        """As in `Window`."""
        return await self._account.name()

    async def pull(self, branch: str, url: str) -> PullSeen | None:
        """As in `Window`."""
        wanted = {"source_branch": branch, "state": "all"}
        found = [one for one in await self._items("merge_requests", wanted) if _is_own(one)]
        newest = max((one.iid for one in found), default=None)
        if newest is None:
            return None
        merge = await self._item("merge_requests", newest)
        checks, failed = await self._checks.of(merge.sha)
        return built(
            PullSeen,
            self._api.forge,
            number=merge.iid,
            url=word(merge.web_url),
            state="open" if merge.is_open else "merged" if merge.state == "merged" else "closed",
            branch=merge.source_branch,
            target=merge.target_branch,
            head_sha=merge.sha,
            conflicts=merge.is_open and bool(merge.has_conflicts),
            checks=checks,
            failed=failed,
            comments=latest(await self._comments("merge_requests", merge)),
        )

    async def head(self, number: int) -> PullHead:
        """As in `Window`."""
        found = await self._item("merge_requests", number)
        return head_of(found.source_branch, own=_is_own(found))

    # ── issues ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def work(self, label: str | None, since: datetime) -> list[IssueSeen]:
        """As in `Window`."""
        at = {"updated_after": since.strftime("%Y-%m-%dT%H:%M:%SZ"), "order_by": "updated_at"}
        labelled: list[_Item] = []
        try:
            changed = await self._items("issues", at)
            if label is not None:
                labelled = await self._items("issues", {"state": "opened", "labels": label})
        except Refusal as refusal:
            if refusal.status in {403, 404}:
                await self._must_have_issues()
            raise
        seen: dict[int, IssueSeen] = {}
        for issue in changed[:_MOST_TALKED]:
            said = [one for one in await self._comments("issues", issue) if one.at >= since]
            if said:
                seen[issue.iid] = self._seen(issue, said, is_pull=False)
        for issue in labelled:
            seen.setdefault(issue.iid, self._seen(issue, (), is_pull=False))
        merges: list[IssueSeen] = []
        for merge in (await self._items("merge_requests", {"state": "all", **at}))[:_MOST_TALKED]:
            said = [one for one in await self._comments("merge_requests", merge) if one.at >= since]
            if said:
                merges.append(self._seen(merge, said, is_pull=True))
        return [*seen.values(), *merges]

    async def issue(self, number: int, *, is_pull: bool) -> IssueSeen | None:
        """As in `Window`."""
        kind = _kind(is_pull)
        try:
            found = await self._item(kind, number)
        except Refusal as refusal:
            if refusal.status != 404:
                raise
            await self._must_have_issues()
            return None
        return self._seen(found, await self._comments(kind, found), is_pull=is_pull)

    async def _must_have_issues(self) -> None:
        """Raises Refusal for a project that is not there, ForgeRefused for one without issues."""
        told = await self._api.one(_Project)
        if told.issues_access_level == "disabled" or not told.issues_enabled:
            raise ForgeRefused(f"{self._api.forge}: issues are switched off in {self._api.path}; switch them on there")

    def _seen(self, item: _Item, comments: Iterable[ForgeComment], *, is_pull: bool) -> IssueSeen:
        return built(
            IssueSeen,
            self._api.forge,
            number=item.iid,
            url=word(item.web_url),
            title=word(item.title),
            body=body(item.description),
            author=_name(item.author),
            at=item.created_at,
            is_open=item.is_open,
            labels=tuple(word(name) for name in item.labels[:MOST_LABELS]),
            is_pull=is_pull,
            comments=latest(comments),
        )

    # ── what is said ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _comments(self, kind: str, item: _Item) -> list[ForgeComment]:
        await self._account.name()
        discussions = await self._discussions(kind, item.iid)
        on_lines = any(note.position for one in discussions for note in one.notes)
        diffs = await self._diffs(item.iid) if on_lines else {}
        return [
            self._comment(item, one, note, diffs)
            for one in discussions
            for note in one.notes
            if not note.system and note.body.strip()
        ]

    def _comment(self, item: _Item, one: _Discussion, note: _Note, diffs: Mapping[str, str]) -> ForgeComment:
        at = note.position or _Position()
        path = at.new_path or at.old_path
        return ForgeComment(
            id=ident("note", note.id),
            thread=None if one.individual_note else f"discussion-{one.id}",
            author=_name(note.author),
            body=body(note.body),
            at=note.created_at,
            url=word(f"{item.web_url}#note_{note.id}"),
            file=word(path) or None,
            line=at.new_line or at.old_line,
            code=body(part_around(diffs.get(path, ""), at.new_line, at.old_line)),
            ours=self._account.wrote(_name(note.author), note.body),
            edited=is_edited(note.created_at, note.updated_at),
        )

    async def notes(self, spot: Spot) -> list[Note]:
        """As in `Window`. Notes of threads are among the others."""
        kind = _kind(spot.is_pull)
        item = await self._item(kind, spot.number)
        notes = [note for one in await self._discussions(kind, spot.number) for note in one.notes if not note.system]
        return [_told(item, note) for note in sorted(notes, key=lambda note: note.id)]

    async def add(self, spot: Spot, text: str) -> Note:
        """As in `Window`."""
        at = f"{_kind(spot.is_pull)}/{spot.number}"
        thread = _THREAD.fullmatch(spot.thread or "")
        item = await self._item(_kind(spot.is_pull), spot.number)
        if thread is not None:
            try:
                return _told(item, await self._said(f"{at}/discussions/{thread[1]}/notes", text))
            except Refusal as refusal:
                if refusal.status != 404:
                    raise
        return _told(item, await self._said(f"{at}/notes", text))

    async def _said(self, where: str, text: str) -> _Note:
        return await self._api.sent(_Note, "POST", where, {"body": text})

    async def change(self, spot: Spot, note: Note, text: str) -> Note:
        """As in `Window`."""
        changed = await self._api.sent(_Note, "PUT", _place(spot, note), {"body": text})
        return replace(note, body=text, at=changed.updated_at)

    async def remove(self, spot: Spot, note: Note) -> None:
        """As in `Window`."""
        await self._api.send("DELETE", _place(spot, note))

    async def under_way(self, check: str) -> bool:
        """As in `Window`."""
        return await self._checks.under_way(check)

    async def start(self, check: str) -> None:
        """As in `Window`."""
        await self._checks.start(check)

    # ── the wire ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _item(self, kind: str, number: int) -> _Item:
        return await self._api.one(_Item, f"{kind}/{number}")

    async def _items(self, kind: str, wanted: Parameters) -> list[_Item]:
        return await self._api.all(_Item, kind, wanted, most=5)

    async def _discussions(self, kind: str, number: int) -> list[_Discussion]:
        return await self._api.all(_Discussion, f"{kind}/{number}/discussions", most=_MOST_PAGES)

    async def _diffs(self, number: int) -> dict[str, str]:
        """The hunks of each file of a merge request, by its new name."""
        found = await self._api.all(_Diff, f"merge_requests/{number}/diffs", most=5)
        return {one.new_path: one.diff for one in found}


def _kind(is_pull: bool) -> str:
    return "merge_requests" if is_pull else "issues"


def _place(spot: Spot, note: Note) -> str:
    return f"{_kind(spot.is_pull)}/{spot.number}/notes/{note.place}"


def _is_own(merge: _Item) -> bool:
    return merge.source_project_id == merge.target_project_id


def _told(item: _Item, note: _Note) -> Note:
    url = word(f"{item.web_url}#note_{note.id}")
    at = note.updated_at or note.created_at
    return Note(ident("note", note.id), url, _name(note.author), note.body, str(note.id), at)


def _name(user: _User | None) -> str:
    return word(user.username) if user is not None else ""
