"""Which wire protocol a worker and a server speak with each other, so that both may be upgraded one after the other.

The number grows when what is said changes its meaning, not when something is added that the other side may ignore. A
release speaks the newest number it knows and at least the one before. When a worker registers, both settle on the
newest that both speak; without a common one it is refused with `UpgradeRequired` and nothing has changed.

    1   what those speak that say no number
    2   a worker numbers its claims
"""

from agentvine.domain.errors import UpgradeRequired

NEWEST = 2
OLDEST = 1
HEADER = "AgentVine-Protocol"
"""Every answer of a server says with it the newest number that it speaks."""


def spoken(protocol: int) -> bool:
    """True if this release speaks it."""
    return OLDEST <= protocol <= NEWEST


def agreed(newest: int, oldest: int) -> int:
    """The newest number that a worker that speaks `oldest` to `newest` shares with this server.

    Raises `UpgradeRequired` if there is none.
    """
    common = min(newest, NEWEST)
    if common < max(oldest, OLDEST):
        raise not_spoken(newest, "worker" if newest < OLDEST else "server")
    return common


def check_agreed(protocol: int) -> None:
    """For a worker that was told this number when it registered. Raises `UpgradeRequired` if it does not speak it."""
    if not spoken(protocol):
        upgrade = "worker" if protocol > NEWEST else "server"
        raise UpgradeRequired(
            f"the server chose protocol {protocol}, this worker speaks {OLDEST} to {NEWEST}: upgrade the {upgrade}",
            oldest=protocol,
            newest=protocol,
        )


def not_spoken(protocol: int, upgrade: str) -> UpgradeRequired:
    """The error for a worker that speaks `protocol`; `upgrade` says which of the two is too old."""
    return UpgradeRequired(
        f"the worker speaks protocol {protocol}, the server {OLDEST} to {NEWEST}: upgrade the {upgrade}",
        oldest=OLDEST,
        newest=NEWEST,
    )
