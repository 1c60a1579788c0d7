"""What people say on Gitea and Forgejo, and our answers.

Comments on lines are kept in reviews. What was said of one line is one conversation to these forges, so it is one
thread here; its name is that of its first comment. Answers came late to the API (Gitea 1.27; Forgejo has none): a
review of one remark on the same line stands in for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import JsonValue

from agentvine.domain.forge import ForgeComment
from agentvine.worker.forge.account import Account
from agentvine.worker.forge.answers import Value, understood
from agentvine.worker.forge.connection import Refusal
from agentvine.worker.forge.gitea_api import PAGES
from agentvine.worker.forge.issues import User, name_of
from agentvine.worker.forge.repository_api import RepositoryApi
from agentvine.worker.forge.shown import Text, When, body, ident, is_edited, last_number, numbers_of, word
from agentvine.worker.forge.window import Note

_MOST_REVIEWS = 50
"""Of one pull request, the latest, whose remarks are asked for one review at a time."""


class _Comment(Value):
    id: int
    html_url: Text = ""
    issue_url: Text = ""
    pull_request_url: Text = ""
    body: Text = ""
    user: User | None = None
    created_at: When
    updated_at: When | None = None

    @property
    def number(self) -> int | None:
        """Of the issue that it is on."""
        return last_number(self.issue_url or self.pull_request_url)


class _Remark(Value):
    id: int
    html_url: Text = ""
    body: Text = ""
    user: User | None = None
    created_at: When
    updated_at: When | None = None
    path: Text = ""
    position: int | None = None
    original_position: int | None = None
    diff_hunk: Text = ""
    commit_id: Text = ""

    @property
    def spot(self) -> tuple[str, int, int]:
        """What all remarks of one conversation have in common: the file, and its new or its old line."""
        return self.path, self.position or 0, self.original_position or 0


class _Review(Value):
    id: int
    state: str = ""
    html_url: Text = ""
    body: Text = ""
    user: User | None = None
    submitted_at: When | None = None
    updated_at: When | None = None
    comments_count: int = 0


@dataclass(frozen=True, slots=True)
class _Said:
    """What was said on a pull request within reviews."""

    reviews: Sequence[_Review]
    remarks: Sequence[_Remark]


class GiteaTalk:
    """In one repository."""

    def __init__(self, api: RepositoryApi, account: Account) -> None:
        self._api = api
        self._account = account

    async def on(self, number: int, *, is_pull: bool) -> list[ForgeComment]:
        """All that was said there. Raises Refusal, ForgeProblem."""
        await self._account.name()
        said = [self._comment(one) for one in await self._comments(number)]
        return said + self._reviewed(await self._said(number)) if is_pull else said

    async def since(self, moment: datetime) -> dict[int, list[ForgeComment]]:
        """What was said since then, by number, but for reviews. Raises Refusal, ForgeProblem."""
        await self._account.name()
        wanted = {"since": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}
        said: dict[int, list[ForgeComment]] = {}
        for one in await self._api.all(_Comment, "issues/comments", wanted, most=PAGES):
            if one.number is not None:
                said.setdefault(one.number, []).append(self._comment(one))
        return said

    async def in_reviews(self, number: int, since: datetime) -> list[ForgeComment]:
        """What was said since then in reviews, with the beginnings of its threads. Raises Refusal, ForgeProblem."""
        return self._reviewed(await self._said(number, since))

    async def _comments(self, number: int) -> list[_Comment]:
        return await self._api.one(list[_Comment], f"issues/{number}/comments")  # all at once: it has no pages

    async def _said(self, number: int, since: datetime | None = None) -> _Said:
        found = await self._api.all(_Review, f"pulls/{number}/reviews", most=PAGES)
        posted = [one for one in found if one.state not in {"PENDING", "REQUEST_REVIEW"}]
        posted.sort(key=lambda one: one.id)
        remarks: list[_Remark] = []
        for review in posted[-_MOST_REVIEWS:]:
            if review.comments_count:
                remarks += await self._api.one(list[_Remark], f"pulls/{number}/reviews/{review.id}/comments")
        if since is not None:
            firsts = _firsts(remarks)
            remarks = [one for one in remarks if one.created_at >= since]
            posted = [one for one in posted if one.submitted_at is not None and one.submitted_at >= since]
            remarks += [one for one in firsts.values() if one.created_at < since and _spoken_of(one, remarks)]
        return _Said(posted, remarks)

    def _reviewed(self, said: _Said) -> list[ForgeComment]:
        firsts = _firsts(said.remarks)
        whole = [
            ForgeComment(
                id=ident("review", one.id),
                author=name_of(one.user),
                body=body(one.body),
                at=one.submitted_at,
                url=word(one.html_url),
                ours=self._account.wrote(name_of(one.user), one.body),
                edited=is_edited(one.submitted_at, one.updated_at),
            )
            for one in said.reviews
            if one.body.strip() and one.submitted_at is not None
        ]
        return [*whole, *(self._remark(one, firsts[one.spot]) for one in said.remarks)]

    def _remark(self, remark: _Remark, first: _Remark) -> ForgeComment:
        return ForgeComment(
            id=ident("remark", remark.id),
            thread=ident("remark", first.id),
            author=name_of(remark.user),
            body=body(remark.body),
            at=remark.created_at,
            url=word(remark.html_url),
            file=word(remark.path) or None,
            line=remark.position or remark.original_position or None,
            code=body(remark.diff_hunk),
            ours=self._account.wrote(name_of(remark.user), remark.body),
            edited=is_edited(remark.created_at, remark.updated_at),
        )

    def _comment(self, one: _Comment) -> ForgeComment:
        return ForgeComment(
            id=ident("comment", one.id),
            author=name_of(one.user),
            body=body(one.body),
            at=one.created_at,
            url=word(one.html_url),
            ours=self._account.wrote(name_of(one.user), one.body),
            edited=is_edited(one.created_at, one.updated_at),
        )

    async def notes(self, number: int, thread: str | None) -> list[Note]:
        """As in `Window`."""
        found = [_note("comment", one) for one in await self._comments(number)]
        if thread is not None:
            said = await self._said(number)
            found += [_note("remark", one) for one in sorted(said.remarks, key=lambda one: one.id)]
        return found

    async def add(self, number: int, thread: str | None, text: str) -> Note:
        """As in `Window`."""
        first = numbers_of("remark", thread)
        if first is not None:
            try:
                return await self._answer(number, first[0], text)
            except Refusal as refusal:
                if refusal.status not in {404, 405, 422}:
                    raise
        return _note("comment", await self._api.sent(_Comment, "POST", f"issues/{number}/comments", {"body": text}))

    async def _answer(self, number: int, remark: int, text: str) -> Note:
        """In a thread. Where the API has no answers, a review of one remark on the same line is one."""
        path = f"pulls/{number}/comments/{remark}/replies"
        try:
            return _note("remark", await self._api.sent(_Remark, "POST", path, {"body": text}))
        except Refusal as refusal:
            if refusal.status not in {404, 405}:
                raise
        return await self._answer_by_review(number, remark, text)

    async def _answer_by_review(self, number: int, remark: int, text: str) -> Note:
        first = next((one for one in (await self._said(number)).remarks if one.id == remark), None)
        if first is None:
            raise Refusal(404, "the thread was deleted")
        side = "new_position" if first.position else "old_position"
        line = first.position or first.original_position or 0
        comment: JsonValue = {"path": first.path, side: line, "body": text}
        sent: JsonValue = {"event": "COMMENT", "body": "", "comments": [comment]}
        made = await self._api.sent(_Review, "POST", f"pulls/{number}/reviews", sent)
        return Note(ident("review", made.id), made.html_url, name_of(made.user), text, at=made.submitted_at)

    async def change(self, note: Note, text: str) -> Note:
        """As in `Window`. Remarks are comments to this part of the API."""
        told = await self._api.send("PATCH", f"issues/comments/{note.place}", {"body": text})
        if told.value is None:
            return note
        return replace(note, body=text, at=understood(_Comment, told, self._api.forge).updated_at)

    async def remove(self, note: Note) -> None:
        """As in `Window`."""
        await self._api.send("DELETE", f"issues/comments/{note.place}")


def _note(kind: str, one: _Comment | _Remark) -> Note:
    at = one.updated_at or one.created_at
    return Note(ident(kind, one.id), word(one.html_url), name_of(one.user), one.body, str(one.id), at)


def _firsts(remarks: Sequence[_Remark]) -> dict[tuple[str, int, int], _Remark]:
    """The first remark of each conversation."""
    firsts: dict[tuple[str, int, int], _Remark] = {}
    for remark in sorted(remarks, key=lambda one: one.id, reverse=True):
        firsts[remark.spot] = remark
    return firsts


def _spoken_of(first: _Remark, remarks: Sequence[_Remark]) -> bool:
    return any(one.spot == first.spot for one in remarks)
