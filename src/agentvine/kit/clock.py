"""The one source of time.

Two clocks, for two questions. *When did it happen?* is answered by the wall clock, which people can set. *How long ago
was it?* is answered by the boot-time clock, which nobody can set and which goes on while the machine is suspended: a
worker that slept past its lease must notice on waking (clock_gettime(2), CLOCK_BOOTTIME).
"""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time; handed to whatever needs it, so that a test can hold it still."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        ...

    def elapsed(self) -> float:
        """Seconds since an arbitrary fixed moment, suspend included; only differences mean anything."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def elapsed(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
