"""Whether a secret may be sent over the connection that a request came by, and that nobody between keeps it."""

from ipaddress import ip_address
from typing import TypeVar

from starlette.responses import Response
from starlette.types import Scope

from agentvine.domain.errors import Forbidden
from agentvine.server.services import Services

_R = TypeVar("_R", bound=Response)


def check_private(scope: Scope, services: Services) -> None:
    """Raises `Forbidden` if others could read what is answered.

    Private is what comes by TLS or from this machine, a proxy that says that it was asked in the clear excepted. A
    proxy elsewhere that speaks TLS to workers cannot be told from one that does not: a setting says that it does.
    """
    forwarded = dict(scope["headers"]).get(b"x-forwarded-proto", b"https").strip().lower()
    near = scope["scheme"] == "https" or _is_here(scope)
    if services.credentials_over_http or (near and forwarded.split(b",")[0].strip() == b"https"):
        return
    raise Forbidden(
        "no secret is sent in the clear: reach the server by https, or, if what is between is private, start it with "
        "AGENTVINE_SERVER_CREDENTIALS_OVER_HTTP=true",
        needs={"connection": "private"},
    )


def _is_here(scope: Scope) -> bool:
    client = scope.get("client")
    if not client:
        return True  # a socket of this machine's own
    try:
        return ip_address(client[0]).is_loopback
    except ValueError:
        return False


def not_to_be_kept(response: _R) -> _R:
    """`response`, which no cache may store (RFC 9111, section 5.2.2.5)."""
    response.headers["Cache-Control"] = "no-store"
    return response
