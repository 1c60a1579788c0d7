"""What `serve` does around the requests: keys, sockets, settings that cannot be, the tie to the broker."""

import asyncio
import socket
import stat
import time
from contextlib import closing
from pathlib import Path

import pytest

from agentvine.broker.embedded import EmbeddedBroker
from agentvine.broker.redis import RedisBroker
from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.control_plane import HTTPControlPlane
from agentvine.client.transport import APIClient
from agentvine.domain.errors import Unauthenticated
from agentvine.domain.execution import Delivery, Usage
from agentvine.domain.ids import new_id
from agentvine.domain.key import Role
from agentvine.domain.request import RequestKind, WorkerRequest
from agentvine.domain.retry import Failure, FailureReason
from agentvine.domain.task import NewTask
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock
from agentvine.kit.configuration import ConfigurationError
from agentvine.kit.shutdown import Shutdown
from agentvine.server.first_key import see_to_first_key
from agentvine.server.keyring import KeyRing
from agentvine.server.listening import bind
from agentvine.server.main import serve
from agentvine.server.settings import ServerSettings
from agentvine.server.terms import Terms
from agentvine.store.engine import open_database
from agentvine.testing.eventually import eventually
from agentvine.testing.http import FIRST_KEY, api, new_key, server_on
from agentvine.wire import messages as m
from agentvine.wire import routes
from agentvine.wire.channels import RequestMessage, ResponseMessage

TASK = NewTask(type=TaskType.DOCS, title="x", repository="https://host/owner/name.git", branch="main")


async def test_the_first_key_is_made_once_and_left_where_only_the_owner_reads_it(tmp_path: Path) -> None:
    async with server_on(tmp_path, first_key=None) as url:
        path = tmp_path / "first-key"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        secret = path.read_text().strip()
        async with api(url, secret) as client:
            assert (await HTTPFrontDesk(client).who_am_i()).key.scope.role is Role.ADMIN
    path.unlink()
    async with server_on(tmp_path, first_key=None) as url, api(url, secret) as client:
        await HTTPFrontDesk(client).who_am_i()
        assert not path.exists()


async def test_servers_that_start_at_once_leave_one_first_key_that_opens(tmp_path: Path, database_url: str) -> None:
    settings = ServerSettings.load({}, data_dir=tmp_path)
    databases = [open_database(database_url) for _ in range(3)]
    keyrings = [KeyRing(database, SystemClock()) for database in databases]
    async with asyncio.TaskGroup() as group:
        for keyring in keyrings:
            group.create_task(see_to_first_key(settings, keyring))
    secret = (tmp_path / "first-key").read_text().strip()
    for keyring in keyrings:
        assert len(await keyring.list()) == 1
        assert (await keyring.identify(secret)).scope.role is Role.ADMIN
    for database in databases:
        await database.close()


async def test_no_first_key_is_made_whose_secret_cannot_be_left(tmp_path: Path) -> None:
    path = tmp_path / "first-key"
    path.mkdir()
    assert "first-key" in await refused(data_dir=tmp_path, port=0)
    path.rmdir()
    async with server_on(tmp_path, first_key=None) as url, api(url, path.read_text().strip()) as client:
        assert len(await HTTPFrontDesk(client).keys()) == 1


async def test_a_first_key_can_be_given_but_changes_nothing_once_there_are_keys(tmp_path: Path) -> None:
    async with server_on(tmp_path) as url, api(url) as client:
        assert len(await HTTPFrontDesk(client).keys()) == 1
    other = FIRST_KEY.replace("0123456789", "9876543210")
    async with server_on(tmp_path, first_key=other) as url, api(url, other) as client:
        with pytest.raises(Unauthenticated):
            await HTTPFrontDesk(client).who_am_i()


