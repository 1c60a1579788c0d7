"""uvicorn with our transport in between: every byte arrives, in order, under both event loops."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from hashlib import sha256
from typing import Any

import httpx
import pytest
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from agentvine.server.corked import CorkedProtocol
from agentvine.testing.eventually import eventually
from agentvine.testing.http import served

CHUNK = bytes(range(256)) * 256


async def chunky(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with as many chunks as the path says; `/0` is answered in one go."""
    number = int(scope["path"][1:])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-path", scope["path"].encode())]})
    for _ in range(number):
        await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
    await send({"type": "http.response.body", "body": b"end"})


async def large_answers_arrive_whole() -> bool:
    async with served(chunky) as url, httpx.AsyncClient(timeout=60) as client:
        answers = await asyncio.wait_for(_all(client, url), 60)
    expected = sha256(CHUNK * 200 + b"end").hexdigest()
    return [sha256(answer.content).hexdigest() for answer in answers] == [expected] * 8


async def _all(client: httpx.AsyncClient, url: str) -> list[httpx.Response]:
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(client.get(f"{url}/200")) for _ in range(8)]
    return [task.result() for task in asking]


async def pipelined_requests_are_answered_in_order() -> bool:
    async with served(chunky) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        paths = [f"/{number % 3}" for number in range(50)]
        writer.write("".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n" for path in paths[:-1]).encode())
        writer.write(f"GET {paths[-1]} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        text = await asyncio.wait_for(reader.read(), 60)
        writer.close()
    told = [line.partition(b": ")[2].strip().decode() for line in text.split(b"\n") if line.startswith(b"x-path")]
    return told == paths


async def a_reader_that_leaves_harms_nobody() -> bool:
    async with served(chunky) as url, httpx.AsyncClient(timeout=60) as client:
        async with client.stream("GET", f"{url}/2000") as answer:
            await anext(answer.aiter_raw())
        return (await client.get(f"{url}/1")).content == CHUNK + b"end"


@pytest.mark.parametrize(
    "scenario",
    [large_answers_arrive_whole, pipelined_requests_are_answered_in_order, a_reader_that_leaves_harms_nobody],
)
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_answers(
    scenario: Callable[[], Coroutine[Any, Any, bool]], loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(scenario()), "it is as the scenario's name says"


class Kept(asyncio.Transport):
    """A transport that keeps what was to be sent, one entry for each call."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...


@pytest.mark.parametrize(("path", "calls"), [("/0", 1), ("/1", 2)])
async def test_head_and_body_are_sent_together_and_what_is_long_is_not_held_back(path: str, calls: int) -> None:
    config = uvicorn.Config(chunky, http=CorkedProtocol, lifespan="off", log_config=None)
    protocol, transport = CorkedProtocol(config, ServerState(), {}), Kept()
    protocol.connection_made(transport)
    protocol.data_received(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await eventually(lambda: transport.sent and transport.sent[-1].endswith(b"end\r\n0\r\n\r\n"))
    protocol.connection_lost(None)
    assert len(transport.sent) == calls
    assert transport.sent[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert (len(transport.sent[0]) > len(CHUNK)) == (calls > 1)


async def test_a_connection_on_which_nothing_is_asked_is_given_up() -> None:
    server = uvicorn.Server(
        uvicorn.Config(chunky, http=CorkedProtocol, lifespan="off", log_config=None, timeout_keep_alive=0)
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()
        server.should_exit = True
        await serving
