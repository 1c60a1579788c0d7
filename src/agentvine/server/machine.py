"""The database and the keys of a machine on which `agentvine up` runs."""

import asyncio
from pathlib import Path

from agentvine.domain.base import Model
from agentvine.domain.key import Role, Scope
from agentvine.kit.clock import SystemClock
from agentvine.wire.administration import NewKey


class Keys(Model):
    """The keys of this machine, made when it is set up."""

    admin: str
    worker: str


async def machine_keys(data: Path) -> Keys:
    """This machine's keys: read from the data directory, or made there when it is used for the first time."""
    path = data / "keys.json"
    if path.exists():
        return Keys.model_validate_json(path.read_bytes())
    keys = await _make_keys(data)
    draft = path.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_text(keys.model_dump_json(), encoding="utf-8")
    draft.replace(path)
    return keys


async def _make_keys(data: Path) -> Keys:
    from agentvine.server.keyring import KeyRing  # only at the first start
    from agentvine.store.engine import open_database
    from agentvine.store.migrate import migrate

    await asyncio.to_thread(migrate, database_url(data))
    database = open_database(database_url(data))
    try:
        keyring = KeyRing(database, SystemClock())
        admin = await keyring.create(NewKey(name="agentvine up", scope=Scope(role=Role.ADMIN)), "server")
        worker = await keyring.create(NewKey(name="workers of agentvine up", scope=Scope(role=Role.WORKER)), "server")
    finally:
        await database.close()
    return Keys(admin=admin.secret, worker=worker.secret)


def database_url(data: Path) -> str:
    return f"sqlite:///{data / 'agentvine.db'}"
