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
from agentvine.worker.forge.alike import signed_in_as
from agentvine.worker.forge.connection import Connection, Parameters, Refusal, Told
from agentvine.worker.forge.desk import Value, pages, understood
from agentvine.worker.forge.shown import Text, When, body, ident, is_edited, is_ours, last_number, numbers_of, word
from agentvine.worker.forge.window import Note

PAGE, PAGES = 50, 10
_MOST_REVIEWS = 50
"""Of one pull request, the latest, whose remarks are asked for one review at a time."""


class User(Value):
    """Somebody."""

    login: Text = ""


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
    """In the repository at `path` of the API."""

    def __init__(self, connection: Connection, path: str, account: str | None) -> None:
        self._connection = connection
        self._path = path
        self._account = account

    async def account(self) -> str | None:
        """As in `Window`. Gitea tells it only to tokens that may read the user."""
        if self._account is None:
            self._account = await signed_in_as(self._connection)
        return self._account or None

    async def on(self, number: int, *, is_pull: bool) -> list[ForgeComment]:
        """All that was said there. Raises Refusal, ForgeProblem."""
        await self.account()
        told = understood(list[_Comment], await self._get(f"issues/{number}/comments"), self._connection.name)
        said = [self._comment(one) for one in told]
        return said + self._reviewed(await self._said(number)) if is_pull else said

    async def since(self, moment: datetime) -> dict[int, list[ForgeComment]]:
        """What was said since then, by number, but for reviews. Raises Refusal, ForgeProblem."""
        await self.account()
        found = await self._list("issues/comments", {"since": moment.strftime("%Y-%m-%dT%H:%M:%SZ")})
        said: dict[int, list[ForgeComment]] = {}
        for one in understood(list[_Comment], found, self._connection.name):
            if one.number is not None:
                said.setdefault(one.number, []).append(self._comment(one))
        return said

    async def in_reviews(self, number: int, since: datetime) -> list[ForgeComment]:
        """What was said since then in reviews, with the beginnings of its threads. Raises Refusal, ForgeProblem."""
        return self._reviewed(await self._said(number, since))

    async def _said(self, number: int, since: datetime | None = None) -> _Said:
        found = understood(list[_Review], await self._list(f"pulls/{number}/reviews"), self._connection.name)
        posted = [one for one in found if one.state not in {"PENDING", "REQUEST_REVIEW"}]
        posted.sort(key=lambda one: one.id)
        remarks: list[_Remark] = []
        for review in posted[-_MOST_REVIEWS:]:
            if review.comments_count:
                told = await self._get(f"pulls/{number}/reviews/{review.id}/comments")
                remarks += understood(list[_Remark], told, self._connection.name)
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
                ours=is_ours(self._account, name_of(one.user), one.body),
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
            ours=is_ours(self._account, name_of(remark.user), remark.body),
            edited=is_edited(remark.created_at, remark.updated_at),
        )

    def _comment(self, one: _Comment) -> ForgeComment:
        return ForgeComment(
            id=ident("comment", one.id),
            author=name_of(one.user),
            body=body(one.body),
            at=one.created_at,
            url=word(one.html_url),
            ours=is_ours(self._account, name_of(one.user), one.body),
            edited=is_edited(one.created_at, one.updated_at),
        )

    async def notes(self, number: int, thread: str | None) -> list[Note]:
        """As in `Window`."""
        told = understood(list[_Comment], await self._get(f"issues/{number}/comments"), self._connection.name)
        found = [_note("comment", one) for one in told]
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
        told = await self._connection.send("POST", f"{self._path}/issues/{number}/comments", {"body": text})
        return _note("comment", understood(_Comment, told, self._connection.name))

    async def _answer(self, number: int, remark: int, text: str) -> Note:
        """In a thread. Where the API has no answers, a review of one remark on the same line is one."""
        path = f"{self._path}/pulls/{number}/comments/{remark}/replies"
        try:
            told = await self._connection.send("POST", path, {"body": text})
        except Refusal as refusal:
            if refusal.status not in {404, 405}:
                raise
            return await self._answer_by_review(number, remark, text)
        return _note("remark", understood(_Remark, told, self._connection.name))

    async def _answer_by_review(self, number: int, remark: int, text: str) -> Note:
        first = next((one for one in (await self._said(number)).remarks if one.id == remark), None)
        if first is None:
            raise Refusal(404, "the thread was deleted")
        side = "new_position" if first.position else "old_position"
        line = first.position or first.original_position or 0
        comment: JsonValue = {"path": first.path, side: line, "body": text}
        sent: JsonValue = {"event": "COMMENT", "body": "", "comments": [comment]}
        told = await self._connection.send("POST", f"{self._path}/pulls/{number}/reviews", sent)
        made = understood(_Review, told, self._connection.name)
        return Note(ident("review", made.id), made.html_url, name_of(made.user), text, at=made.submitted_at)

    async def change(self, note: Note, text: str) -> Note:
        """As in `Window`. Remarks are comments to this part of the API."""
        told = await self._connection.send("PATCH", f"{self._path}/issues/comments/{note.place}", {"body": text})
        if told.value is None:
            return note
        return replace(note, body=text, at=understood(_Comment, told, self._connection.name).updated_at)

    async def remove(self, note: Note) -> None:
        """As in `Window`."""
        await self._connection.send("DELETE", f"{self._path}/issues/comments/{note.place}")

    async def _get(self, what: str) -> Told:
        return await self._connection.get(f"{self._path}/{what}")

    async def _list(self, what: str, wanted: Parameters | None = None) -> list[JsonValue]:
        return await pages(self._connection, f"{self._path}/{what}", {"limit": PAGE, **(wanted or {})}, PAGES)


def _note(kind: str, one: _Comment | _Remark) -> Note:
    at = one.updated_at or one.created_at
    return Note(ident(kind, one.id), word(one.html_url), name_of(one.user), one.body, str(one.id), at)


def name_of(user: User | None) -> str:
    """How somebody signs in; empty for one who is gone."""
    return word(user.login) if user is not None else ""


def _firsts(remarks: Sequence[_Remark]) -> dict[tuple[str, int, int], _Remark]:
    """The first remark of each conversation."""
    firsts: dict[tuple[str, int, int], _Remark] = {}
    for remark in sorted(remarks, key=lambda one: one.id, reverse=True):
        firsts[remark.spot] = remark
    return firsts


def _spoken_of(first: _Remark, remarks: Sequence[_Remark]) -> bool:
    return any(one.spot == first.spot for one in remarks)
