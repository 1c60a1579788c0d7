"""Model accounts whose limit is used up."""

from datetime import datetime

from agentvine.domain.model_limit import DEFAULT_ACCOUNT, ModelLimit
from agentvine.store.rows import build, micros, moment
from agentvine.store.unit import Row, Unit


def note(unit: Unit, limit: ModelLimit) -> None:
    """Keep it; of two for an account the one that lasts longer stays."""
    unit.run(
        """INSERT INTO model_limits (account, until, told_at, told_by, why)
           VALUES (:account, :until, :told_at, :told_by, :why)
           ON CONFLICT (account) DO UPDATE SET
               until = excluded.until, told_at = excluded.told_at, told_by = excluded.told_by, why = excluded.why
           WHERE model_limits.until < excluded.until""",
        account=limit.account,
        until=micros(limit.until),
        told_at=micros(limit.told_at),
        told_by=limit.told_by,
        why=limit.why,
    )


def lasting(unit: Unit, now: datetime) -> tuple[ModelLimit, ...]:
    """Those that are not over, the first to end first."""
    rows = unit.all("SELECT * FROM model_limits WHERE until > :now ORDER BY until, account", now=micros(now))
    return tuple(_limit(row) for row in rows)


def lift(unit: Unit, account: str) -> bool:
    """True if there was one."""
    return bool(unit.run("DELETE FROM model_limits WHERE account = :account", account=account))


def forget_from_ahead(unit: Unit, ahead: datetime) -> int:
    """Forget what was told after `ahead`, on a clock that has been taken back since. Returns how many."""
    return unit.run("DELETE FROM model_limits WHERE told_at > :ahead", ahead=micros(ahead))


def account_of_worker(unit: Unit, worker_id: str) -> str:
    """The account that this worker uses."""
    row = unit.one("SELECT account FROM workers WHERE id = :id", id=worker_id)
    return str(row["account"]) if row else DEFAULT_ACCOUNT


def _limit(row: Row) -> ModelLimit:
    return build(
        ModelLimit,
        {
            "account": row["account"],
            "until": moment(row["until"]),
            "told_at": moment(row["told_at"]),
            "told_by": row["told_by"],
            "why": row["why"],
        },
    )
