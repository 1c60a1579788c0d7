"""Workers at the desk of errands: who may ask, and waiting. What is a transaction stands in `errands.py`.

A claim that waits is woken when something is wished, and when what is there becomes due. Between the two nothing is
looked at; a lost ring is made good for by the next claim.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from agentvine.domain.errand import ErrandResult
from agentvine.domain.errors import LeaseLost
from agentvine.domain.key import Key
from agentvine.kit import failpoints
from agentvine.kit.clock import Clock
from agentvine.kit.logs import logger
from agentvine.server.bells import Bells
from agentvine.server.errands import Errands, NotTaken, taker_of
from agentvine.server.holding import own_worker
from agentvine.server.permits import known, permit, permit_errand
from agentvine.server.reading import clamped
from agentvine.store import errands, repositories
from agentvine.store.database import Database, database_out_of_reach
from agentvine.store.repositories import Known
from agentvine.store.unit import Unit
from agentvine.wire import routes
from agentvine.wire.errands import ErrandClaim, ErrandHeld, GivenErrand

_SOON = 0.05
"""Seconds that are waited at least between two looks for what is due."""
_NOT_TAKEN = "what came back could not be taken"
_log = logger("errands")


@dataclass(frozen=True, slots=True)
class ErrandDesk:
    """`ErrandPlane` for one key."""

    database: Database
    clock: Clock
    bells: Bells
    errands: Errands
    key: Key

    async def claim(self, ask: ErrandClaim) -> GivenErrand | None:
        permit(self.key, routes.CLAIM_ERRAND)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + clamped(ask.wait_seconds)
        with self.bells.errands() as bell:
            while True:
                ready_at = await self.database.read(lambda unit: self._ready_at(unit, ask))
                due_in = (ready_at - self.clock.now()).total_seconds() if ready_at is not None else None
                if due_in is not None and due_in <= 0 and (given := await self._claim(ask)) is not None:
                    return given
                left = deadline - loop.time()
                if left <= 0:
                    return None
                await bell.wait(left if due_in is None else min(left, max(due_in, _SOON)))

    async def held(self, errand_id: str, held: ErrandHeld) -> Known | None:
        """The repository of an errand that this worker has, if an operator has said something of it.

        Raises `LeaseLost`.
        """
        permit(self.key, routes.ERRAND_CREDENTIAL)

        def look(unit: Unit) -> Known | None:
            own_worker(unit, held.worker_id, self.key)
            repository = errands.held(unit, known("errand", errand_id), held.worker_id, self.clock.now())
            if repository is None:
                raise LeaseLost("this errand is somebody else's by now, or done", status="lost")
            of = repositories.of(unit, repository)
            permit_errand(self.key, repository, of.repository.settings if of is not None else None)
            return of

        return await self.database.read(look)

    async def end(self, errand_id: str, result: ErrandResult) -> None:
        """Raises what `Errands.end` does, but for `NotTaken`: then the errand is put off, for all to see why."""
        permit(self.key, routes.END_ERRAND)
        try:
            await self._end(errand_id, result)
        except NotTaken as error:
            _log.error("what an errand brought could not be taken", errand_id=errand_id, exc_info=error)
            await self._end(errand_id, ErrandResult(worker_id=result.worker_id, error=f"{_NOT_TAKEN}: {error}"[:2000]))

    async def left(self, worker_id: str) -> None:
        """What this worker was given, which has left, is there for others."""
        await self.database.write(lambda unit: errands.release_all(unit, worker_id))

    async def _end(self, errand_id: str, result: ErrandResult) -> None:
        await failpoints.committed(
            "errandresult",
            self.database.write,
            lambda unit: self.errands.end(unit, errand_id, result, self.key),
            database_out_of_reach,
        )

    def _ready_at(self, unit: Unit, ask: ErrandClaim) -> datetime | None:
        if own_worker(unit, ask.worker_id, self.key).draining:
            return None
        if errands.has_one(unit, ask.worker_id):
            return self.clock.now()
        return errands.next_ready_at(unit, taker_of(unit, ask.worker_id, self.key))

    async def _claim(self, ask: ErrandClaim) -> GivenErrand | None:
        return await failpoints.committed(
            "errandclaim",
            self.database.write,
            lambda unit: self.errands.claim(unit, ask, self.key),
            database_out_of_reach,
        )
