"""Who may do what: every route against every role, and against keys that are for a type, a level or a repository only.

The routes come from the OpenAPI document that the server serves. `ROWS` (scope_rows.py) says, once more and by itself,
who may use which, so that a new route fails here until somebody has thought about it.
"""

import itertools
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pydantic import JsonValue

from agentvine.domain.key import Role, Scope
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.task import Task
from agentvine.domain.worker_types import TaskType
from agentvine.testing.cast import Hand, a_task, a_worker, registration
from agentvine.testing.databases import sqlite_database
from agentvine.testing.http import HttpSite, api, http_site
from agentvine.wire import administration as adm
from agentvine.wire import routes
from agentvine.wire.problems import CONTENT_TYPE, Problem
from agentvine.wire.routes import BASE, ROUTES
from tests.security.scope_rows import LETTERS, ROWS, WORKER

pytestmark = pytest.mark.asyncio(loop_scope="module")
NOTHING = {
    "worker_id": "wrk_nobody",
    "work_order_id": "wo_00000000000000000000000000",
    "execution_id": "exe_00000000000000000000000000",
    "request_id": "req_00000000000000000000000000",
    "precedent_id": "pre_00000000000000000000000000",
    "repository_id": "rep_00000000000000000000000000",
    "task_id": "tsk_00000000000000000000000000",
    "key_id": "key_00000000000000000000000000",
    "name": "diff",
    "account": "default",
    "forge": "nowhere",
    "errand_id": "err_00000000000000000000000000",
}
HERE, THERE = "https://git.example/team/here.git", "https://git.example/team/there.git"
TYPES = (TaskType.DOCS, TaskType.TEST)
LEVELS = (PermissionLevel.SUPERVISED, PermissionLevel.AUTONOMOUS)
RESTRICTIONS: Mapping[str, Mapping[str, object]] = {
    "type": {"worker_types": (TaskType.DOCS,)},
    "level": {"permission_level": PermissionLevel.SUPERVISED},
    "repository": {"repositories": (HERE,)},
}


@dataclass(frozen=True)
class Made:
    """An order with all that hangs on it: an execution with transcript, evidence and diff, and an open request."""

    task: Task
    ids: Mapping[str, str]

    def inside(self, scope: Scope, *, acting: bool) -> bool:
        """True if the scope is about it; people look at orders of any level."""
        asked = self.task.asked
        return (
            (not scope.worker_types or asked.type in scope.worker_types)
            and (not scope.repositories or asked.repository in scope.repositories)
            and (not acting or self.task.permission_level.rank <= scope.permission_level.rank)
        )


@dataclass
class World:
    site: HttpSite
    orders: list[Made]
    workers: dict[TaskType, Hand]
    http: httpx.AsyncClient

    async def ask(
        self, row: str, headers: Mapping[str, str], ids: Mapping[str, str], body: JsonValue = None
    ) -> httpx.Response:
        """The status and, but for a stream that has no end, the body of an answer; a refusal is a problem document."""
        method, _, path = row.partition(" ")
        sent = dict(headers)
        if method == "PUT":
            sent |= {"X-Lease-Token": "1"}
        content: dict[str, Any] = {"json": body} if method == "POST" else {"content": b"x"} if method == "PUT" else {}
        if method == "GET" and isinstance(body, dict):
            content = {"params": body}
        request = self.http.build_request(method, BASE + path.format_map(ids), headers=sent, **content)
        answer = await self.http.send(request, stream=True)
        if not answer.headers["content-type" if answer.status_code != 204 else "x-request-id"].startswith("text/event"):
            await answer.aread()
        await answer.aclose()
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == CONTENT_TYPE, row
            assert Problem.model_validate_json(answer.content).status == answer.status_code
        assert answer.status_code < 500, row
        return answer

    async def key(self, role: Role, **restriction: object) -> dict[str, str]:
        """The headers of a new key; a worker's has registered, for documentation."""
        scope = Scope.model_validate({"role": role, **restriction})
        secret = await self.site.site.secret(scope)
        headers = {"Authorization": f"Bearer {secret}"}
        if role is Role.WORKER:
            async with api(self.site.url, secret) as client:
                worker = registration(f"wrk_{secret[3:13]}", TaskType.DOCS).model_dump(mode="json")
                answer = await client.http.post(routes.REGISTER.url(), json=worker)
            headers[routes.SESSION_HEADER] = answer.json()["session"]
        return headers


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("world")
    async with (
        http_site(sqlite_database(folder), folder) as site,
        httpx.AsyncClient(base_url=site.url, timeout=60) as http,
    ):
        workers = {type_: await a_worker(site, f"wrk_{type_.value}", type_) for type_ in TYPES}
        desk = await site.front_desk()
        orders = []
        for type_, level, repository in itertools.product(TYPES, LEVELS, (HERE, THERE)):
            task = await desk.submit(a_task(type=type_, permission_level=level, repository=repository))
            orders.append(await made(task, workers[type_]))
        yield World(site, orders, workers, http)


