"""What Gitea and Forgejo show, and answers there. What is used of their API: docs/forges.md."""

from datetime import datetime

from agentvine.domain.forge import IssueSeen, PullHead, PullSeen
from agentvine.worker.forge.account import Account
from agentvine.worker.forge.answers import Value
from agentvine.worker.forge.connection import Connection, Parameters, Refusal
from agentvine.worker.forge.gitea_api import PAGES, Head, gitea_api
from agentvine.worker.forge.gitea_checks import GiteaChecks
from agentvine.worker.forge.gitea_talk import GiteaTalk
from agentvine.worker.forge.issues import Issue, issue_if_there, must_have_issues
from agentvine.worker.forge.shown import Text, built, last_number, latest, word
from agentvine.worker.forge.window import Note, Spot, head_of

_MOST_REVIEWED = 30
"""Pull requests whose reviews are looked at when work is looked for: those that were changed last."""


class _Pull(Value):
    number: int
    html_url: Text
    state: str
    merged: bool = False
    mergeable: bool = True
    head: Head
    base: Head

    @property
    def is_open(self) -> bool:
        return self.state == "open" and not self.merged

    def is_of(self, branch: str) -> bool:
        return self.head.branch == branch and self.head.repo_id == self.base.repo_id


class GiteaWindow:
    """Implements `Window`. `repository`: owner/name; `account`: who we are, where that is known already."""

    longest_text = 250_000

    def __init__(self, connection: Connection, repository: str, account: str | None = None) -> None:
        self._api = gitea_api(connection, repository)
        self._account = Account(connection, account)
        self._checks = GiteaChecks(self._api)
        self._talk = GiteaTalk(self._api, self._account)

    async def account(self) -> str | None:
        """As in `Window`. Gitea tells it only to tokens that may read the user."""
        return await self._account.name()

    # ── pull requests ────────────────────────────────────────────────────────────────────────────────────────────

    async def pull(self, branch: str, url: str) -> PullSeen | None:
        """As in `Window`. It cannot be asked for by its branch: of those changed last, 500 are looked through."""
        found = await self._pull(branch, url)
        if found is None:
            return None
        checks, failed = await self._checks.of(found.head.sha)
        return built(
            PullSeen,
            self._api.forge,
            number=found.number,
            url=word(found.html_url),
            state="merged" if found.merged else "open" if found.state == "open" else "closed",
            branch=found.head.branch,
            target=found.base.ref,
            head_sha=found.head.sha,
            conflicts=found.is_open and not found.mergeable,
            checks=checks,
            failed=failed,
            comments=latest(await self._talk.on(found.number, is_pull=True)),
        )

    async def _pull(self, branch: str, url: str) -> _Pull | None:
        if (last := last_number(url)) is not None:
            told = await self._api.if_there(_Pull, f"pulls/{last}")
            if told is not None and told.is_of(branch) and told.is_open:
                return told
        pulls = await self._api.all(_Pull, "pulls", {"state": "all", "sort": "recentupdate"}, most=PAGES)
        newest = max((one.number for one in pulls if one.is_of(branch)), default=None)
        return None if newest is None else await self._api.one(_Pull, f"pulls/{newest}")

    async def head(self, number: int) -> PullHead:
        """As in `Window`."""
        found = await self._api.one(_Pull, f"pulls/{number}")
        return head_of(found.head.branch, own=found.is_of(found.head.branch))

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
                await must_have_issues(self._api)
            raise
        once = {one.number: one for one in issues}.values()
        pulls = sorted((one for one in once if one.is_pull), key=_changed, reverse=True)
        for pull in pulls[:_MOST_REVIEWED]:
            said[pull.number] = [*said.get(pull.number, []), *await self._talk.in_reviews(pull.number, since)]
        return [
            one.seen(said.get(one.number, []), self._api.forge)
            for one in once
            if said.get(one.number) or _is_asked_for(one, label)
        ]

    async def _issues(self, wanted: Parameters) -> list[Issue]:
        return await self._api.all(Issue, "issues", wanted, most=PAGES)

    async def issue(self, number: int, *, is_pull: bool) -> IssueSeen | None:
        """As in `Window`."""
        found = await issue_if_there(self._api, number)
        if found is None:
            return None
        return found.seen(await self._talk.on(number, is_pull=found.is_pull), self._api.forge)

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


def _changed(issue: Issue) -> datetime:
    return issue.updated_at or issue.created_at


def _is_asked_for(issue: Issue, label: str | None) -> bool:
    return label in issue.names and issue.is_open and not issue.is_pull