async def refused(**settings: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        await serve(ServerSettings.load({}, **settings), Shutdown())
    return str(caught.value)


async def test_what_cannot_be_is_told_by_the_settings_name(tmp_path: Path) -> None:
    assert "FIRST_KEY" in await refused(data_dir=tmp_path, port=0, first_key="secret")
    assert "LISTEN_FD" in await refused(data_dir=tmp_path, listen_fd=987)
    assert "PULSE_FD" in await refused(data_dir=tmp_path, port=0, pulse_fd=987)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "AGENTVINE_SERVER_PORT" in await refused(data_dir=tmp_path, port=taken.getsockname()[1])
    with pytest.raises(ConfigurationError) as caught:
        ServerSettings.load({"AGENTVINE_SERVER_PORT": "99999", "AGENTVINE_SERVER_DATABASE_URL": "mysql://x"})
    assert "AGENTVINE_SERVER_PORT" in caught.value.mistakes[0]
    assert "AGENTVINE_SERVER_DATABASE_URL" in caught.value.mistakes[1]


async def test_a_port_is_shared_only_if_all_who_listen_say_so(tmp_path: Path) -> None:
    one = ServerSettings.load({}, data_dir=tmp_path, port=0, share_port=True)
    with closing(bind(one)) as shared:
        shared.listen()
        port = shared.getsockname()[1]
        with closing(bind(ServerSettings.load({}, data_dir=tmp_path, port=port, share_port=True))) as other:
            assert other.getsockname() == shared.getsockname()
        with pytest.raises(ConfigurationError, match="AGENTVINE_SERVER_PORT"):
            bind(ServerSettings.load({}, data_dir=tmp_path, port=port))


async def test_a_handed_down_socket_outlives_the_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(2):
            handed_down = listener.dup()
            handed_down.set_inheritable(True)
            async with server_on(tmp_path, port=None, listen_fd=handed_down.detach()) as url, api(url) as client:
                assert (await HTTPFrontDesk(client).health()).status == "ok"
                assert url.endswith(str(listener.getsockname()[1]))


async def claimed_by_one(plane: HTTPControlPlane, wait_seconds: float = 5.0) -> m.Claimed:
    """An order that the worker wrk_one, which has just been started, has claimed."""
    await plane.register(m.Registration(id="wrk_one", name="one", worker_type=TaskType.DOCS, version="1"))
    return await claimed_by(plane, wait_seconds)


async def claimed_by(plane: HTTPControlPlane, wait_seconds: float = 5.0) -> m.Claimed:
    execution_id = new_id("exe", SystemClock().now())
    claimed = await plane.claim(
        m.ClaimRequest(worker_id="wrk_one", execution_id=execution_id, wait_seconds=wait_seconds)
    )
    assert claimed is not None
    return claimed


def question(claimed: m.Claimed) -> RequestMessage:
    request = m.NewRequest(
        token=claimed.lease.token,
        id=new_id("req", SystemClock().now()),
        kind=RequestKind.CLARIFICATION,
        message="which one?",
    )
    return RequestMessage(worker_id="wrk_one", execution_id=claimed.lease.execution_id, request=request)


async def test_a_question_and_its_answer_go_through_the_broker(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path / "broker") as valkey, server_on(tmp_path, redis_url=valkey.url) as url:
        broker = RedisBroker(valkey.url)
        async with api(url) as admin, api(url, await new_key(url, Role.WORKER)) as worker:
            desk = HTTPFrontDesk(admin)
            await desk.submit(TASK)
            message = question(await claimed_by_one(HTTPControlPlane(worker)))
            stale = message.model_copy(update={"execution_id": new_id("exe", SystemClock().now())})
            for sent in (stale, message, message):
                await broker.send_request(sent)
            await eventually(lambda: inbox(desk))
            await desk.respond(message.request.id, m.Reply(verdict="answer", message="this one"))
            position, responses = "0", list[ResponseMessage]()
            while not responses:
                position, responses = await broker.responses("wrk_one", position, 1.0)
            assert [(one.request_id, one.response.message) for one in responses] == [(message.request.id, "this one")]
            assert [request.id for request in (await desk.requests(status=None)).items] == [message.request.id]
        await broker.close()


async def inbox(desk: HTTPFrontDesk) -> tuple[WorkerRequest, ...]:
    return (await desk.requests()).items


async def test_servers_wake_one_another_through_the_broker(tmp_path: Path) -> None:
    async with (
        EmbeddedBroker(tmp_path / "broker") as valkey,
        server_on(tmp_path, redis_url=valkey.url) as one,
        server_on(tmp_path, redis_url=valkey.url) as other,
        api(one, await new_key(one, Role.WORKER)) as worker,
        api(one) as beside,
        api(other) as admin,
    ):
        plane = HTTPControlPlane(worker)
        await plane.register(m.Registration(id="wrk_one", name="one", worker_type=TaskType.DOCS, version="1"))
        looks_after, took = Terms().claim_recheck_seconds * 0.75, [60.0]
        while len(took) < 6 and min(took) >= looks_after:  # a busy machine may cost a try
            claiming = asyncio.create_task(claimed_by(plane, wait_seconds=60))
            await eventually(lambda: waiting(beside))
            began = time.monotonic()
            await HTTPFrontDesk(admin).submit(TASK)
            await claiming
            took.append(time.monotonic() - began)
        assert min(took) < looks_after, "it was rung, and did not just look"


async def waiting(api: APIClient) -> bool:
    return "agentvine_waiting_requests 1.0" in (await api.http.get(routes.METRICS.url())).text


async def test_without_its_broker_a_server_is_degraded_and_works_on(tmp_path: Path) -> None:
    valkey = EmbeddedBroker(tmp_path / "broker")
    async with valkey, server_on(tmp_path, redis_url=valkey.url) as url, api(url) as admin:
        desk = HTTPFrontDesk(admin)

        async def said(status: str) -> bool:
            return (await desk.health()).status == status

        await eventually(lambda: said("ok"))
        await valkey.__aexit__(None, None, None)
        await desk.submit(TASK)
        await eventually(lambda: said("degraded"))
        assert "broker" in (await desk.health()).degraded
        await valkey.__aenter__()
        await desk.submit(TASK)
        await eventually(lambda: said("ok"))


async def test_a_worker_that_dies_while_it_waits_is_given_nothing(tmp_path: Path) -> None:
    async with server_on(tmp_path) as url, api(url) as beside:
        secret = await new_key(url, Role.WORKER)
        async with api(url, secret) as doomed:
            dying = asyncio.create_task(claimed_by_one(HTTPControlPlane(doomed), wait_seconds=60))
            await eventually(lambda: waiting(beside))
            dying.cancel()
            await asyncio.wait([dying])

        async def nobody_waits() -> bool:
            return not await waiting(beside)

        await eventually(nobody_waits)
        task = await HTTPFrontDesk(beside).submit(TASK)
        async with api(url, secret) as next_one:
            assert (await claimed_by_one(HTTPControlPlane(next_one))).task.id == task.id
            assert (await HTTPFrontDesk(beside).work_order(task.work_order_id)).attempts == 1


async def test_metrics_count_what_was_done(tmp_path: Path) -> None:
    async with server_on(tmp_path) as url, api(url) as admin, api(url, await new_key(url, Role.WORKER)) as worker:
        plane, desk = HTTPControlPlane(worker), HTTPFrontDesk(admin)
        for _ in range(3):
            await desk.submit(TASK)
        done, failed = await claimed_by_one(plane), await claimed_by(plane)
        delivery = Delivery(kind="push", branch="main", new_sha="a" * 40)
        token = done.lease.token
        await plane.deliver(done.order.id, m.DeliveryIntent(token=token, delivery=delivery))
        await plane.complete(done.order.id, m.Completion(token=token, delivery=delivery, usage=Usage()))
        failure = Failure(reason=FailureReason.NO_CHANGES)
        await plane.fail(failed.order.id, m.FailureReport(token=failed.lease.token, failure=failure))
        text = (await admin.http.get("/metrics")).text
    for line in (
        "agentvine_claims_total 2.0",
        "agentvine_completions_total 1.0",
        'agentvine_failures_total{reason="no_changes"} 1.0',
        'agentvine_work_orders{queue="default",state="pending",type="docs"} 1.0',
        'agentvine_http_request_seconds_count{method="POST",route="/api/v1/tasks"} 3.0',
    ):
        assert line in text
