"""What Gitea and Forgejo show, and answers there. What is used of their API: docs/forges.md."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import JsonValue

from agentvine.domain.forge import ForgeComment, IssueSeen, PullSeen
from agentvine.worker.forge.alike import must_have_issues
from agentvine.worker.forge.connection import Connection, Parameters, Refusal, Told
from agentvine.worker.forge.desk import Value, owner_and_name, pages, piece, understood
from agentvine.worker.forge.gitea_checks import GiteaChecks
from agentvine.worker.forge.gitea_talk import PAGE, PAGES, GiteaTalk, User, name_of
from agentvine.worker.forge.shown import MOST_LABELS, Text, When, body, built, last_number, latest, word
from agentvine.worker.forge.window import Note, Spot

_MOST_REVIEWED = 30
"""Pull requests whose reviews are looked at when work is looked for: those that were changed last."""


class _Label(Value):
    name: Text


class _End(Value):
    ref: Text = ""
    sha: Text = ""
    repo_id: int = 0


class _Pull(Value):
    number: int
    html_url: Text
    state: str
    merged: bool = False
    mergeable: bool = True
    head: _End
    base: _End

    @property
    def is_open(self) -> bool:
        return self.state == "open" and not self.merged

    def is_of(self, branch: str) -> bool:
        return self.head.ref == branch and self.head.repo_id == self.base.repo_id


class _Issue(Value):
    number: int
    html_url: Text
    title: Text = ""
    body: Text = ""
    user: User | None = None
    created_at: When
    updated_at: When | None = None
    state: str = "open"
    labels: list[_Label] | None = None
    pull_request: dict[str, JsonValue] | None = None


class GiteaWindow:
    """Implements `Window`. `repository`: owner/name; `account`: who we are, where that is known already."""

    longest_text = 250_000

    def __init__(self, connection: Connection, repository: str, account: str | None = None) -> None:
        self._connection = connection
        owner, name = owner_and_name(repository, "Gitea")
        self._path = f"repos/{piece(owner)}/{piece(name)}"
        self._checks = GiteaChecks(connection, self._path)
        self._talk = GiteaTalk(connection, self._path, account)

    async def account(self) -> str | None:
        """As in `Window`."""
        return await self._talk.account()

    # ── pull requests ────────────────────────────────────────────────────────────────────────────────────────────

    async def pull(self, branch: str, url: str) -> PullSeen | None:
        """As in `Window`. It cannot be asked for by its branch: of those changed last, 500 are looked through."""
        found = await self._pull(branch, url)
        if found is None:
            return None
        checks, failed = await self._checks.of(found.head.sha)
        return built(
            PullSeen,
            self._connection.name,
            number=found.number,
            url=word(found.html_url),
            state="merged" if found.merged else "open" if found.state == "open" else "closed",
            branch=found.head.ref,
            target=found.base.ref,
            head_sha=found.head.sha,
            conflicts=found.is_open and not found.mergeable,
            checks=checks,
            failed=failed,
            comments=latest(await self._talk.on(found.number, is_pull=True)),
        )

    async def _pull(self, branch: str, url: str) -> _Pull | None:
        if (last := last_number(url)) is not None:
            try:
                told = understood(_Pull, await self._get(f"pulls/{last}"), self._connection.name)
            except Refusal as refusal:
                if refusal.status != 404:
                    raise
            else:
                if told.is_of(branch) and told.is_open:
                    return told
        wanted: dict[str, str | int] = {"state": "all", "sort": "recentupdate"}
        pulls = understood(list[_Pull], await self._list("pulls", wanted), self._connection.name)
        newest = max((one for one in pulls if one.is_of(branch)), key=lambda one: one.number, default=None)
        if newest is None:
            return None
        return understood(_Pull, await self._get(f"pulls/{newest.number}"), self._connection.name)

    # ── issues ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def work(self, label: str | None, since: datetime) -> list[IssueSeen]:
        """As in `Window`. Asked for a label that is not there, Gitea shows issues without it: it is looked again."""
        try:
            issues = await self._issues({"state": "all", "since": since.strftime("%Y-%m-%dT%H:%M:%SZ")})
            if label is not None:
                issues += await self._issues({"state": "open", "type": "issues", "labels": label})
            said = await self._talk.since(since)
        except Refusal as refusal:
            if refusal.status == 404:
                await must_have_issues(self._connection, self._path)
            raise
        once = {one.number: one for one in issues}.values()
        pulls = sorted((one for one in once if one.pull_request is not None), key=_changed, reverse=True)
        for pull in pulls[:_MOST_REVIEWED]:
            said[pull.number] = [*said.get(pull.number, []), *await self._talk.in_reviews(pull.number, since)]
        return [
            self._issue(one, said.get(one.number, []))
            for one in once
            if said.get(one.number) or _is_asked_for(one, label)
        ]

    async def _issues(self, wanted: Parameters) -> list[_Issue]:
        return understood(list[_Issue], await self._list("issues", wanted), self._connection.name)

    async def issue(self, number: int, *, is_pull: bool) -> IssueSeen | None:
        """As in `Window`."""
        try:
            found = understood(_Issue, await self._get(f"issues/{number}"), self._connection.name)
        except Refusal as refusal:
            if refusal.status not in {404, 410}:
                raise
            await must_have_issues(self._connection, self._path)
            return None
        return self._issue(found, await self._talk.on(number, is_pull=found.pull_request is not None))

    def _issue(self, issue: _Issue, comments: Sequence[ForgeComment]) -> IssueSeen:
        return built(
            IssueSeen,
            self._connection.name,
            number=issue.number,
            url=word(issue.html_url),
            title=word(issue.title),
            body=body(issue.body),
            author=name_of(issue.user),
            at=issue.created_at,
            is_open=issue.state == "open",
            labels=tuple(word(name) for name in _names(issue)[:MOST_LABELS]),
            is_pull=issue.pull_request is not None,
            comments=latest(comments),
        )

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def notes(self, spot: Spot) -> list[Note]:
        """As in `Window`."""
        return await self._talk.notes(spot.number, spot.thread)

    async def add(self, spot: Spot, text: str) -> Note:
        """As in `Window`."""
        return await self._talk.add(spot.number, spot.thread, text)

    async def change(self, spot: Spot, note: Note, text: str) -> Note:
        """As in `Window`."""
        return await self._talk.change(note, text)

    async def remove(self, spot: Spot, note: Note) -> None:
        """As in `Window`."""
        await self._talk.remove(note)

    async def under_way(self, check: str) -> bool:
        """As in `Window`."""
        return await self._checks.under_way(check)

    async def start(self, check: str) -> None:
        """As in `Window`."""
        await self._checks.start(check)

    async def _get(self, what: str) -> Told:
        return await self._connection.get(f"{self._path}/{what}")

    async def _list(self, what: str, wanted: Parameters | None = None) -> list[JsonValue]:
        return await pages(self._connection, f"{self._path}/{what}", {"limit": PAGE, **(wanted or {})}, PAGES)


def _changed(issue: _Issue) -> datetime:
    return issue.updated_at or issue.created_at


def _is_asked_for(issue: _Issue, label: str | None) -> bool:
    return label in _names(issue) and issue.pull_request is None and issue.state == "open"


def _names(issue: _Issue) -> list[str]:
    return [label.name for label in issue.labels or []]
