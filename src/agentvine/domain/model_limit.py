"""A model account whose limit is used up: until when nobody who uses it is given work, and who begins when after that.

An account is what workers with the same address and key of the model share. All of them would run into the same limit,
each at the cost of an order's time; and at the moment of the reset all would begin at once, and use up the next one.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import StringConstraints

from agentvine.domain.base import Model, Moment, Note

ModelAccount = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}$")]
"""A name that says nothing of the key."""
DEFAULT_ACCOUNT = "default"
UNKNOWN_SECONDS = 60.0
"""How long a limit is taken to last whose end nobody said."""
_SHARE = 0.1
_LEAST_SPREAD, _MOST_SPREAD = 2.0, 120.0


class ModelLimit(Model):
    """Told by a worker that was refused."""

    account: ModelAccount
    until: Moment
    told_at: Moment
    told_by: str
    """The worker."""
    why: Note

    @property
    def spread(self) -> float:
        """Over how many seconds after the limit's end its workers begin: a tenth of its length, within bounds."""
        return spread_of(self.until, self.told_at)

    def begins(self, worker_id: str) -> datetime:
        """From when this worker may work again: one of `spread` evenly, and the same each time it is asked."""
        return begins(self.until, self.spread, worker_id)


def spread_of(until: datetime, told_at: datetime) -> float:
    """As `ModelLimit.spread`."""
    return min(max((until - told_at).total_seconds() * _SHARE, _LEAST_SPREAD), _MOST_SPREAD)


def begins(until: datetime, spread: float, worker_id: str) -> datetime:
    """As `ModelLimit.begins`."""
    drawn = hashlib.sha256(f"{worker_id} {until.timestamp()}".encode()).digest()
    return until + timedelta(seconds=spread * int.from_bytes(drawn[:4]) / 2**32)


def account_of(base_url: str | None, key: str | None) -> str:
    """The name of the account that is reached with this address and key."""
    if key is None:
        return DEFAULT_ACCOUNT
    return hashlib.sha256(f"{base_url or ''}\0{key}".encode()).hexdigest()[:12]
