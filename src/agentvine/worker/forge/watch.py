"""How it is seen to that exactly one comment says something, whatever is lost on the way; and refusals in words.

As in courier.py nothing is remembered: each try looks what is there and does what is missing. After a comment was made
it is looked once more, for two workers, or a call that came through twice, may have made two: the oldest stays. So a
token that may not say whose it is writes first and sees by that which comments are its own.
"""

import re
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar

from agentvine.domain.errand import LookAtIssue, LookAtPull, LookForWork, RunAgain, Say, WorkSeen
from agentvine.domain.forge import ForgeComment, IssueSeen, PullHead, PullSeen, Said
from agentvine.domain.intake import command_in, is_allowed
from agentvine.domain.retry import FailureReason
from agentvine.kit.backoff import Backoff
from agentvine.kit.doorbell import pause
from agentvine.worker.forge.base import ForgeRefused, ForgeUnavailable
from agentvine.worker.forge.connection import Refusal, Unsure, not_permitted
from agentvine.worker.forge.harmless import GAP
from agentvine.worker.forge.marking import carries, marked
from agentvine.worker.forge.shown import MOST_ISSUES
from agentvine.worker.forge.window import Note, Spot, Window, head_of

TRIES = 5
OVERLAP = timedelta(minutes=10)
"""How far a forge's clock may be behind ours without a comment being missed; what is seen twice does no harm."""
MOST_HEADS = 50
"""Of so many pull requests on which commands stand it is asked where they come from, in one look."""
_OWN = ("pull", "pulls", "issues", "-/merge_requests", "-/issues", "-/work_items")

_T = TypeVar("_T")


