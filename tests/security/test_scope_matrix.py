"""Every route of the table against every role: exactly those get in that the table lets in."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from agentvine.domain.key import Role
from agentvine.testing.http import api, new_key, server_on
from agentvine.wire import routes
from agentvine.wire.routes import ROUTES, Route

IDS = {
    "worker_id": "wrk_nobody",
    "work_order_id": "wo_00000000000000000000000000",
    "execution_id": "exe_00000000000000000000000000",
    "request_id": "req_00000000000000000000000000",
    "task_id": "tsk_00000000000000000000000000",
    "key_id": "key_00000000000000000000000000",
    "name": "bundle",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with server_on(tmp_path_factory.mktemp("data")) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def secrets(url: str) -> dict[Role, str]:
    return {role: await new_key(url, role) for role in Role}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def anybody(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with api(url, key="") as client:
        yield client.http


async def status(anybody: httpx.AsyncClient, route: Route, key: str | None) -> int:
    """What a request that makes no sense otherwise is answered with."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    body = b"{}" if route.method in {"POST", "PUT"} else None
    if body:
        headers["Content-Type"] = "application/json"
    async with anybody.stream(route.method, route.url(**IDS), content=body, headers=headers) as answer:
        return answer.status_code


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_a_route_lets_in_whom_the_table_names(
    anybody: httpx.AsyncClient, secrets: dict[Role, str], route: Route
) -> None:
    for role, secret in secrets.items():
        got = await status(anybody, route, secret)
        refused = got == 403
        assert refused == bool(route.roles and role not in route.roles), f"{role}: {got}"
        assert got not in {401, 405}
        assert got < 500
    for nobody in (None, "av_0123456789_" + "1" * 43, "nonsense"):
        got = await status(anybody, route, nobody)
        assert (got == 401) == bool(route.roles), f"without a good key: {got}"


def test_only_admins_make_keys_and_only_probes_are_open() -> None:
    for route in (routes.CREATE_KEY, routes.REVOKE_KEY, routes.KEYS):
        assert route.roles == {Role.ADMIN}
    assert {route for route in ROUTES if not route.roles} == {routes.HEALTH, routes.READY}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_revoked_key_opens_nothing(url: str) -> None:
    secret = await new_key(url, Role.VIEWER)
    async with api(url, secret) as viewer, api(url) as admin:
        me = (await viewer.http.get(routes.WHO_AM_I.url())).json()
        assert (await viewer.http.get(routes.TASKS.url())).status_code == 200
        await admin.http.delete(routes.REVOKE_KEY.url(key_id=me["key"]["id"]))
        assert (await viewer.http.get(routes.TASKS.url())).status_code == 401
