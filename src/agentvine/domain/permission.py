"""How far a worker may go on its own."""

from collections.abc import Iterable
from enum import StrEnum


class PermissionLevel(StrEnum):
    """Ordered: each level may do all that the ones below it may."""

    HUMAN_REQUIRED = "human_required"
    """Nothing leaves the worker before a person approved it."""
    SUPERVISED = "supervised"
    """An own branch and a pull request."""
    AUTONOMOUS = "autonomous"
    """Commits on the task's branch."""

    @property
    def rank(self) -> int:
        """0 for the lowest; what the claim query compares."""
        return _ORDER.index(self)


_ORDER = (PermissionLevel.HUMAN_REQUIRED, PermissionLevel.SUPERVISED, PermissionLevel.AUTONOMOUS)


def lowest(levels: Iterable[PermissionLevel]) -> PermissionLevel:
    """The level that wins where several apply. Raises ValueError if there is none."""
    return min(levels, key=lambda level: level.rank)
