"""What GitHub shows, and answers there. What is used of its API: docs/forges.md."""

from dataclasses import replace
from datetime import datetime

from agentvine.domain.forge import ForgeComment, IssueSeen, PullHead, PullSeen
from agentvine.worker.forge.account import Account
from agentvine.worker.forge.answers import Value
from agentvine.worker.forge.connection import Connection, Parameters, Refusal
from agentvine.worker.forge.github_checks import GitHubChecks
from agentvine.worker.forge.issues import Issue, User, issue_if_there, must_have_issues, name_of
from agentvine.worker.forge.repository_api import RepositoryApi, owner_and_name, piece
from agentvine.worker.forge.shown import (
    Text,
    When,
    body,
    built,
    ident,
    is_edited,
    last_number,
    latest,
    numbers_of,
    word,
)
from agentvine.worker.forge.window import Note, Spot, head_of

_MOST_PAGES = 25
"""An issue has at most 2,500 comments."""
_MOST_REVIEWED = 30
"""Pull requests whose reviews are looked at when work is looked for: those that were changed last."""


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


class _Comment(Value):
    id: int
    html_url: Text = ""
    issue_url: Text = ""
    pull_request_url: Text = ""
    body: Text = ""
    user: User | None = None
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
    user: User | None = None
    submitted_at: When | None = None


class GitHubWindow:
    """Implements `Window`. `repository`: owner/name; `account`: who we are, where that is known already."""

    longest_text = 65_000

    def __init__(self, connection: Connection, repository: str, account: str | None = None) -> None:
        self._owner, name = owner_and_name(repository, "GitHub")
        self._api = RepositoryApi(connection, f"repos/{piece(self._owner)}/{piece(name)}")
        self._account = Account(connection, account)
        self._checks = GitHubChecks(self._api)

    async def account(self) -> str | None:
        """As in `Window`. Tokens of an app may not ask: its name comes from elsewhere."""
        return await self._account.name()

    async def pull(self, branch: str, url: str) -> PullSeen | None:
        """As in `Window`."""
        number = await self._number_of(branch, url)
        if number is None:
            return None
        found = await self._api.one(_Pull, f"pulls/{number}")
        checks, failed = await self._checks.of(found.head.sha)
        return built(
            PullSeen,
            self._api.forge,
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
        found = await self._api.all(_Pull, "pulls", wanted, most=_MOST_PAGES)
        newest = max((one.number for one in found if one.is_of(branch)), default=None)
        known = last_number(url)
        if newest is not None or known is None:
            return newest
        told = await self._api.if_there(_Pull, f"pulls/{known}")
        return known if told is not None and told.is_of(branch) else None

    async def head(self, number: int) -> PullHead:
        """As in `Window`."""
        found = await self._api.one(_Pull, f"pulls/{number}")
        return head_of(found.head.ref, own=found.is_of(found.head.ref))

    # ── issues ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def work(self, label: str | None, since: datetime) -> list[IssueSeen]:
        """As in `Window`."""
        at = {"since": since.strftime("%Y-%m-%dT%H:%M:%SZ"), "sort": "updated"}
        try:
            found = await self._api.all(Issue, "issues", {"state": "all", **at}, most=_MOST_PAGES)
            if label is not None:
                labelled = {"state": "open", "labels": label}
                found += await self._api.all(Issue, "issues", labelled, most=_MOST_PAGES)
        except Refusal as refusal:
            if refusal.status in {404, 410}:
                await must_have_issues(self._api)
            raise
        await self._account.name()
        said: dict[int, list[ForgeComment]] = {}
        for where in ("issues/comments", "pulls/comments"):
            for one in await self._comments(where, at):
                if one.number is not None:
                    said.setdefault(one.number, []).append(self._comment(one))
        issues = {one.number: one for one in found}
        changed = [one.number for one in issues.values() if one.is_pull]
        for number in changed[:_MOST_REVIEWED]:
            reviews = [one for one in await self._reviews(number) if one.at >= since]
            said[number] = [*said.get(number, []), *reviews]
        return [
            one.seen(said.get(one.number, []), self._api.forge)
            for one in issues.values()
            if said.get(one.number) or _is_asked_for(one, label)
        ]

    async def issue(self, number: int, *, is_pull: bool) -> IssueSeen | None:
        """As in `Window`."""
        found = await issue_if_there(self._api, number)
        if found is None:
            return None
        said = await self._on(number)
        return found.seen(said + await self._in_reviews(number) if found.is_pull else said, self._api.forge)

    # ── what is said ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _on(self, number: int) -> list[ForgeComment]:
        await self._account.name()
        return [self._comment(one) for one in await self._comments(f"issues/{number}/comments")]

    async def _in_reviews(self, number: int) -> list[ForgeComment]:
        remarks = [self._comment(one) for one in await self._comments(f"pulls/{number}/comments")]
        return [*remarks, *await self._reviews(number)]

    async def _reviews(self, number: int) -> list[ForgeComment]:
        """What reviews say as a whole."""
        told = await self._api.all(_Review, f"pulls/{number}/reviews", most=_MOST_PAGES)
        return [
            ForgeComment(
                id=ident("review", one.id),
                author=name_of(one.user),
                body=body(one.body),
                at=one.submitted_at,
                url=word(one.html_url),
                ours=self._account.wrote(name_of(one.user), one.body),
            )
            for one in told
            if one.body.strip() and one.submitted_at is not None and one.state != "PENDING"
        ]

    async def _comments(self, where: str, wanted: Parameters | None = None) -> list[_Comment]:
        return await self._api.all(_Comment, where, wanted, most=_MOST_PAGES)

    def _comment(self, one: _Comment) -> ForgeComment:
        on_line = bool(one.path)
        return ForgeComment(
            id=ident("remark" if on_line else "comment", one.id),
            thread=ident("remark", one.in_reply_to_id or one.id) if on_line else None,
            author=name_of(one.user),
            body=body(one.body),
            at=one.created_at,
            url=word(one.html_url),
            file=word(one.path) or None,
            line=one.line or one.original_line,
            code=body(one.diff_hunk),
            ours=self._account.wrote(name_of(one.user), one.body),
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
        return _note(await self._api.sent(_Comment, "POST", where, {"body": text}))

    async def change(self, spot: Spot, note: Note, text: str) -> Note:
        """As in `Window`."""
        changed = await self._api.sent(_Comment, "PATCH", note.place, {"body": text})
        return replace(note, body=text, at=changed.updated_at)

    async def remove(self, spot: Spot, note: Note) -> None:
        """As in `Window`."""
        await self._api.send("DELETE", note.place)

    async def under_way(self, check: str) -> bool:
        """As in `Window`."""
        return await self._checks.under_way(check)

    async def start(self, check: str) -> None:
        """As in `Window`."""
        await self._checks.start(check)


def _is_asked_for(issue: Issue, label: str | None) -> bool:
    """Labels are told apart whatever the case, as GitHub does."""
    if label is None or issue.is_pull or not issue.is_open:
        return False
    return label.casefold() in {name.casefold() for name in issue.names}


def _note(one: _Comment) -> Note:
    kind, place = ("remark", "pulls") if one.path else ("comment", "issues")
    return Note(
        ident(kind, one.id),
        word(one.html_url),
        name_of(one.user),
        one.body,
        f"{place}/comments/{one.id}",
        one.updated_at,
    )
