"""What the fleet does about a model whose limit is used up: nobody of that account is given work before its reset."""

from datetime import timedelta
from random import Random

from agentvine.domain.model_limit import UNKNOWN_SECONDS, ModelLimit
from agentvine.domain.retry import LONGEST_WAIT, Failure, FailureReason
from agentvine.kit.clock import Clock
from agentvine.kit.logs import logger
from agentvine.store import model_limits
from agentvine.store.database import Database
from agentvine.store.unit import Unit

_LONGEST_WHY = 500
_log = logger("limits")


def noted(unit: Unit, clock: Clock, random: Random, worker_id: str, failure: Failure) -> Failure:
    """Remember a limit that a worker ran into. Returns the failure, for its order: not before the limit's end, spread.

    Any other failure comes back as it is.
    """
    if failure.reason is not FailureReason.MODEL_RATE_LIMITED:
        return failure
    wait = failure.retry_after_seconds or UNKNOWN_SECONDS
    now = clock.now()
    limit = ModelLimit(
        account=model_limits.account_of_worker(unit, worker_id),
        until=now + timedelta(seconds=wait),
        told_at=now,
        told_by=worker_id,
        why=failure.detail[:_LONGEST_WHY],
    )
    model_limits.note(unit, limit)
    _log.warning("a model account has to wait", account=limit.account, seconds=round(wait), worker_id=worker_id)
    return failure.model_copy(update={"retry_after_seconds": min(wait + limit.spread * random.random(), LONGEST_WAIT)})


class LimitsInForce:
    """What this process knows of limits, for its health. Looked up with each round of the reaper."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._limits: tuple[ModelLimit, ...] = ()

    async def look(self) -> None:
        """Look them up. Raises `Unavailable`."""
        now = self._clock.now()
        self._limits = await self._database.read(lambda unit: model_limits.lasting(unit, now))

    def degraded(self) -> dict[str, str]:
        """For each account that waits, until when."""
        now = self._clock.now()
        return {
            f"model {limit.account}": f"its limit is used up until {limit.until:%Y-%m-%d %H:%M:%S} UTC"
            for limit in self._limits
            if limit.until > now
        }
