"""What the HTTP application needs from the rest of the server; `main` assembles it, a test assembles its own."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.types import Scope

from agentvine.domain.key import Key
from agentvine.server.metrics import Metrics
from agentvine.server.waits import Waits
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.front_desk import FrontDesk

SERVICES = "agentvine.services"
"""Where a request's scope holds the `Services`."""
KEY = "agentvine.key"
"""Where it holds the `Key` that the gate found good; absent on open routes."""


@dataclass(frozen=True, slots=True)
class Services:
    """The use cases, each bound to the key of a request, and what belongs to this process."""

    identify: Callable[[str], Awaitable[Key]]
    """The key of a secret. Raises `Unauthenticated`."""
    control_plane: Callable[[Key], ControlPlane]
    front_desk: Callable[[Key], FrontDesk]
    latest_event: Callable[[], Awaitable[int]]
    """The number of the newest event that is visible; 0 if there is none."""
    check: Callable[[], Awaitable[None]]
    """Raises `Unavailable` unless the database answers."""
    degraded: Callable[[], dict[str, str]] = dict
    """What is missing without stopping the work, and why."""
    metrics: Metrics = field(default_factory=Metrics)
    waits: Waits = field(default_factory=Waits)


def services_of(scope: Scope) -> Services:
    """The services that serve the request of `scope`."""
    services: Services = scope[SERVICES]
    return services
