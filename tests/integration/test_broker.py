"""The broker against a real server, and what can happen to that server."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from agentvine.broker.base import BrokerUnavailable, Received
from agentvine.broker.embedded import EmbeddedBroker
from agentvine.broker.redis import RedisBroker
from agentvine.domain.ids import new_id
from agentvine.domain.request import ControllerResponse, RequestKind
from agentvine.kit.process import spawn
from agentvine.testing.eventually import eventually
from agentvine.testing.redis_wire import redis_command
from agentvine.wire.channels import WORKER_REQUESTS, RequestMessage, ResponseMessage, Ring, controller_responses
from agentvine.wire.messages import NewRequest

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
WORKER = "wrk_one"
RING = Ring(kind="cancelled", work_order_id=new_id("wo", WHEN))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker(tmp_path / "broker") as running:
        yield running


@pytest.fixture
async def broker(server: EmbeddedBroker) -> AsyncIterator[RedisBroker]:
    broker = RedisBroker(server.url, left_over_seconds=0.3)
    yield broker
    await broker.close()


def request() -> RequestMessage:
    question = NewRequest(token=1, id=new_id("req", WHEN), kind=RequestKind.CLARIFICATION, message="which?")
    return RequestMessage(worker_id=WORKER, execution_id=new_id("exe", WHEN), request=question)


def response() -> ResponseMessage:
    answer = ControllerResponse(verdict="answer", message="this", made_by="key:x", made_at=WHEN)
    return ResponseMessage(request_id=new_id("req", WHEN), response=answer)


async def first(received: AsyncIterator[Received], within: float = 60.0) -> Received:
    async with asyncio.timeout(within):
        return await anext(received)


@asynccontextmanager
async def listening(broker: RedisBroker) -> AsyncIterator[asyncio.Queue[Ring]]:
    """What is heard, from the moment at which the listener surely hears."""
    heard: asyncio.Queue[Ring] = asyncio.Queue()

    async def listen() -> None:
        async for ring in broker.rings():
            heard.put_nowait(ring)

    task = asyncio.create_task(listen())
    try:
        await hears(broker, heard)
        yield heard
    finally:
        task.cancel()
        await asyncio.wait({task})


async def hears(broker: RedisBroker, heard: asyncio.Queue[Ring], within: float = 60.0) -> None:
    """Ring until it is heard."""

    async def rung() -> bool:
        try:
            await broker.ring(RING)
        except BrokerUnavailable:
            return False
        return not heard.empty()

    await eventually(rung, within)
    while not heard.empty():
        heard.get_nowait()


async def length(server: EmbeddedBroker) -> int:
    count = await redis_command(server.url, "XLEN", WORKER_REQUESTS)
    assert isinstance(count, int)
    return count


async def test_a_ring_is_heard_by_everybody_who_listens(server: EmbeddedBroker, broker: RedisBroker) -> None:
    async with listening(broker) as one, listening(broker) as other:
        await redis_command(server.url, "PUBLISH", "agentvine:doorbell", '{"kind": "no such kind"}')
        await broker.ring(Ring(kind="claimable", count=3))
        async with asyncio.timeout(60):
            for heard in (one, other):
                while (ring := await heard.get()) == RING:  # by which the listeners were waited for
                    pass
                assert ring.count == 3


async def test_a_request_arrives_once_and_is_gone_when_acknowledged(
    server: EmbeddedBroker, broker: RedisBroker
) -> None:
    sent = request()
    async with aclosing(broker.requests("one")) as requests:
        await broker.send_request(sent)
        received = await first(requests)
        assert received.message == sent
        await broker.acknowledge(received)
        assert await length(server) == 0
        another = request()
        await broker.send_request(another)
        assert (await first(requests)).message == another


async def test_what_a_consumer_left_behind_comes_to_another(broker: RedisBroker) -> None:
    sent = request()
    async with aclosing(broker.requests("one")) as dying:
        await broker.send_request(sent)
        await first(dying)
    async with aclosing(broker.requests("two")) as heir:
        assert (await first(heir)).message == sent


async def test_entries_that_are_no_messages_are_passed_over(server: EmbeddedBroker, broker: RedisBroker) -> None:
    for number in range(150):
        await redis_command(server.url, "XADD", WORKER_REQUESTS, "*", "message", f"garbage {number}")
    await redis_command(server.url, "XADD", WORKER_REQUESTS, "*", "other", "field")
    sent = request()
    await broker.send_request(sent)
    async with aclosing(broker.requests("one")) as requests:
        received = await first(requests)
        assert received.message == sent
        await broker.acknowledge(received)
    assert await length(server) == 0


async def test_responses_are_read_on_from_a_position(server: EmbeddedBroker, broker: RedisBroker) -> None:
    assert await broker.responses(WORKER, "0", 0.0) == ("0", [])
    one, two = response(), response()
    await broker.send_response(WORKER, one)
    await redis_command(server.url, "XADD", controller_responses(WORKER), "*", "message", "garbage")
    position, messages = await broker.responses(WORKER, "0", 0.0)
    assert messages == [one]
    waiting = asyncio.create_task(broker.responses(WORKER, position, 10.0))
    await broker.send_response(WORKER, two)
    async with asyncio.timeout(60):
        assert (await waiting)[1] == [two]
    lifetime = await redis_command(server.url, "TTL", controller_responses(WORKER))
    assert isinstance(lifetime, int)
    assert 0 < lifetime <= 24 * 3600


@pytest.mark.parametrize("wrong", ["a string", "a list"])
async def test_a_key_of_ours_that_holds_something_else_is_emptied(
    server: EmbeddedBroker, broker: RedisBroker, wrong: str
) -> None:
    for key in (WORKER_REQUESTS, controller_responses(WORKER)):
        await redis_command(server.url, *(("SET", key, wrong) if wrong == "a string" else ("RPUSH", key, wrong)))
    await broker.send_request(request())
    async with aclosing(broker.requests("one")) as requests:
        await first(requests)
    assert await broker.responses(WORKER, "0", 0.0) == ("0", [])
    await broker.send_response(WORKER, response())
    assert len((await broker.responses(WORKER, "0", 0.0))[1]) == 1


@pytest.mark.parametrize("mishap", [("FLUSHALL",), ("SET", WORKER_REQUESTS, "x"), ("DEL", WORKER_REQUESTS)])
async def test_a_consumer_that_waits_survives_the_loss_of_its_stream(
    server: EmbeddedBroker, broker: RedisBroker, mishap: tuple[str, ...]
) -> None:
    async with aclosing(broker.requests("one")) as requests:
        await broker.send_request(request())
        await broker.acknowledge(await first(requests))
        waiting = asyncio.create_task(first(requests))
        await eventually(lambda: blocked_clients(server))
        await redis_command(server.url, *mishap)
        sent = request()
        await broker.send_request(sent)
        assert (await waiting).message == sent


async def blocked_clients(server: EmbeddedBroker) -> bool:
    info = await redis_command(server.url, "INFO", "clients")
    assert isinstance(info, bytes)
    return b"blocked_clients:0" not in info


async def test_rings_and_requests_go_on_after_the_server_was_killed(tmp_path: Path) -> None:
    server = EmbeddedBroker(tmp_path)
    broker = RedisBroker(server.url)
    try:
        async with server, listening(broker) as heard, aclosing(broker.requests("one")) as requests:
            waiting = asyncio.create_task(first(requests))
            await eventually(lambda: blocked_clients(server))
            process_of(server).kill()
            await server.wait()
            with pytest.raises(BrokerUnavailable):
                await broker.ping()
            async with server:
                await hears(broker, heard)
                await broker.send_request(request())
                await waiting
    finally:
        await broker.close()


def process_of(server: EmbeddedBroker) -> psutil.Process:
    """The Valkey server itself, beneath its guardian."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # what others left may go meanwhile
            if process.name() == "valkey-server" and process.cwd() == str(server.socket.parent):
                return process
    raise AssertionError("there is no such server")


