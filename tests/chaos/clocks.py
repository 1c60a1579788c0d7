"""Wall clocks that a run can set: of the server, and of the host that its workers are on."""

from datetime import datetime, timedelta
from pathlib import Path

from agentvine.kit.clock import SystemClock

VARIABLE = "CHAOS_CLOCK"
"""Names the file in which stands how many seconds the clock is ahead."""


class SetClock(SystemClock):
    """The machine's clocks, but the wall clock is ahead by what stands in a file. The other one cannot be set."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=float(self._file.read_text(encoding="ascii") or 0))


def set_ahead(file: Path, seconds: float) -> None:
    """Set the clocks that read `file`, all at one moment."""
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{seconds:g}", encoding="ascii")
    fresh.replace(file)
