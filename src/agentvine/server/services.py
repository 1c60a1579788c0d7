"""What the HTTP application needs from the rest of the server; `main` assembles it, a test assembles its own."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.types import Scope

from agentvine.domain.key import Key
from agentvine.server.audit import Refusal
from agentvine.server.expulsion import Expulsion
from agentvine.server.metrics import Metrics
from agentvine.server.waits import KEY, Waits
from agentvine.server.webhooks import Webhooks
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.front_desk import FrontDesk

__all__ = ["KEY", "SERVICES", "Services", "services_of"]

SERVICES = "agentvine.services"
"""Where a request's scope holds the `Services`."""


@dataclass(frozen=True, slots=True)
class Services:
    """The use cases, each bound to the key of a request, and what belongs to this process."""

    identify: Callable[[str], Awaitable[Key]]
    """The key of a secret. Raises `Unauthenticated`."""
    speaking: Callable[[Key, str], Awaitable[Key]]
    """A worker's key, bound to the process of a session token. Raises `Unauthenticated`, `Superseded`, `Forbidden`."""
    control_plane: Callable[[Key], ControlPlane]
    front_desk: Callable[[Key], FrontDesk]
    latest_event: Callable[[], Awaitable[int]]
    """The number of the newest event that is visible; 0 if there is none."""
    check: Callable[[], Awaitable[None]]
    """Raises `Unavailable` unless the database answers."""
    expulsion: Expulsion
    """Ends those of the `waits` whose key has ended."""
    refused: Callable[[Refusal], None]
    """Told of what is refused, for the audit log."""
    degraded: Callable[[], dict[str, str]] = dict
    """What is missing without stopping the work, and why."""
    credentials_over_http: bool = False
    """Whether secrets of repositories may be sent to workers whatever the connection is."""
    webhooks: Webhooks | None = None
    """Takes what forges say."""
    waits: Waits = field(default_factory=Waits)
    metrics: Metrics = field(default_factory=Metrics)


def services_of(scope: Scope) -> Services:
    """The services that serve the request of `scope`."""
    services: Services = scope[SERVICES]
    return services