async def test_a_server_that_hangs_costs_a_second(server: EmbeddedBroker, broker: RedisBroker) -> None:
    await broker.ping()
    process = process_of(server)
    process.suspend()
    try:
        for call in (
            broker.ping(),
            broker.ring(RING),
            broker.send_request(request()),
            broker.send_response("w", response()),
        ):
            async with asyncio.timeout(20):
                with pytest.raises(BrokerUnavailable):
                    await call
    finally:
        process.resume()
    await broker.ping()


async def test_a_full_server_refuses_and_works_again_when_it_has_room(
    server: EmbeddedBroker, broker: RedisBroker
) -> None:
    sent = request()
    await broker.send_request(sent)
    await redis_command(server.url, "CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(BrokerUnavailable, match="maxmemory"):
        await broker.send_request(request())
    await redis_command(server.url, "CONFIG", "SET", "maxmemory", "64mb")
    async with aclosing(broker.requests("one")) as requests:
        assert (await first(requests)).message == sent


async def test_a_replica_refuses_and_works_again_as_a_master(server: EmbeddedBroker, broker: RedisBroker) -> None:
    await broker.ping()
    await redis_command(server.url, "REPLICAOF", "127.0.0.1", 1)
    with pytest.raises(BrokerUnavailable, match="read only"):
        await broker.send_request(request())
    await redis_command(server.url, "REPLICAOF", "NO", "ONE")
    await broker.send_request(request())


async def test_a_wrong_password_or_address_is_unavailable(server: EmbeddedBroker) -> None:
    for url in (f"{server.url}x", "unix:///nowhere/at/all", "redis://127.0.0.1:1"):
        broker = RedisBroker(url)
        with pytest.raises(BrokerUnavailable):
            await broker.ping()
        await broker.close()


async def test_the_embedded_server_is_private(server: EmbeddedBroker, tmp_path: Path) -> None:
    process = process_of(server)
    password = server.url.partition("password=")[2]
    assert password not in " ".join(process.cmdline())
    assert process.net_connections("inet") == []
    assert (tmp_path / "broker").stat().st_mode & 0o777 == 0o700
    left = {path.name for path in (tmp_path / "broker").iterdir()}
    assert left == {"broker.sock", "broker.log"}


async def test_a_long_path_gets_a_short_socket_which_is_removed(tmp_path: Path) -> None:
    directory = tmp_path / ("long" * 30)
    server = EmbeddedBroker(directory)
    async with server:
        broker = RedisBroker(server.url)
        await broker.ping()
        await broker.close()
        assert server.socket.parent.stat().st_mode & 0o777 == 0o700
    assert not server.socket.parent.exists()
    assert directory.exists()


async def test_the_embedded_server_dies_with_its_parent(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path; from agentvine.broker.embedded import EmbeddedBroker\n"
        "async def main():\n"
        "    async with EmbeddedBroker(Path(sys.argv[1])) as running: print('up', flush=True); await running.wait()\n"
        "asyncio.run(main())\n"
    )
    said: list[str] = []
    async with await spawn(
        [sys.executable, "-c", script, str(tmp_path)], cwd=None, env={}, output=lambda _, line: said.append(line)
    ) as parent:
        await eventually(lambda: "up" in said)
        family = psutil.Process(parent.pid).children(recursive=True)
        assert "valkey-server" in {process.name() for process in family}
        os.kill(parent.pid, signal.SIGKILL)
        await eventually(lambda: not any(process.is_running() for process in family))
