"""What a running command works with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentvine.cli.render import Screen
    from agentvine.kit.clock import Clock
    from agentvine.wire.front_desk import FrontDesk


@dataclass(frozen=True, slots=True)
class Call:
    """A command that runs: the server's front desk, two outputs, and the time."""

    desk: "FrontDesk"
    screen: "Screen"
    clock: "Clock"
