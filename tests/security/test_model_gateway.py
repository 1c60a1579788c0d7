"""The model's gateway against a box that wants to think for free, or to keep the worker busy."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from agentvine.worker.sandbox.model_gateway import MOST_CONNECTIONS, MOST_UNREADABLE, REQUEST_LIMIT, ROOM
from tests.security.boxes import SOON, until
from tests.security.gates import ASK, Gate, gated, stream
from tests.security.outside import Server, has, say


def whole(*, outputs: int, text: str = "") -> bytes:
    """An answer of the model that is no stream."""
    usage = {"input_tokens": 20, "output_tokens": outputs}
    body = json.dumps({"type": "message", "content": [{"type": "text", "text": text}], "usage": usage}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body)


@dataclass
class Slow(Server):
    """A model that takes its time: it hears a request, and answers each when it is told to."""

    asked: int = 0
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            self.heard.append(head + await reader.readexactly(int(length.partition(b":")[2])))
            self.asked += 1
            await self.go.wait()
            writer.write(self.answer)
            await writer.drain()
        writer.close()


DEAR = {"model": "claude-opus-4-1", "max_tokens": 64_000, "messages": []}
DEAREST = 64_000 * 75 / 1_000_000
"""What the output of one such request may cost."""


def raw(body: object, path: str = "/v1/messages") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), len(content), content)


def hang_up(port: int, request: bytes) -> Callable[[], None]:
    """Send a request. Calling the result resets the connection."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=SOON)
    connection.sendall(request)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return connection.close


async def quiet(gate: Gate) -> None:
    """Wait until what was sent before has come as far as it can: what is sent after it is answered, several times."""
    for _ in range(3):
        answer = await say(gate.port, raw({}, "/v1/models"), then=has(b"}"))
        assert answer.startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("when", ["before the answer", "in the middle of it"])
async def test_whoever_hangs_up_pays_the_whole_answer(streamed: bool, when: str) -> None:
    long = "x" * 20_000_000  # more than waits in buffers
    answer = stream(inputs=20, outputs=64_000) if streamed else whole(outputs=64_000, text=long)
    async with gated(answer, model=Slow(answer)) as gate:
        assert isinstance(gate.model, Slow)
        leave = hang_up(gate.port, raw({**DEAR, "stream": streamed}))
        await until(lambda: gate.model.heard)
        if when == "before the answer":
            leave()
        gate.model.go.set()
        if when == "in the middle of it":
            leave()
        await until(lambda: gate.gateway.usage.turns and gate.records)
        assert gate.gateway.usage.output_tokens == 64_000
        assert gate.gateway.usage.input_tokens == 20
        assert gate.metered[-1] == gate.gateway.usage