async def made(task: Task, hand: Hand) -> Made:
    """The order of `task`, which is the only one that can be claimed, at work."""
    claimed = await hand.take_and_start()
    assert claimed.task.id == task.id
    await hand.store_result(claimed)
    await hand.say(claimed, 0, "hello")
    request = await hand.plane.ask(claimed.lease.execution_id, hand.question(claimed))
    ids = {
        "task_id": task.id,
        "work_order_id": task.work_order_id,
        "execution_id": claimed.lease.execution_id,
        "request_id": request.id,
        "name": "diff",
    }
    return Made(task, ids)


async def test_there_is_a_row_for_each_route_that_is_served(world: World) -> None:
    document = (await world.http.get("/openapi.json")).json()
    served = {
        f"{method.upper()} {path.removeprefix(BASE)}": operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert served.keys() == ROWS.keys()
    for name, operation in served.items():
        assert bool(operation["security"]) == bool(ROWS[name].roles), name
    table = {f"{route.method} {route.path}": {LETTERS[role] for role in route.roles} for route in ROUTES}
    assert table == {name: set(row.roles) for name, row in ROWS.items()}


# ── role, route ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keys(world: World) -> dict[Role, dict[str, str]]:
    return {role: await world.key(role) for role in Role}


@pytest.mark.parametrize("row", ROWS)
async def test_a_route_lets_in_whom_its_row_names(world: World, keys: dict[Role, dict[str, str]], row: str) -> None:
    roles = ROWS[row].roles
    for role, headers in keys.items():
        got = (await world.ask(row, headers, NOTHING, {})).status_code
        assert (got == 403) == bool(roles and LETTERS[role] not in roles), f"{role}: {got}"
        assert got not in {401, 405}, f"{role}: {got}"
    for secret in ("", "Bearer av_0123456789_" + "1" * 43, "Bearer nonsense", "Basic av_0123456789_" + "1" * 43):
        got = (await world.ask(row, {"Authorization": secret}, NOTHING, {})).status_code
        assert (got == 401) == bool(roles), f"without a good key: {got}"


@pytest.mark.parametrize("row", [row for row, about in ROWS.items() if "w" in about.roles])
async def test_a_worker_s_key_alone_says_nothing(world: World, keys: dict[Role, dict[str, str]], row: str) -> None:
    key = {"Authorization": keys[Role.WORKER]["Authorization"]}
    first = row in {"POST /workers", "GET /keys/me", "POST /workers/{worker_id}/heartbeat"}
    for session in ({}, {routes.SESSION_HEADER: "nonsense"}):
        got = (await world.ask(row, key | session, NOTHING, dict(ROWS[row].body))).status_code
        ignored = first and (not session or row == "POST /workers")
        assert (got == 401) == (not ignored), got


# ── role, route, restriction ───────────────────────────────────────────────────────────────────────────────────


async def snapshot(world: World) -> list[object]:
    desk = await world.site.front_desk()
    return [await desk.task(order.task.id) for order in world.orders]


ABOUT_ORDERS = [
    row
    for row in ROWS
    if any(f"{{{name}}}" in row for name in ("task_id", "work_order_id", "execution_id", "request_id"))
]


@pytest.mark.parametrize("restriction", RESTRICTIONS)
@pytest.mark.parametrize("role", Role)
async def test_a_restricted_key_sees_and_touches_nothing_outside(world: World, role: Role, restriction: str) -> None:
    narrow = RESTRICTIONS[restriction]
    scope, headers = Scope.model_validate({"role": role, **narrow}), await world.key(role, **narrow)
    before, seen = await snapshot(world), 0
    for row, order in itertools.product(ABOUT_ORDERS, world.orders):
        about = ROWS[row]
        if LETTERS[role] not in about.roles:
            continue
        inside = order.inside(scope, acting=about.acts or role is Role.WORKER)
        if inside and about.acts:
            continue
        got = (await world.ask(row, headers, order.ids, dict(about.body))).status_code
        if inside:
            assert got in {200, 204}, f"{row} is inside: {got}"
            seen += 1
        elif about.roles == WORKER and got == 422:
            assert row == "POST /executions/{execution_id}/evidence"  # refused before anything is looked at
        else:
            assert got in {403, 404}, f"{row} is outside: {got}"
    assert seen
    assert await snapshot(world) == before


@pytest.mark.parametrize("restriction", RESTRICTIONS)
@pytest.mark.parametrize("role", [Role.ADMIN, Role.MEMBER, Role.VIEWER])
async def test_listings_show_what_is_inside(world: World, role: Role, restriction: str) -> None:
    narrow = RESTRICTIONS[restriction]
    scope, headers = Scope.model_validate({"role": role, **narrow}), await world.key(role, **narrow)
    inside = {order.task.id for order in world.orders if order.inside(scope, acting=False)}
    for row in ("GET /tasks", "GET /work-orders", "GET /requests"):
        found = (await world.ask(row, headers, {})).json()["items"]
        assert {item.get("task_id", item["id"]) for item in found} == inside, row
    told: set[str] = set()
    desk = await world.site.front_desk(scope)
    last = await world.site.services.latest_event()
    async for event in desk.events(after=0):
        told |= {event.task_id} if event.task_id else set()
        if event.seq == last:  # the key of this desk
            break
    assert told == inside


@pytest.mark.parametrize("restriction", ["type", "repository"])
@pytest.mark.parametrize("role", [Role.ADMIN, Role.MEMBER])
async def test_nothing_is_submitted_outside(world: World, role: Role, restriction: str) -> None:
    headers = await world.key(role, **RESTRICTIONS[restriction])
    outside = a_task(type=TaskType.TEST, repository=THERE).model_dump(mode="json")
    batch: JsonValue = {"tasks": [{"name": "a", "task": outside}]}
    assert (await world.ask("POST /tasks", headers, {}, outside)).status_code == 403
    assert (await world.ask("POST /tasks/batch", headers, {}, batch)).status_code == 403


# ── workers: type, level, repository ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("restriction", RESTRICTIONS)
async def test_a_restricted_worker_claims_nothing_outside(sqlite_url: str, tmp_path: Path, restriction: str) -> None:
    scope = Scope.model_validate({"role": Role.WORKER, **RESTRICTIONS[restriction]})
    async with http_site(sqlite_url, tmp_path) as site:
        desk = await site.front_desk()
        asked = [
            await desk.submit(a_task(type=type_, permission_level=level, repository=repository))
            for type_, level, repository in itertools.product(TYPES, LEVELS, (HERE, THERE))
        ]
        claimed: set[str] = set()
        for type_ in TYPES:
            if scope.worker_types and type_ not in scope.worker_types:
                plane = await site.worker_plane(scope)
                answer = await plane._api.http.post(
                    routes.REGISTER.url(), json=registration("wrk_wrong", type_).model_dump(mode="json")
                )
                assert answer.status_code == 403
                continue
            hand = await a_worker(site, f"wrk_{type_.value}", type_, scope=scope)
            while (got := await hand.claim()) is not None:
                claimed.add(got.task.id)
        assert claimed == {task.id for task in asked if Made(task, {}).inside(scope, acting=True)}


async def test_a_restricted_member_s_tasks_go_no_further_than_its_level(world: World) -> None:
    desk = await world.site.front_desk(Scope(role=Role.MEMBER, permission_level=PermissionLevel.SUPERVISED))
    task = await desk.submit(a_task(type=TaskType.REVIEW, permission_level=PermissionLevel.AUTONOMOUS))
    assert task.permission_level is PermissionLevel.SUPERVISED
    assert (await desk.cancel(task.id)).status.value == "cancelled", "what is inside it may change"


async def test_the_audit_log_is_for_admins_of_everything(world: World) -> None:
    for narrow in RESTRICTIONS.values():
        headers = await world.key(Role.ADMIN, **narrow)
        for row in ("GET /audit", "GET /audit/verification"):
            assert (await world.ask(row, headers, {})).status_code == 403


async def test_a_revoked_key_opens_nothing(world: World) -> None:
    desk = await world.site.front_desk()
    created = await desk.create_key(adm.NewKey(name="x", scope=Scope(role=Role.VIEWER)))
    headers = {"Authorization": f"Bearer {created.secret}"}
    assert (await world.ask("GET /tasks", headers, {})).status_code == 200
    await desk.revoke_key(created.key.id)
    assert (await world.ask("GET /tasks", headers, {})).status_code == 401
