"""API keys: made, listed, given another secret, revoked."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from agentvine.cli.call import Call
from agentvine.cli.command import Json, command
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.worker_types import TaskType

if TYPE_CHECKING:
    from datetime import datetime

    from agentvine.domain.key import Key
    from agentvine.wire.administration import NewKey

_LONGEST_OVERLAP = 31_536_000
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

Name = Annotated[str, typer.Argument(metavar="NAME", help="Who or what it is for.")]
Role = Annotated[str, typer.Option("--role", metavar="ROLE", help="One of admin, member, viewer and worker.")]
WorkerTypes = Annotated[
    list[TaskType] | None, typer.Option("--worker-type", help="Only workers of this type; may be repeated.")
]
Permission = Annotated[
    PermissionLevel, typer.Option("--permission", help="The highest level that it may submit or claim.")
]
Repositories = Annotated[
    list[str] | None, typer.Option("--repo", metavar="URL", help="Only this repository; may be repeated.")
]
Expires = Annotated[
    str | None, typer.Option("--expires-in", metavar="TIME", help="Such as 90d, 12h or 30m; never, if not given.")
]
Which = Annotated[str, typer.Argument(metavar="KEY", help="Its id, its name, how it starts, or enough of its id.")]
All = Annotated[bool, typer.Option("--all", help="Also those that are revoked or expired.")]


@command(
    "create",
    "agentvine keys create ci --role member --expires-in 90d",
    "agentvine keys create rack-7 --role worker --worker-type bugfix --worker-type test --json",
    "agentvine keys create contractor --role member --permission supervised --repo https://github.com/acme/shop.git",
)
async def create(
    call: Call,
    name: Name,
    role: Role = "member",
    worker_type: WorkerTypes = None,
    permission: Permission = PermissionLevel.AUTONOMOUS,
    repo: Repositories = None,
    expires_in: Expires = None,
    as_json: Json = False,
) -> None:
    """Make a key. Its secret is printed once and never again."""
    asked = _asked(
        name,
        {
            "role": role,
            "worker_types": tuple(worker_type or ()),
            "permission_level": permission,
            "repositories": tuple(repo or ()),
        },
        None if expires_in is None else seconds(expires_in),
    )
    created = await call.desk.create_key(asked)
    if as_json:
        call.screen.json(created)
    else:
        call.screen.say(created.secret)
        call.screen.note((f"{created.key.id}: the server keeps only its digest, so keep it now", "dim"))


def _asked(name: str, scope: dict[str, object], expires: float | None) -> "NewKey":
    from pydantic import ValidationError

    from agentvine.cli.failures import invalid
    from agentvine.wire.administration import NewKey

    try:
        return NewKey.model_validate({"name": name, "scope": scope, "expires_in_seconds": expires})
    except ValidationError as error:
        raise invalid(error, "such a key cannot be made") from error


def seconds(text: str, option: str = "--expires-in") -> float:
    """Seconds of a time such as 90d, 12h, 30m, 45s or 3600. Raises a usage error for anything else."""
    found = re.fullmatch(r"(\d{1,9})\s*([smhdw]?)", text.strip())
    if found is None:
        raise typer.BadParameter(f"'{text}' is no time; write it like 90d, 12h, 30m or 45s", param_hint=option)
    return float(int(found[1]) * _UNITS[found[2] or "s"])


@command("list", "agentvine keys list", "agentvine keys list --all --json")
async def list_keys(call: Call, everything: All = False, as_json: Json = False) -> None:
    """List keys and what they allow."""
    now = call.clock.now()
    found = [key for key in await call.desk.keys() if everything or key.usable(now)]
    if as_json:
        call.screen.json(found)
    else:
        _list(call, found)


def _list(call: Call, found: "list[Key]") -> None:
    from agentvine.cli.render import Column, status
    from agentvine.cli.text import ago, short_id, until

    now = call.clock.now()
    columns = [
        Column("KEY"),
        Column("STARTS WITH"),
        Column("NAME", flexible=True),
        Column("ROLE"),
        Column("ALLOWS", flexible=True),
        Column("CREATED", "right"),
        Column("EXPIRES", "right"),
    ]
    rows = [
        (
            short_id(key.id),
            key.prefix,
            key.name,
            key.scope.role.value,
            allows(key, now),
            ago(key.created_at, now),
            status("revoked")
            if key.revoked_at
            else ("never" if key.expires_at is None else until(key.expires_at, now)),
        )
        for key in found
    ]
    call.screen.table(columns, rows)


def allows(key: "Key", now: "datetime") -> str:
    """What a key's scope allows, in words, and which other secret opens it still."""
    scope = key.scope
    words = [f"up to {scope.permission_level.value}"]
    if key.former_prefix is not None and key.former_until is not None and now < key.former_until:
        words.append(f"{key.former_prefix} too until {key.former_until:%Y-%m-%d %H:%M} UTC")
    if scope.worker_types:
        words.append(f"types {', '.join(each.value for each in scope.worker_types)}")
    if scope.repositories:
        words.append(f"only {', '.join(scope.repositories)}")
    return "; ".join(words)


@command(
    "rotate",
    "agentvine keys rotate rack-7 --overlap 1h",
    "agentvine keys rotate av_4f9k2m7x1q --overlap 0 --json",
)
async def rotate(
    call: Call,
    key: Which,
    overlap: Annotated[
        str, typer.Option("--overlap", metavar="TIME", help="How long the old secret opens as well: 1h, 30m, 0.")
    ] = "1h",
    as_json: Json = False,
) -> None:
    """Give a key another secret, with the same scope. It is printed once and never again.

    The old one works until the overlap is over. A secret that an earlier rotation has left ends now.
    """
    from agentvine.cli.names import key_id
    from agentvine.wire.administration import Rotation

    most = seconds(overlap, "--overlap")
    if most > _LONGEST_OVERLAP:
        raise typer.BadParameter("an overlap is at most 365d", param_hint="--overlap")
    created = await call.desk.rotate_key(await key_id(call.desk, key), Rotation(overlap_seconds=most))
    if as_json:
        call.screen.json(created)
        return
    call.screen.say(created.secret)
    until = created.key.former_until
    ends = f"; the old secret works until {until:%Y-%m-%d %H:%M} UTC" if until is not None and most else ""
    call.screen.note((f"{created.key.id}: the server keeps only its digest, so keep it now{ends}", "dim"))


@command("revoke", "agentvine keys revoke 7k3m9x2p", "agentvine keys revoke av_4f9k2m7x1q --json")
async def revoke(
    call: Call,
    key: Which,
    as_json: Json = False,
) -> None:
    """Make a key useless at once and for good."""
    from agentvine.cli.names import key_id

    revoked = await call.desk.revoke_key(await key_id(call.desk, key))
    if as_json:
        call.screen.json(revoked)
    else:
        call.screen.say(revoked.id, f" ({revoked.name}) opens nothing any more")
