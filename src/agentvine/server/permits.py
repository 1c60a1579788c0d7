"""Who may do what, and whether a name can be one at all."""

import re

from agentvine.domain.errors import Forbidden, NotFound, Unauthenticated
from agentvine.domain.key import Key
from agentvine.wire.routes import Route

_ID = re.compile(r"[a-z]{2,3}_[0-9a-z_.-]{1,120}")


def bad_key() -> Unauthenticated:
    """The error for a key that opens nothing. Never says what is wrong with it."""
    return Unauthenticated("this API key is unknown, expired or revoked")


def permit(key: Key, route: Route) -> None:
    """Raises `Forbidden` unless the key's role may use the route."""
    if key.scope.role not in route.roles:
        roles = sorted(role.value for role in route.roles)
        raise Forbidden(f"this takes a key with the role {' or '.join(roles)}", needs={"role": roles})


def permit_type(key: Key, type_: str) -> None:
    """Raises `Forbidden` unless the key is for this type."""
    if key.scope.worker_types and type_ not in key.scope.worker_types:
        raise Forbidden(f"this key is not for the type {type_}", needs={"worker_type": str(type_)})


def permit_repository(key: Key, repository: str) -> None:
    """Raises `Forbidden` unless the key is for this repository."""
    if key.scope.repositories and repository not in key.scope.repositories:
        raise Forbidden("this key is not for that repository", needs={"repository": repository})


def known(kind: str, identifier: str) -> str:
    """`identifier`, if it can be one. Raises `NotFound`, as for one that can be and is not there."""
    if not _ID.fullmatch(identifier):
        raise not_found(kind, identifier)
    return identifier


def not_found(kind: str, identifier: str) -> NotFound:
    """The error for what is not there."""
    shown = identifier[:200].encode("utf-8", "replace").decode()
    return NotFound(f"there is no {kind} {shown!r}", kind=kind, id=shown)
