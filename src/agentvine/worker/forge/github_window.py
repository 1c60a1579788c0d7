"""What GitHub shows, and answers there. What is used of its API: docs/forges.md."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from pydantic import JsonValue

from agentvine.domain.forge import ForgeComment, IssueSeen, PullSeen
from agentvine.worker.forge.alike import must_have_issues, signed_in_as
from agentvine.worker.forge.connection import Connection, Parameters, Refusal, Told
from agentvine.worker.forge.desk import Value, owner_and_name, pages, piece, understood
from agentvine.worker.forge.github_checks import GitHubChecks
from agentvine.worker.forge.shown import (
    MOST_LABELS,
    Text,
    When,
    body,
    built,
    ident,
    is_edited,
    is_ours,
    last_number,
    latest,
    numbers_of,
    word,
)
from agentvine.worker.forge.window import Note, Spot

_MOST_PAGES = 25
"""An issue has at most 2,500 comments."""
_MOST_REVIEWED = 30
"""Pull requests whose reviews are looked at when work is looked for: those that were changed last."""


class _User(Value):
    login: Text = ""


class _Repository(Value):
    full_name: Text = ""


class _End(Value):
    ref: Text
    sha: Text
    repo: _Repository | None = None


class _Pull(Value):
    number: int
    html_url: Text
    state: str
    merged_at: str | None = None
    mergeable: bool | None = None
    head: _End
    base: _End

    def is_of(self, branch: str) -> bool:
        """Whether it comes from that branch of its own repository."""
        ours = self.head.repo is not None and self.base.repo is not None
        return ours and self.head.repo == self.base.repo and self.head.ref == branch


class _Label(Value):
    name: Text = ""


class _Issue(Value):
    number: int
    html_url: Text
    title: Text
    body: Text = ""
    user: _User | None = None
    created_at: When
    state: str
    labels: list[_Label | str] = []
    pull_request: dict[str, JsonValue] | None = None

    @property
    def names(self) -> list[str]:
        """Of its labels."""
        return [one if isinstance(one, str) else one.name for one in self.labels]


class _Comment(Value):
    id: int
    html_url: Text = ""
    issue_url: Text = ""
    pull_request_url: Text = ""
    body: Text = ""
    user: _User | None = None
    created_at: When
    updated_at: When
    path: Text = ""
    line: int | None = None
    original_line: int | None = None
    diff_hunk: Text = ""
    in_reply_to_id: int | None = None

    @property
    def number(self) -> int | None:
        """Of what it is on."""
        return last_number(self.pull_request_url or self.issue_url)


class _Review(Value):
    id: int
    html_url: Text = ""
    state: str
    body: Text = ""
    user: _User | None = None
    submitted_at: When | None = None


class GitHubWindow:
    """Implements `Window`. `repository`: owner/name; `account`: who we are, where that is known already."""

    longest_text = 65_000

    def __init__(self, connection: Connection, repository: str, account: str | None = None) -> None:
        self._connection = connection
        owner, name = owner_and_name(repository, "GitHub")
        self._owner = owner
        self._path = f"repos/{piece(owner)}/{piece(name)}"
        self._checks = GitHubChecks(connection, self._path)
        self._account = account

    async def account(self) -> str | None:
        """As in `Window`. Tokens of an app may not ask: its name comes from elsewhere."""
        if self._account is None:
            self._account = await signed_in_as(self._connection)
        return self._account or None

    async def pull(self, branch: str, url: str) -> PullSeen | None:
        """As in `Window`."""
        number = await self._number_of(branch, url)
        if number is None:
            return None
        found = understood(_Pull, await self._get(f"pulls/{number}"), self._connection.name)
        checks, failed = await self._checks.of(found.head.sha)
        return built(
            PullSeen,
            self._connection.name,
            number=found.number,
            url=word(found.html_url),
            state="merged" if found.merged_at else "open" if found.state == "open" else "closed",
            branch=found.head.ref,
            target=found.base.ref,
            head_sha=found.head.sha,
            conflicts=found.state == "open" and found.mergeable is False,
            checks=checks,
            failed=failed,
            comments=latest([*await self._on(number), *await self._in_reviews(number)]),
        )

    async def _number_of(self, branch: str, url: str) -> int | None:
        """The newest of that branch. The owner may have changed since: then only its address leads there."""
        wanted = {"head": f"{self._owner}:{branch}", "state": "all"}
        found = understood(list[_Pull], await self._list("pulls", wanted), self._connection.name)
        newest = max((one.number for one in found if one.is_of(branch)), default=None)
        known = last_number(url)
        if newest is not None or known is None:
            return newest
        try:
            told = understood(_Pull, await self._get(f"pulls/{known}"), self._connection.name)
        except Refusal as refusal:
            if refusal.status != 404:
                raise
            return None
        return known if told.is_of(branch) else None

    # ── issues ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def work(self, label: str | None, since: datetime) -> list[IssueSeen]:
        """As in `Window`."""
        at = {"since": since.strftime("%Y-%m-%dT%H:%M:%SZ"), "sort": "updated"}
        try:
            found = await self._list("issues", {"state": "all", **at})
            if label is not None:
                found += await self._list("issues", {"state": "open", "labels": label})
        except Refusal as refusal:
            if refusal.status in {404, 410}:
                await must_have_issues(self._connection, self._path)
            raise
        await self.account()
        said: dict[int, list[ForgeComment]] = {}
        for where in ("issues/comments", "pulls/comments"):
            for one in understood(list[_Comment], await self._list(where, at), self._connection.name):
                if one.number is not None:
                    said.setdefault(one.number, []).append(self._comment(one))
        issues = {one.number: one for one in understood(list[_Issue], found, self._connection.name)}
        changed = [one.number for one in issues.values() if one.pull_request is not None]
        for number in changed[:_MOST_REVIEWED]:
            reviews = [one for one in await self._reviews(number) if one.at >= since]
            said[number] = [*said.get(number, []), *reviews]
        return [
            self._issue(one, said.get(one.number, []))
            for one in issues.values()
            if said.get(one.number) or _is_asked_for(one, label)
        ]

    async def issue(self, number: int, *, is_pull: bool) -> IssueSeen | None:
        """As in `Window`."""
        try:
            found = understood(_Issue, await self._get(f"issues/{number}"), self._connection.name)
        except Refusal as refusal:
            if refusal.status not in {404, 410}:
                raise
            await must_have_issues(self._connection, self._path)
            return None
        said = await self._on(number)
        return self._issue(found, said + await self._in_reviews(number) if found.pull_request is not None else said)

    def _issue(self, issue: _Issue, comments: Iterable[ForgeComment]) -> IssueSeen:
        return built(
            IssueSeen,
            self._connection.name,
            number=issue.number,
            url=word(issue.html_url),
            title=word(issue.title),
            body=body(issue.body),
            author=_name(issue.user),
            at=issue.created_at,
            is_open=issue.state == "open",
            labels=tuple(word(name) for name in issue.names[:MOST_LABELS]),
            is_pull=issue.pull_request is not None,
            comments=latest(comments),
        )

    # ── what is said ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _on(self, number: int) -> list[ForgeComment]:
        await self.account()
        return [self._comment(one) for one in await self._comments(f"issues/{number}/comments")]

    async def _in_reviews(self, number: int) -> list[ForgeComment]:
        remarks = [self._comment(one) for one in await self._comments(f"pulls/{number}/comments")]
        return [*remarks, *await self._reviews(number)]

    async def _reviews(self, number: int) -> list[ForgeComment]:
        """What reviews say as a whole."""
        told = understood(list[_Review], await self._list(f"pulls/{number}/reviews"), self._connection.name)
        return [
            ForgeComment(
                id=ident("review", one.id),
                author=_name(one.user),
                body=body(one.body),
                at=one.submitted_at,
                url=word(one.html_url),
                ours=is_ours(self._account, _name(one.user), one.body),
            )
            for one in told
            if one.body.strip() and one.submitted_at is not None and one.state != "PENDING"
        ]

    async def _comments(self, where: str) -> list[_Comment]:
        return understood(list[_Comment], await self._list(where), self._connection.name)

    def _comment(self, one: _Comment) -> ForgeComment:
        on_line = bool(one.path)
        return ForgeComment(
            id=ident("remark" if on_line else "comment", one.id),
            thread=ident("remark", one.in_reply_to_id or one.id) if on_line else None,
            author=_name(one.user),
            body=body(one.body),
            at=one.created_at,
            url=word(one.html_url),
            file=word(one.path) or None,
            line=one.line or one.original_line,
            code=body(one.diff_hunk),
            ours=is_ours(self._account, _name(one.user), one.body),
            edited=is_edited(one.created_at, one.updated_at),
        )

    async def notes(self, spot: Spot) -> list[Note]:
        """As in `Window`."""
        found = [_note(one) for one in await self._comments(f"issues/{spot.number}/comments")]
        if spot.thread is not None:
            found += [_note(one) for one in await self._comments(f"pulls/{spot.number}/comments")]
        return found

    async def add(self, spot: Spot, text: str) -> Note:
        """As in `Window`."""
        first = numbers_of("remark", spot.thread)
        if first is not None:
            try:
                return await self._said(f"pulls/{spot.number}/comments/{first[0]}/replies", text)
            except Refusal as refusal:
                if refusal.status not in {404, 422}:
                    raise
        return await self._said(f"issues/{spot.number}/comments", text)

    async def _said(self, where: str, text: str) -> Note:
        told = await self._connection.send("POST", f"{self._path}/{where}", {"body": text})
        return _note(understood(_Comment, told, self._connection.name))

    async def change(self, spot: Spot, note: Note, text: str) -> Note:
        """As in `Window`."""
        told = await self._connection.send("PATCH", f"{self._path}/{note.place}", {"body": text})
        return replace(note, body=text, at=understood(_Comment, told, self._connection.name).updated_at)

    async def remove(self, spot: Spot, note: Note) -> None:
        """As in `Window`."""
        await self._connection.send("DELETE", f"{self._path}/{note.place}")

    async def under_way(self, check: str) -> bool:
        """As in `Window`."""
        return await self._checks.under_way(check)

    async def start(self, check: str) -> None:
        """As in `Window`."""
        await self._checks.start(check)

    async def _get(self, what: str) -> Told:
        return await self._connection.get(f"{self._path}/{what}")

    async def _list(self, what: str, wanted: Parameters | None = None) -> list[JsonValue]:
        return await pages(self._connection, f"{self._path}/{what}", wanted, _MOST_PAGES)


def _is_asked_for(issue: _Issue, label: str | None) -> bool:
    """Labels are told apart whatever the case, as GitHub does."""
    if label is None or issue.pull_request is not None or issue.state != "open":
        return False
    return label.casefold() in {name.casefold() for name in issue.names}


def _note(one: _Comment) -> Note:
    kind, place = ("remark", "pulls") if one.path else ("comment", "issues")
    return Note(
        ident(kind, one.id), word(one.html_url), _name(one.user), one.body, f"{place}/comments/{one.id}", one.updated_at
    )


def _name(user: _User | None) -> str:
    return word(user.login) if user is not None else ""
