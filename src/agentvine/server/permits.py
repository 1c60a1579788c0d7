"""Who may do what, and whether a name can be one at all."""

import re

from agentvine.domain.errors import Forbidden, NotFound, Unauthenticated
from agentvine.domain.key import Key, Role, Scope, WorkerKey
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.repository_settings import RepositorySettings, address_of
from agentvine.domain.work_order import WorkOrder
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


def permit_worker(key: Key, worker_id: str) -> None:
    """Raises `Forbidden` if a session of another worker speaks."""
    if isinstance(key, WorkerKey) and key.worker_id != worker_id:
        raise Forbidden(f"this session is {key.worker_id}'s", needs={"worker": worker_id})


def permit_order(key: Key, order: WorkOrder) -> None:
    """Raises `Forbidden` unless the key may act on this order."""
    permit_type(key, order.type)
    permit_repository(key, order.repository)
    permit_level(key, order)


def permit_level(key: Key, order: WorkOrder) -> None:
    """Raises `Forbidden` if the order's permission level is above the key's."""
    if order.permission_level.rank > key.scope.permission_level.rank:
        level = order.permission_level.value
        raise Forbidden(f"this key is not for orders of the level {level}", needs={"permission_level": level})


def sees(key: Key, order: WorkOrder) -> bool:
    """True if the key may look at this order. Levels are about acting; but a worker sees what it may work on only."""
    scope = key.scope
    return (
        _covers(scope, order.repository)
        and (not scope.worker_types or order.type in scope.worker_types)
        and (scope.role is not Role.WORKER or order.permission_level.rank <= scope.permission_level.rank)
    )


def permit_type(key: Key, type_: str) -> None:
    """Raises `Forbidden` unless the key is for this type."""
    if key.scope.worker_types and type_ not in key.scope.worker_types:
        raise Forbidden(f"this key is not for the type {type_}", needs={"worker_type": str(type_)})


def permit_repository(key: Key, repository: str) -> None:
    """Raises `Forbidden` unless the key is for this repository, however it is spelled."""
    if not _covers(key.scope, repository):
        raise Forbidden("this key is not for that repository", needs={"repository": repository})


def runs_errands(key: Key, repository: str, said: RepositorySettings | None) -> bool:
    """Whether the key may run errands of this repository, of which `said` was said.

    What an errand brings back becomes tasks of any type, up to the level of the repository, and with it comes the
    credential that pushes. So it takes a key that may work on all of that.
    """
    most = said.permission_level if said is not None else None
    needed = most if most is not None else PermissionLevel.AUTONOMOUS
    scope = key.scope
    return not scope.worker_types and scope.permission_level.rank >= needed.rank and _covers(scope, repository)


def permit_errand(key: Key, repository: str, said: RepositorySettings | None) -> None:
    """Raises `Forbidden` unless `runs_errands`."""
    permit_repository(key, repository)
    if not runs_errands(key, repository, said):
        raise Forbidden("errands take a worker's key without a limit of types, and of the repository's level")


def _covers(scope: Scope, repository: str) -> bool:
    """Whether a repository, however it is spelled, is within the scope."""
    if not scope.repositories or repository in scope.repositories:
        return True
    return address_of(repository) in {address_of(named) for named in scope.repositories}


def known(kind: str, identifier: str) -> str:
    """`identifier`, if it can be one. Raises `NotFound`, as for one that can be and is not there."""
    if not _ID.fullmatch(identifier):
        raise not_found(kind, identifier)
    return identifier


OUT_OF_SCOPE = "out of scope"
"""The note on a `NotFound` that only hides from a key what it may not see; the audit log tells the two apart."""


def hidden(kind: str, identifier: str) -> NotFound:
    """The error for what is there, but not for this key."""
    error = not_found(kind, identifier)
    error.add_note(OUT_OF_SCOPE)
    return error


def not_found(kind: str, identifier: str) -> NotFound:
    """The error for what is not there."""
    shown = identifier[:200].encode("utf-8", "replace").decode()
    return NotFound(f"there is no {kind} {shown!r}", kind=kind, id=shown)
