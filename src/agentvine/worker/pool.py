"""Claims work while a slot is free, and carries it out.

One claim is under way at a time, as a long poll under an execution id that this worker made. Until a claim is answered
it is asked again under the same id, which gets the same order: a lost answer costs nothing.

Whoever completes an order while all slots are taken asks for the next one in the same breath, so that a slot which is
fed from a long queue says one thing to the server where it would say two, and no other waits for it.

When the worker is told to leave, the poll is given up in the middle. The server may have claimed an order for it at
just that moment, so it is asked once more under the same id without waiting, and what comes is released at once: that
costs the order milliseconds and no attempt. If even that gets no answer, deregistering ends the lease; and if that does
not get through either, the order was never started and goes to somebody else after the acknowledgement time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from agentvine.domain.errors import (
    AgentVineError,
    Conflict,
    LeaseLost,
    NotFound,
    Superseded,
    Unavailable,
    UpgradeRequired,
)
from agentvine.domain.ids import new_id
from agentvine.domain.retry import Failure, FailureReason
from agentvine.kit import failpoints
from agentvine.kit.backoff import Backoff
from agentvine.kit.clock import Clock
from agentvine.kit.doorbell import Doorbell
from agentvine.kit.logs import logger
from agentvine.kit.shutdown import Shutdown
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.messages import Claimed, ClaimRequest, Surrender
from agentvine.worker.breaker import Breaker
from agentvine.worker.conclusion import Conclusion, Delivered, Executor, Failed, Progress
from agentvine.worker.heartbeat import Condition
from agentvine.worker.lease import Holding, LeaseKeeper
from agentvine.worker.report import Released, Reporter
from agentvine.worker.settings import WorkerConfig

STOP_SECONDS = 11.0
"""How long executions have, once they must go: 10 s for a stubborn process tree, 1 s to report."""
SAVE_SECONDS = 7.0
"""Until when, of these, what was done may still be stored, so that the next worker goes on with it."""
_SECOND_LOOK_SECONDS = 0.3
_ACKNOWLEDGING = Backoff(first=0.2, most=3.0)
"""Short: the server waits for it for a part of a lease only."""
_CLAIMING = "claiming work"

_LEFT = Released("the worker had to leave")

_log = logger("pool")


class Pool:
    """The slots. `run` returns when the worker was told to leave and nothing runs any more."""

    def __init__(
        self,
        config: WorkerConfig,
        worker_id: str,
        plane: ControlPlane,
        executor: Executor,
        leases: LeaseKeeper,
        condition: Condition,
        shutdown: Shutdown,
        clock: Clock,
        register: Callable[[], Awaitable[object]],
        superseded: Callable[[Superseded], None],
    ) -> None:
        self._config = config
        self._worker_id = worker_id
        self._plane = plane
        self._executor = executor
        self._leases = leases
        self._condition = condition
        self._shutdown = shutdown
        self._clock = clock
        self._register = register
        self._superseded = superseded
        self._reporter = Reporter(plane, clock)
        self._breaker = Breaker(executor, condition)
        self._backoff = Backoff(first=0.5, most=30.0)
        self._bell = Doorbell()
        self._claims = 0
        self._running: dict[asyncio.Task[None], str] = {}
        """What is carried out, with its work order's id."""
        self._progress: dict[str, Progress] = {}
        """Of what is carried out, by work order."""
        self._executions: set[asyncio.Task[Conclusion | None]] = set()
        self._handing_back = asyncio.Event()
        shutdown.rings(self._bell)

    async def run(self) -> None:
        """Serve until told to leave; then finish, within the grace period, or hand back."""
        try:
            while await self._slot_is_free():
                claimed = await self._claim()
                if claimed is not None:
                    await self._received(claimed)
            await self._finish(self._config.grace_seconds)
        finally:
            await self._hand_back()

    @property
    def stuck(self) -> int:
        """How many executions did not end although they were told to."""
        return len(self._executions)

    # ── claiming ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _slot_is_free(self) -> bool:
        """Wait for a free slot and for surroundings that work; False when there is nothing more to claim."""
        while len(self._running) >= self._config.slots and not self._shutdown.draining.is_set():
            await self._bell.wait()
        await self._breaker.mended(self._shutdown.draining)
        return not self._shutdown.draining.is_set()

    async def _claim(self) -> Claimed | None:
        """One order, or None if there was none this time. Raises nothing: a server out of reach is waited for."""
        execution_id, attempt = self._new_execution_id(), 0
        while not self._shutdown.draining.is_set():
            asked_at = self._clock.elapsed()
            try:
                claimed = await self._ask(execution_id)
            except Superseded as error:
                self._superseded(error)
                return None
            except Conflict:  # what was claimed under this id is somebody else's by now
                return None
            except AgentVineError as error:
                attempt += 1
                await self._recover(error, attempt)
                continue
            if self._shutdown.draining.is_set():
                return None
            self._condition.well(_CLAIMING)
            if claimed is None:
                await self._not_too_fast(asked_at)
            return claimed
        await self._give_up_claim(execution_id)
        return None

    async def _ask(self, execution_id: str) -> Claimed | None:
        """As `ControlPlane.claim`; None also if the worker was told to leave meanwhile."""
        asking = asyncio.create_task(self._plane.claim(self._request(execution_id, self._config.poll_interval)))
        leaving = asyncio.create_task(self._shutdown.draining.wait())
        try:
            await asyncio.wait({asking, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not self._shutdown.draining.is_set():
                return asking.result()
        finally:
            leaving.cancel()
            asking.cancel()
        await asyncio.wait({asking})
        if asking.cancelled() or asking.exception() is not None:
            await self._give_up_claim(execution_id)
        elif (claimed := asking.result()) is not None:
            await self._give_back(claimed)
        return None

    async def _give_up_claim(self, execution_id: str) -> None:
        """See to it that the claim under `execution_id`, to which there was no answer, leaves no order behind."""
        try:
            async with asyncio.timeout(_SECOND_LOOK_SECONDS):
                claimed = await self._plane.claim(self._request(execution_id, 0.0))
                if claimed is not None:
                    await self._give_back(claimed)
        except (AgentVineError, TimeoutError) as error:
            self._condition.trouble(_CLAIMING, f"the server did not answer when the worker left: {error}")

    async def _give_back(self, claimed: Claimed, why: str = "claimed while the worker was leaving") -> None:
        with suppress(AgentVineError):
            surrender = Surrender(token=claimed.lease.token, why=why)
            await self._plane.release(claimed.order.id, surrender)

    async def _received(self, claimed: Claimed) -> None:
        """Begin, or give back what this worker has lost its use for while it was asked for."""
        if self._breaker.why is not None:
            await self._give_back(claimed, self._breaker.why)
        elif self._shutdown.draining.is_set():
            await self._give_back(claimed)
        else:
            await failpoints.reached("claim.after_reply")
            self._begin(claimed)

    async def _recover(self, error: AgentVineError, attempt: int) -> None:
        delay = self._backoff.delay(attempt)
        _log.warning("cannot claim", attempt=attempt, again_in=round(delay, 1), reason=error.message)
        self._condition.trouble(_CLAIMING, error.message)
        if isinstance(error, (NotFound, UpgradeRequired)):
            with suppress(AgentVineError):
                await self._register()
        await self._rest(delay)

    async def _not_too_fast(self, asked_at: float) -> None:
        """A server that says "nothing" without waiting is not asked without waiting."""
        if (early := self._config.poll_interval - (self._clock.elapsed() - asked_at)) > self._config.poll_interval / 2:
            await self._rest(min(early, 1.0))

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._shutdown.draining.wait()

    def _request(self, execution_id: str, wait_seconds: float) -> ClaimRequest:
        return ClaimRequest(
            worker_id=self._worker_id,
            execution_id=execution_id,
            queue_names=self._config.queue_names,
            wait_seconds=wait_seconds,
            number=self._claims,
        )

    def _next_request(self) -> ClaimRequest | None:
        """To go with a completion. None if its slot is not to be filled, or a claim is under way for another one."""
        leaving = self._shutdown.draining.is_set() or self._breaker.why is not None
        if leaving or len(self._running) < self._config.slots:
            return None
        return self._request(self._new_execution_id(), 0.0)

    def _new_execution_id(self) -> str:
        self._claims += 1
        return new_id("exe", self._clock.now())

    # ── carrying out ─────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, claimed: Claimed) -> None:
        task = asyncio.create_task(self._carry_out(claimed), name=claimed.lease.execution_id)
        self._running[task] = claimed.order.id
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        work_order_id = self._running.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("an order was dropped", work_order_id=work_order_id, exc_info=error)
        self._condition.changed()
        self._bell.ring()

    async def _carry_out(self, claimed: Claimed) -> None:
        """An order's whole stay at this worker, and the next order in its slot if that comes with its completion."""
        holding = await self._taken(claimed)
        if holding is None:
            return
        following: Claimed | None = None
        await failpoints.reached("start.after_reply")
        self._condition.changed()
        try:
            progress = Progress(claimed, self._plane, ensure_held=holding.ensure)
            conclusion = await self._conclude(holding, progress)
            if conclusion is not None:
                conclusion = await self._judged(conclusion)
                ask = self._next_request() if isinstance(conclusion, Delivered) else None
                following = await self._reporter.report(holding, conclusion, progress.usage, ask)
        finally:
            self._leases.let_go(holding)
        if following is not None:
            await self._received(following)

    async def _judged(self, conclusion: Conclusion | Released) -> Conclusion | Released:
        """What is to be reported: an order is not to blame for what is wrong with this worker's surroundings."""
        if isinstance(conclusion, Failed):
            why = await self._breaker.blames(conclusion.failure)
            return conclusion if why is None else Released(why)
        if not isinstance(conclusion, Released):
            self._breaker.went_well()
        return conclusion

    async def _taken(self, claimed: Claimed) -> Holding | None:
        """Acknowledge the claim, until there is an answer: without one the order would count as lost by its worker.

        None: it is not ours. What cannot be acknowledged is given back.
        """
        began, attempt = self._clock.elapsed(), 0
        while True:
            attempt += 1
            try:
                return await self._leases.take(claimed)
            except LeaseLost as error:
                _log.warning("the order is not ours", work_order_id=claimed.order.id, reason=error.message)
                return None
            except AgentVineError as error:
                _log.warning("the claim is not acknowledged", work_order_id=claimed.order.id, reason=error.message)
                late = self._clock.elapsed() - began > claimed.lease_seconds
                if late or self._handing_back.is_set() or not isinstance(error, Unavailable):
                    await self._give_back(claimed, "the claim could not be acknowledged")
                    return None
            with suppress(TimeoutError):
                async with asyncio.timeout(_ACKNOWLEDGING.delay(attempt)):
                    await self._handing_back.wait()

    async def _conclude(self, holding: Holding, progress: Progress) -> Conclusion | Released | None:
        """How the execution ended; None if the order is not ours any more, and nothing may be said."""
        if self._handing_back.is_set():
            return _LEFT
        execution = asyncio.create_task(self._execute(holding.claimed, progress))
        holding.execution = execution
        self._progress[holding.work_order_id] = progress
        self._executions.add(execution)
        execution.add_done_callback(self._executions.discard)
        try:
            await asyncio.wait({execution})
        finally:
            holding.execution = None
            self._progress.pop(holding.work_order_id, None)
            execution.cancel()
        if holding.loss is not None:
            return None
        if execution.cancelled():
            return _LEFT if self._handing_back.is_set() else _broken("it was cancelled from within")
        return execution.result()

    async def _execute(self, claimed: Claimed, progress: Progress) -> Conclusion | None:
        """As `Executor.execute`, but with an end to its time, and every error made a conclusion; None: not ours."""
        limit = claimed.task.asked.timeout_seconds or self._config.task_timeout
        timer = asyncio.timeout(limit)
        try:
            async with timer:
                return await self._executor.execute(claimed, progress)
        except LeaseLost as error:
            _log.warning("stopped: the order is not ours", work_order_id=claimed.order.id, reason=error.message)
            return None
        except Exception as error:  # noqa: BLE001  the boundary of an execution: it becomes an outcome
            if timer.expired():
                return Failed(Failure(reason=FailureReason.TIMEOUT, detail=f"it was not finished after {limit} s"))
            _log.exception("the execution broke", work_order_id=claimed.order.id)
            return _broken(f"{type(error).__name__}: {error}")

    # ── leaving ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _finish(self, grace: float) -> None:
        """Let what runs come to its end, until the grace period is over or somebody says stop."""
        if not self._running:
            return
        _log.info("finishing what runs", orders=sorted(self._running.values()), grace_seconds=grace)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self._running and not self._shutdown.stopping.is_set():
                    await self._bell.wait()

    async def _hand_back(self) -> None:
        """End every execution, its order released; give up on what does not end in time."""
        self._handing_back.set()
        leave_by = asyncio.get_running_loop().time() + SAVE_SECONDS
        for name, holding in self._leases.held.items():
            if holding.execution is not None:
                if holding.loss is None and name in self._progress:
                    self._progress[name].leave_by = leave_by
                holding.execution.cancel()
        if not self._running:
            return
        _, late = await asyncio.wait(set(self._running), timeout=STOP_SECONDS)
        for task in late:
            _log.error("an order could not be handed back in time", work_order_id=self._running[task])
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)


def _broken(why: str) -> Failed:
    detail = f"the worker failed, its log says more: {why}".replace("\0", "")
    return Failed(Failure(reason=FailureReason.WORKER_ERROR, detail=detail[:10_000]))
