"""Of the people's side: workers, what is old, and which model accounts wait."""

from agentvine.domain.errors import Forbidden
from agentvine.domain.key import Key
from agentvine.domain.model_limit import ModelLimit
from agentvine.domain.worker import Worker
from agentvine.server.chronicle import actor_of
from agentvine.server.permits import known, not_found, permit
from agentvine.server.pruning import Pruner
from agentvine.server.worker_desk import ControlPlaneService
from agentvine.store import model_limits, workers
from agentvine.store.unit import Unit
from agentvine.wire import administration as adm
from agentvine.wire import routes


class FleetDesk:
    """A part of `FrontDesk`, for one key."""

    def __init__(self, control: ControlPlaneService, pruner: Pruner, key: Key) -> None:
        self._control = control
        self._pruner = pruner
        self._key = key

    async def workers(self) -> tuple[Worker, ...]:
        permit(self._key, routes.WORKERS)
        return await self._control.database.read(workers.everyone)

    async def worker(self, worker_id: str) -> Worker:
        permit(self._key, routes.WORKER)

        def look(unit: Unit) -> Worker:
            worker = workers.get(unit, known("worker", worker_id))
            if worker is None:
                raise not_found("worker", worker_id)
            return worker

        return await self._control.database.read(look)

    async def drain_worker(self, worker_id: str) -> Worker:
        permit(self._key, routes.DRAIN_WORKER)
        worker = await self._control.database.write(lambda unit: self._control.registry.drain(unit, worker_id))
        self._control.heartbeats.drain(worker_id)
        return worker

    async def prune(self, pruning: adm.Pruning) -> adm.Pruned:
        permit(self._key, routes.PRUNE)
        if self._key.scope.restricted:
            raise Forbidden("this removes what is old everywhere; this key's scope is not", needs={"scope": "all"})
        return await self._pruner.prune(pruning, actor_of(self._key))

    async def model_limits(self) -> tuple[ModelLimit, ...]:
        permit(self._key, routes.MODEL_LIMITS)
        now = self._control.clock.now()
        return await self._control.database.read(lambda unit: model_limits.lasting(unit, now))

    async def lift_model_limit(self, account: str) -> tuple[ModelLimit, ...]:
        permit(self._key, routes.LIFT_MODEL_LIMIT)
        if not await self._control.database.write(lambda unit: model_limits.lift(unit, account)):
            raise not_found("model limit", account)
        await self._control.limits.look()
        return await self.model_limits()
