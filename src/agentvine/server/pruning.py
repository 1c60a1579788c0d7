"""Removes what is old, some at a time: between two transactions everybody else gets the database."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TypeVar

from agentvine.domain.audit import AuditKind
from agentvine.domain.errors import AgentVineError
from agentvine.kit.clock import Clock
from agentvine.kit.doorbell import pause
from agentvine.kit.logs import logger
from agentvine.server.audit import AuditTrail
from agentvine.server.chronicle import SERVER
from agentvine.store import audit, retention
from agentvine.store.artifacts import ArtifactFolder
from agentvine.store.audit import Draft
from agentvine.store.database import Database
from agentvine.store.retention import Counts, Remove, Step
from agentvine.store.unit import Unit
from agentvine.wire import administration as adm

T = TypeVar("T")
BUSY_SECONDS = 5.0
"""After so long the rest is left for the next time."""
ROUND_SECONDS = 3600.0
"""From one look for what has grown old to the next."""
_DAY = 86_400.0
_REMOVERS: Mapping[adm.Prunable, Remove] = MappingProxyType(
    {
        adm.Prunable.ORDERS: retention.orders,
        adm.Prunable.TRANSCRIPTS: retention.transcripts,
        adm.Prunable.ARTIFACTS: retention.artifacts,
        adm.Prunable.WORKERS: retention.workers,
    }
)
"""Orders first: what goes with them is not looked at again."""
_log = logger("pruning")


class _OnlyCounted(Exception):
    """Undoes a transaction that was made to count. Holds what it would have done."""

    def __init__(self, step: Step) -> None:
        super().__init__("only counted")
        self.step = step


class Pruner:
    """Of one server. Several do no harm to one another."""

    def __init__(self, database: Database, artifacts: ArtifactFolder, clock: Clock, trail: AuditTrail) -> None:
        self._database = database
        self._artifacts = artifacts
        self._clock = clock
        self._trail = trail

    async def run(self, days: Mapping[adm.Prunable, float]) -> None:
        """Now, and then once an hour, remove what is older than so many days, until cancelled."""
        while True:
            for what, kept in days.items():
                try:
                    await self.prune_all(adm.Pruning(older_than_seconds=kept * _DAY, what=(what,)), SERVER)
                except AgentVineError as error:
                    _log.warning("not pruned", what=what.value, why=error.message)
                except Exception:  # noqa: BLE001  the outermost guard of this loop
                    _log.exception("not pruned", what=what.value)
            await pause(ROUND_SECONDS)

    async def prune_all(self, pruning: adm.Pruning, actor: str) -> None:
        """As `prune`, until there is no more."""
        while (done := await self.prune(pruning, actor)).more:
            _log.info("pruned; there is more", **done.model_dump(exclude_defaults=True))

    async def prune(self, pruning: adm.Pruning, actor: str) -> adm.Pruned:
        """Remove what is old, for some seconds. The audit log tells who removed how much."""
        began, now = self._clock.elapsed(), self._clock.now()
        before = now - timedelta(seconds=pruning.older_than_seconds)
        counts, more = Counts(), False
        for what, remove in _REMOVERS.items():
            if what in pruning.what and not more:
                found, more = await self._go_through(remove, before, now, began, dry_run=pruning.dry_run)
                counts += _not_twice(found, what, pruning)
        wants_events = adm.Prunable.EVENTS in pruning.what and not more
        if pruning.dry_run:
            if wants_events:
                counts += Counts(events=await self._database.read(lambda unit: _old_events(unit, before)))
            return adm.Pruned(dry_run=True, **asdict(counts))
        up_to = await self._seal(counts, before, pruning, actor, events=wants_events)
        if up_to:
            found, more = await self._remove_events(up_to, began)
            counts += found
        files, size = await self._sweep(now) if counts.artifacts or not more else (0, 0)
        return adm.Pruned(dry_run=False, **asdict(counts), files=files, file_bytes=size, more=more)

    async def _go_through(
        self, remove: Remove, before: datetime, now: datetime, began: float, *, dry_run: bool
    ) -> tuple[Counts, bool]:
        """What one kind came to, and whether it was left in the middle. A dry run counts all of it."""
        counts, position = Counts(), ""
        while True:
            step = await self._step(_bound(remove, before, now, position), dry_run=dry_run)
            counts += step.counts
            if step.position is None:
                return counts, False
            position = step.position
            if not dry_run and self._clock.elapsed() - began > BUSY_SECONDS:
                return counts, True

    async def _step(self, work: Callable[[Unit], Step], *, dry_run: bool) -> Step:
        def counted(unit: Unit) -> Step:
            raise _OnlyCounted(work(unit))

        try:
            return await self._database.write(counted if dry_run else work)
        except _OnlyCounted as only:
            return only.step

    async def _seal(self, counts: Counts, before: datetime, pruning: adm.Pruning, actor: str, *, events: bool) -> int:
        """Write into the audit log what was removed, and which events will be. Returns up to which; 0: none."""
        await self._trail.seal(everything=True)
        at = self._clock.now()

        def work(unit: Unit) -> int:
            earlier = audit.pruned_to(unit)
            up_to = retention.last_old_event(unit, before) if events else 0
            if up_to > earlier or counts != Counts():
                data = {
                    "older_than_seconds": pruning.older_than_seconds,
                    "events_to": max(up_to, earlier),
                    **{name: number for name, number in asdict(counts).items() if number},
                }
                audit.append(unit, Draft(AuditKind.PRUNED, at, actor, data))
            return max(up_to, earlier)

        return await self._database.write(work)

    async def _remove_events(self, up_to: int, began: float) -> tuple[Counts, bool]:
        counts = Counts()
        while True:
            step = await self._database.write(lambda unit: retention.old_events(unit, up_to))
            counts += step.counts
            if step.position is None:
                return counts, False
            if self._clock.elapsed() - began > BUSY_SECONDS:
                return counts, True

    async def _sweep(self, now: datetime) -> tuple[int, int]:
        """Remove the files of contents that no artifact names any more. Returns how many, and their bytes."""
        loop = asyncio.get_running_loop()

        def named(beginning: str) -> frozenset[str]:
            looking = self._database.read(lambda unit: retention.named_digests(unit, beginning))
            return asyncio.run_coroutine_threadsafe(looking, loop).result()

        return await asyncio.to_thread(self._artifacts.sweep, named, now.timestamp())


def _bound(remove: Remove, before: datetime, now: datetime, position: str) -> Callable[[Unit], Step]:
    return lambda unit: remove(unit, before, now, position)


def _not_twice(found: Counts, what: adm.Prunable, pruning: adm.Pruning) -> Counts:
    """Of what was only counted, that which the next kinds count as well is left to them."""
    if not pruning.dry_run or what is not adm.Prunable.ORDERS:
        return found
    if adm.Prunable.TRANSCRIPTS in pruning.what:
        found = replace(found, transcript_entries=0)
    if adm.Prunable.ARTIFACTS in pruning.what:
        found = replace(found, artifacts=0, artifact_bytes=0)
    return found


def _old_events(unit: Unit, before: datetime) -> int:
    return retention.events_up_to(unit, retention.last_old_event(unit, before))
