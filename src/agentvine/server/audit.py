"""The audit log's writer: refusals and what happened, about once a second, so that no request waits for it.

Events are durable before; the log seals them. Refusals are gathered in memory: a server that is killed loses those of
its last second. They are bounded, so that nobody fills the disk: the first of a kind is written at once, what follows
within a minute is counted and written as one; and of each key, and of all who have none, only so many kinds are told
apart in a minute. The counts are complete.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import JsonValue

from agentvine.domain.audit import AuditKind
from agentvine.domain.errors import AgentVineError, Unavailable
from agentvine.kit.clock import Clock
from agentvine.kit.doorbell import Doorbell, pause
from agentvine.kit.logs import logger
from agentvine.server.bells import Bells
from agentvine.store import audit
from agentvine.store.audit import Draft, Head
from agentvine.store.database import Database
from agentvine.store.unit import Unit

NOBODY = "nobody"
SEAL_SECONDS = 1.0
_WINDOW = 60.0
"""Seconds in which a kind of refusal is written once."""
_KINDS_OF_A_KEY = 60
_KINDS_OF_NOBODY = 20
"""How many kinds are told apart in a window; what goes beyond is one more kind."""
_EVENTS_AT_ONCE = 5000
_DRAFTS_AT_ONCE = 500
_LONGEST = 300
_REST_SECONDS = 60.0
_LAST_SECONDS = 3.0
_log = logger("audit")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that was refused. `kind` is what makes it the same as another one of the same actor."""

    actor: str
    """`key:<id>` or `NOBODY`."""
    kind: tuple[str, ...]
    data: dict[str, JsonValue]


@dataclass(slots=True)
class _Group:
    first: dict[str, JsonValue]
    at: datetime
    count: int = 0
    written: float | None = None
    """When, on the clock's `elapsed`."""


@dataclass(slots=True)
class Gathered:
    """Refusals that are not written yet."""

    clock: Clock
    _groups: dict[str, dict[tuple[str, ...], _Group]] = field(default_factory=dict)

    def add(self, refusal: Refusal) -> None:
        groups = self._groups.setdefault(refusal.actor, {})
        most = _KINDS_OF_NOBODY if refusal.actor == NOBODY else _KINDS_OF_A_KEY
        kind = refusal.kind if refusal.kind in groups or len(groups) < most else ()
        group = groups.get(kind)
        if group is None:
            first: dict[str, JsonValue] = refusal.data if kind else {"others": True}
            group = groups[kind] = _Group(first, self.clock.now())
        elif not group.count:
            group.first, group.at = refusal.data if kind else group.first, self.clock.now()
        group.count += 1

    def due(self, *, everything: bool) -> list[Draft]:
        """What is to be written now. Call `add` again with what could not be."""
        now, drafts = self.clock.elapsed(), []
        for actor, groups in list(self._groups.items()):
            for kind, group in list(groups.items()):
                if not everything and group.written is not None and now - group.written < _WINDOW:
                    continue
                if not group.count:
                    del groups[kind]
                    continue
                drafts.append(Draft(AuditKind.REFUSED, group.at, actor, {**group.first, "count": group.count}))
                group.count, group.written = 0, now
            if not groups:
                del self._groups[actor]
        return drafts


class AuditTrail:
    """Writes the log of this server process. Several processes write one log."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._gathered = Gathered(clock)
        self._unwritten: list[Draft] = []
        self._bell = Doorbell()
        self._sealing = asyncio.Lock()

    def refused(self, refusal: Refusal) -> None:
        """Note a refusal; it is written soon."""
        self._gathered.add(refusal)
        self._bell.ring()

    async def run(self, bells: Bells) -> None:
        """Write what comes up, until cancelled. Survives trouble with the database."""
        with bells.events() as bell:
            self._bell = bell  # one bell for both: whichever rings, all is looked at
            while True:
                try:
                    await self.seal()
                except Unavailable as error:
                    _log.warning("the audit log waits", why=error.message)
                    bell.ring()
                except Exception:  # noqa: BLE001  the outermost guard of this loop
                    _log.exception("the audit log was not written")
                await pause(SEAL_SECONDS)
                await bell.wait(_REST_SECONDS)

    async def seal(self, *, everything: bool = False) -> Head:
        """Write all there is; `everything`: also refusals that would be counted for longer. Returns the log's head."""
        async with self._sealing:
            self._unwritten += self._gathered.due(everything=everything)
            while self._unwritten:
                await self._write_some()
            while await self._seal_events():
                pass
            return await self._database.read(audit.head)

    async def _write_some(self) -> None:
        drafts, self._unwritten = self._unwritten[:_DRAFTS_AT_ONCE], self._unwritten[_DRAFTS_AT_ONCE:]
        try:
            # If this is cancelled the database still does what it was given.
            await self._database.write(lambda unit: _append(unit, drafts))
        except Exception:
            self._unwritten = drafts + self._unwritten
            raise

    async def _seal_events(self) -> bool:
        """Seal events that are not yet. True if there may be more. They are read and hashed apart from the writing."""

        def look(unit: Unit) -> audit.Range | None:
            return audit.unsealed(unit, audit.head(unit).events_to, _EVENTS_AT_ONCE)

        found = await self._database.read(look)
        if found is None:
            return False
        at = self._clock.now()
        await self._database.write(lambda unit: audit.append_events(unit, found, at))
        return found.count == _EVENTS_AT_ONCE

    async def end(self) -> None:
        """Write all there is for the last time, and say in the process's log where the audit log ends."""
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                head = await self.seal(everything=True)
        except (AgentVineError, TimeoutError) as error:
            _log.warning("the last of the audit log was not written", why=str(error))
        else:
            _log.info("the audit log ends", head=f"{head.seq}:{head.hash}")


def _append(unit: Unit, drafts: list[Draft]) -> None:
    for draft in drafts:
        audit.append(unit, draft)


def told(text: str) -> str:
    """What somebody has sent, as it can be kept: not too long, and without what is no text."""
    return text[:_LONGEST].encode("utf-8", "replace").decode()
