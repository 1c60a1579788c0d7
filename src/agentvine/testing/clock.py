"""A clock that stands still until it is moved."""

from datetime import UTC, datetime, timedelta

_START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


class ManualClock:
    """`kit.clock.Clock`, moved by hand; both of its clocks, or the wall clock alone."""

    def __init__(self, start: datetime = _START) -> None:
        self._now = start
        self._elapsed = 1000.0

    def now(self) -> datetime:
        return self._now

    def elapsed(self) -> float:
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self._now += timedelta(seconds=seconds)
        self._elapsed += seconds

    def set_back(self, seconds: float) -> None:
        """Somebody puts the wall clock back; forward if negative. No time passes."""
        self._now -= timedelta(seconds=seconds)