@pytest.mark.parametrize("broken", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\nconnection: close\r\n\r\n{"])
async def test_an_answer_that_never_comes_costs_what_was_set_aside(broken: bytes) -> None:
    model = Slow(broken)
    model.go.set()
    async with gated(broken, model=model) as gate:
        await say(gate.port, raw(DEAR), then=has(b"}"))
        await until(lambda: gate.records)
        assert gate.gateway.usage.output_tokens == 64_000


async def test_closing_the_box_while_the_model_thinks_is_not_free() -> None:
    async with gated(b"", model=Slow()) as gate:
        hang_up(gate.port, raw(DEAR))
        await until(lambda: gate.model.heard)
        assert gate.gateway.usage.turns == 0
    assert gate.gateway.usage.output_tokens == 64_000
    assert gate.metered[-1] == gate.gateway.usage


async def test_requests_at_the_same_time_overdraw_the_budget_by_one_answer_at_most() -> None:
    answer = whole(outputs=64_000)
    async with gated(answer, budget=1.0, model=Slow(answer)) as gate, asyncio.TaskGroup() as tasks:
        assert isinstance(gate.model, Slow)
        asking = [tasks.create_task(gate.post(DEAR)) for _ in range(4)]
        await until(lambda: gate.model.heard)
        await quiet(gate)
        gate.model.go.set()
        answers = [(await task).status_code for task in asking]
        assert sorted(answers) == [200, 402, 402, 402]
        assert gate.model.connections == 1
        assert DEAREST <= gate.gateway.usage.cost_usd < DEAREST + 0.01


async def test_requests_that_fit_together_run_together_and_others_wait_for_them() -> None:
    answer = whole(outputs=1)
    async with gated(answer, budget=2.5 * DEAREST, model=Slow(answer)) as gate, asyncio.TaskGroup() as tasks:
        assert isinstance(gate.model, Slow)
        asking = [tasks.create_task(gate.post(DEAR)) for _ in range(3)]
        await until(lambda: len(gate.model.heard) == 2)
        await quiet(gate)
        assert gate.model.connections == 2
        gate.model.go.set()
        assert [(await task).status_code for task in asking] == [200] * 3
        assert gate.model.connections == 3


async def test_a_waiting_request_is_not_sent_for_someone_who_has_left() -> None:
    answer = whole(outputs=1)
    async with gated(answer, budget=DEAREST, model=Slow(answer)) as gate, asyncio.TaskGroup() as tasks:
        assert isinstance(gate.model, Slow)
        first = tasks.create_task(gate.post(DEAR))
        await until(lambda: gate.model.heard)
        leave = hang_up(gate.port, raw(DEAR))
        await quiet(gate)
        leave()
        await quiet(gate)
        gate.model.go.set()
        assert (await first).status_code == 200
        await until(lambda: any("hung up" in record.reason for record in gate.records))
        assert gate.model.connections == 1
        assert gate.gateway.usage.turns == 1


MANY = b'{"model":"m","x":[' + b"[]," * 10_000_000 + b"{}]}"


@pytest.mark.parametrize(
    "body",
    [
        MANY,
        b'{"model":"m","x":[' + b"1," * 300_000 + b"1]}",
        b'{"model":"m","x":["' + rb"\\" * 7 + b'",' + b"[]," * 150_000 + b"1]}",
        b'{"model":"m","x":' + b" " * 5_000_000 + b"1}",
        b'{"model":"m","x":[' + b'"",' * 2_000_000 + b"1]}",
    ],
    ids=["lists", "numbers", "behind backslashes", "spaces", "strings"],
)
async def test_a_body_that_is_costly_to_read_is_refused_unread(body: bytes) -> None:
    async with gated(stream()) as gate:
        answer = await say(gate.port, raw(body), then=has(b"}"))
        assert answer.startswith(b"HTTP/1.1 413"), answer
        assert gate.model.connections == 0


@pytest.mark.parametrize(
    "text",
    ["iVBORw0KGgo" * 2_500_000, 'def f(a, b):\n    return {"a": [a, b]}\n' * 30_000, '\\"[[,{' * 60_000],
    ids=["images", "program", "brackets"],
)
async def test_a_large_request_of_few_values_passes(text: str) -> None:
    async with gated(stream(), model=Slow(stream())) as gate:
        assert isinstance(gate.model, Slow)
        gate.model.go.set()
        body = {**ASK, "messages": [{"role": "user", "content": text}]}
        assert (await gate.post(body)).status_code == 200
        assert json.loads(gate.model.heard[0].partition(b"\r\n\r\n")[2]) == body


async def test_a_box_that_sends_only_nonsense_is_served_no_longer() -> None:
    with capture_logs() as logged:
        async with gated(stream()) as gate:
            for _ in range(MOST_UNREADABLE):
                assert (await say(gate.port, raw(b"{"), then=has(b"}"))).startswith(b"HTTP/1.1 400")
            for _ in range(3):
                assert await say(gate.port, raw(ASK)) == b""
            assert gate.model.connections == 0
            assert len(gate.records) == MOST_UNREADABLE
    assert [entry["event"] for entry in logged] == ["a box is served no longer"]


async def test_large_requests_share_a_bounded_room() -> None:
    head = raw(b"")[: -len(b"0\r\n\r\n")] + b"%d\r\n\r\n" % REQUEST_LIMIT
    async with gated(stream()) as gate, contextlib.AsyncExitStack() as stack:
        answers = []
        for _ in range(ROOM // REQUEST_LIMIT + 1):
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            stack.callback(writer.close)
            writer.write(head + b" " * (REQUEST_LIMIT - 1))
            answers.append(reader)
        last = asyncio.create_task(answers[-1].read(12))
        async with asyncio.timeout(SOON):
            done = [asyncio.create_task(reader.read(12)) for reader in answers[:-1]]
            await asyncio.wait([*done, last], return_when=asyncio.FIRST_COMPLETED)
        for task in (*done, last):
            task.cancel()
        assert [record.reason for record in gate.records] == ["too many large requests at once"]


async def test_a_key_that_is_there_twice_goes_on_once() -> None:
    twice = json.dumps(ASK)[:-1] + ', "model": "m", "tools": [{"type": "web_fetch_1"}], "tools": []}'
    async with gated(stream(), model=Slow(stream())) as gate:
        assert isinstance(gate.model, Slow)
        gate.model.go.set()
        await say(gate.port, raw(twice.encode()), then=has(b"word"))
        sent = gate.model.heard[0].partition(b"\r\n\r\n")[2]
        assert (sent.count(b'"model"'), sent.count(b'"tools"'), sent.count(b"web_fetch")) == (1, 1, 0)
        assert json.loads(sent) == {**ASK, "model": "m", "tools": []}


async def test_too_many_connections_are_told_once() -> None:
    with capture_logs() as logged:
        async with gated(stream()) as gate, contextlib.AsyncExitStack() as stack:
            for _ in range(MOST_CONNECTIONS):
                _, writer = await asyncio.open_connection("127.0.0.1", gate.port)
                stack.callback(writer.close)
            for _ in range(5):
                assert await say(gate.port, raw(ASK)) == b""
    assert [entry["event"] for entry in logged] == [
        "too many connections out of a box",
        "connections out of a box were turned away",
    ]
    assert logged[-1]["count"] == 5
