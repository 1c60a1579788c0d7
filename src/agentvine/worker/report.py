"""Telling the server how an execution ended: once, with patience, and only as long as it matters."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from agentvine.domain.errors import AgentVineError, Conflict, InvalidInput, LeaseLost, NotFound, TooLarge
from agentvine.domain.execution import Usage
from agentvine.domain.retry import Failure, FailureReason
from agentvine.kit import failpoints
from agentvine.kit.backoff import Backoff
from agentvine.kit.clock import Clock
from agentvine.kit.doorbell import pause
from agentvine.kit.logs import logger
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.messages import Claimed, ClaimRequest, Completed, Completion, FailureReport, Parking, Surrender
from agentvine.worker.conclusion import Conclusion, Delivered, Failed, Parked
from agentvine.worker.lease import Holding

_PATIENCE = 600.0
"""Seconds after which a report that the server will not take is given up; without renewals the lease then runs out."""
_LONGEST_TEXT = 100_000

T = TypeVar("T")
_log = logger("report")


@dataclass(frozen=True, slots=True)
class Released:
    """The order goes back unharmed; the attempt does not count."""

    why: str


class Reporter:
    """Reports conclusions. Whatever is said twice, because an answer was lost, the server takes for once."""

    def __init__(self, plane: ControlPlane, clock: Clock) -> None:
        self._plane = plane
        self._clock = clock
        self._backoff = Backoff(first=0.5, most=30.0)

    async def report(
        self, holding: Holding, conclusion: Conclusion | Released, usage: Usage, ask: ClaimRequest | None = None
    ) -> Claimed | None:
        """Returns when the server knows, or nothing can be said any more. Raises nothing that the server answers.

        With `ask` a completion may bring the next order, which is the worker's then.
        """
        name = type(conclusion).__name__.lower()
        try:
            answer = await self._insist(lambda: self._say(holding, conclusion, usage, ask))
            _log.info("reported", work_order_id=holding.work_order_id, conclusion=name)
            return answer.next if isinstance(answer, Completed) else None
        except (LeaseLost, NotFound) as error:
            _log.warning("the report came too late", work_order_id=holding.work_order_id, reason=error.message)
        except (InvalidInput, TooLarge, Conflict) as error:
            _log.error("the server refuses the report", work_order_id=holding.work_order_id, reason=error.message)
            await self._report_refusal(holding, f"the server refused to take '{name}': {error.message}", usage)
        except AgentVineError as error:
            _log.error("the report is given up", work_order_id=holding.work_order_id, reason=error.message)
        return None

    async def _report_refusal(self, holding: Holding, why: str, usage: Usage) -> None:
        failed = Failed(Failure(reason=FailureReason.WORKER_ERROR, detail=_text(why)))
        try:
            await self._insist(lambda: self._say(holding, failed, usage))
        except AgentVineError as error:
            _log.error("the report is given up", work_order_id=holding.work_order_id, reason=error.message)

    async def _insist(self, say: Callable[[], Awaitable[T]]) -> T:
        """Say it until there is an answer, also when the order seems lost: it may be over because we said so before.

        Raises what cannot be mended by saying it again, or the last error.
        """
        began, attempt = self._clock.elapsed(), 0
        while True:
            attempt += 1
            try:
                await failpoints.reached("report.before")
                answer = await say()
                await failpoints.reached("report.after_reply")
                return answer
            except (Conflict, NotFound, InvalidInput, TooLarge):
                raise
            except AgentVineError as error:
                if self._clock.elapsed() - began > _PATIENCE:
                    raise
                _log.warning("the server does not take the report yet", attempt=attempt, reason=error.message)
                await pause(self._backoff.delay(attempt))

    def _say(
        self, holding: Holding, conclusion: Conclusion | Released, usage: Usage, ask: ClaimRequest | None = None
    ) -> Awaitable[object]:
        plane, order, token = self._plane, holding.work_order_id, holding.token
        match conclusion:
            case Delivered():
                summary = _text(conclusion.summary)
                delivery = conclusion.delivery
                completion = Completion(token=token, delivery=delivery, usage=usage, summary=summary, next=ask)
                return plane.complete(order, completion)
            case Failed():
                return plane.fail(order, FailureReport(token=token, failure=conclusion.failure, usage=usage))
            case Parked():
                return plane.park(order, Parking(token=token, request=conclusion.request, usage=usage))
            case Released():
                return plane.release(order, Surrender(token=token, usage=usage, why=conclusion.why))


def _text(text: str) -> str:
    """`text` as the wire takes it: without NUL, not too long."""
    return text.replace("\0", "")[:_LONGEST_TEXT]
