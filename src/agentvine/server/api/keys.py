"""API keys."""

from agentvine.domain.key import Key
from agentvine.server.api.operations import Desk, Operations
from agentvine.wire import administration as adm
from agentvine.wire import routes

api = Operations("keys")


@api.route(routes.WHO_AM_I)
async def who_am_i(desk: Desk) -> adm.WhoAmI:
    """The key with which this was asked."""
    return await desk.who_am_i()


@api.route(routes.KEYS)
async def keys(desk: Desk) -> tuple[Key, ...]:
    """All keys, without their secrets."""
    return await desk.keys()


@api.route(routes.CREATE_KEY, status=201)
async def create_key(desk: Desk, new: adm.NewKey) -> adm.CreatedKey:
    """Make a key. Its secret is in the answer and is never shown again."""
    return await desk.create_key(new)


@api.route(routes.ROTATE_KEY)
async def rotate_key(desk: Desk, key_id: str, rotation: adm.Rotation) -> adm.CreatedKey:
    """Give a key another secret, which is never shown again; the present one opens until the overlap is over."""
    return await desk.rotate_key(key_id, rotation)


@api.route(routes.REVOKE_KEY)
async def revoke_key(desk: Desk, key_id: str) -> Key:
    """From now on the key opens nothing."""
    return await desk.revoke_key(key_id)