class Watch:
    """Implements `Lookout`. `who`: the forge and the repository, for messages; `web`: where people look at it."""

    def __init__(self, window: Window, who: str, web: str, *, backoff: Backoff | None = None) -> None:
        self._window = window
        self._who = who
        self._web = web
        self._backoff = backoff or Backoff(first=0.5, most=5.0)

    async def pull(self, wanted: LookAtPull) -> PullSeen | None:
        """As in `Lookout`."""
        return await self._told(self._window.pull(wanted.branch, wanted.url), "look at pull requests and their checks")

    async def work(self, wanted: LookForWork) -> WorkSeen:
        """As in `Lookout`."""
        found = await self._told(self._window.work(wanted.label, wanted.since - OVERLAP), "look at issues and comments")
        counts = partial(_counts, users=wanted.users)
        first = sorted(found, key=lambda one: (not any(map(counts, one.comments)), not one.comments, -one.number))
        first = first[:MOST_ISSUES]
        asked = [one.number for one in first if one.is_pull and any(map(_commands, filter(counts, one.comments)))]
        asked = sorted(asked, key=lambda number: (number < wanted.heads_from, number))[:MOST_HEADS]
        heads = {number: await self._told(self._head(number), "look at pull requests") for number in asked}
        whole = (one.model_copy(update={"head": heads.get(one.number) if one.is_pull else None}) for one in first)
        return WorkSeen(issues=tuple(sorted(whole, key=lambda one: one.number)))

    async def _head(self, number: int) -> PullHead:
        """Where it comes from. That one cannot be seen says nothing of the others."""
        try:
            return await self._window.head(number)
        except Refusal as refusal:
            if refusal.status not in {403, 404, 410}:
                raise
            return head_of("", own=True)

    async def issue(self, wanted: LookAtIssue) -> IssueSeen | None:
        """As in `Lookout`."""
        return await self._told(self._window.issue(wanted.number, is_pull=wanted.is_pull), "look at issues")

    async def say(self, wanted: Say) -> Said:
        """As in `Lookout`."""
        return await self._told(self._until_said(wanted), "write comments")

    async def run_again(self, wanted: RunAgain) -> None:
        """As in `Lookout`."""
        await self._told(self._until_started(wanted.check), "run checks again")

    # ── one comment ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _until_said(self, wanted: Say) -> Said:
        text = self._harmless(wanted)
        spot = Spot(wanted.number, wanted.is_pull, wanted.thread)
        account = await self._window.account()
        made: Note | None = None
        before: list[Note] | None = None
        last = "it did not tell"
        for attempt in range(1, TRIES + 1):
            try:
                notes = await self._window.notes(spot)
                account = account or _writer(notes, before, text)
                there = _ours(notes, wanted.mark, account)
                if there and (account is not None or _says(there[0], text)):
                    return await self._just_one(spot, there if account is not None else there[:1], text)
                if made is not None:  # it is not in the forge's list yet
                    return _said(made)
                before = notes
                made = await self._window.add(spot, text)
                account = account or made.author or None
            except Unsure as why:
                last = str(why)
                await pause(self._backoff.delay(attempt))
        if made is not None:
            return _said(made)
        raise ForgeUnavailable(f"{self._who}: the comment could not be written in {TRIES} tries ({last})")

    async def _just_one(self, spot: Spot, there: list[Note], text: str) -> Said:
        """The first of them with this text; the others go. Raises Unsure if the first is gone meanwhile."""
        first, *others = there
        if not _says(first, text):
            try:
                first = await self._window.change(spot, first, text)
            except Refusal as refusal:
                if refusal.status == 404:
                    raise Unsure("the comment was deleted") from refusal
                raise
        for one in others:
            try:
                await self._window.remove(spot, one)
            except Refusal as refusal:
                if refusal.status not in {404, 410}:
                    raise
        return _said(first)

    def _harmless(self, wanted: Say) -> str:
        """The text between its marks. Addresses of this repository's issues and pull requests still lead there."""
        text = marked(wanted.text, wanted.mark, self._window.longest_text)
        for kind in _OWN:
            text = re.sub(rf"({re.escape(f'{self._web}/{kind}/')}){GAP}(?=\d)", r"\1", text)
        return text

    # ── a check ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _until_started(self, check: str) -> None:
        last = "it did not tell"
        for attempt in range(1, TRIES + 1):
            if await self._window.under_way(check):
                return
            try:
                await self._window.start(check)
            except Unsure as why:
                last = str(why)
                await pause(self._backoff.delay(attempt))
                continue
            except Refusal:
                if await self._window.under_way(check):  # somebody was faster
                    return
                raise
            return
        raise ForgeUnavailable(f"{self._who}: the check could not be started in {TRIES} tries ({last})")

    # ── what went wrong ──────────────────────────────────────────────────────────────────────────────────────────

    async def _told(self, doing: Awaitable[_T], what: str) -> _T:
        try:
            return await doing
        except Unsure as unsure:
            raise ForgeUnavailable(str(unsure)) from unsure
        except Refusal as refusal:
            raise self._refused(refusal, what) from refusal

    def _refused(self, refusal: Refusal, what: str) -> ForgeRefused:
        if refusal.status in {403, 423} and "locked" in refusal.said.lower():
            return ForgeRefused(
                f"{self._who}: cannot {what}: {refusal}; unlock the conversation, or answer there by hand"
            )
        if refusal.status == 403:
            return not_permitted(self._who, what, refusal)
        if refusal.status in {404, 410}:
            return ForgeRefused(
                f"{self._who}: cannot {what}: nothing is there that this token could see ({refusal}); check the "
                "repository's address, that issues and pull requests are switched on, that nobody deleted what it is "
                "about, and what the token may see",
                FailureReason.REPOSITORY_NOT_FOUND,
            )
        return ForgeRefused(f"{self._who}: cannot {what}: {refusal}")


def _counts(comment: ForgeComment, users: Sequence[str] | None) -> bool:
    """Whether something may follow from it; since when somebody's word counts, the server knows."""
    return not comment.ours and not comment.edited and (users is None or is_allowed(comment.author, users))


def _commands(comment: ForgeComment) -> bool:
    return command_in(comment.body) is not None


def _ours(notes: list[Note], mark: str, account: str | None) -> list[Note]:
    """Those that carry the mark. Somebody else may have copied it: what others wrote is not touched. Where our account
    is not known, they may be anybody's: only what we write next tells who we are."""
    found = [note for note in notes if carries(note.body, mark)]
    return [note for note in found if account is None or note.author.casefold() == account.casefold()]


def _writer(notes: list[Note], before: list[Note] | None, text: str) -> str | None:
    """Who wrote this text since the look `before` we tried to: we, whose call came through without an answer."""
    if before is None:
        return None
    known = {note.id for note in before}
    return next((note.author or None for note in notes if note.id not in known and _says(note, text)), None)


def _says(note: Note, text: str) -> bool:
    return note.body.replace("\r\n", "\n").strip() == text.strip()


def _said(note: Note) -> Said:
    return Said(id=note.id, url=note.url, at=note.at)
