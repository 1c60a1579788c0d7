"""The client's patience, against real servers that behave badly."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
from starlette.types import Receive, Scope, Send

from agentvine import __version__
from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.transport import APIClient, Call
from agentvine.domain.errors import Forbidden, InvalidInput, NotFound, ServerFault, Unavailable
from agentvine.domain.key import Role
from agentvine.domain.key import Scope as KeyScope
from agentvine.domain.task import NewTask
from agentvine.domain.worker_types import TaskType
from agentvine.kit.backoff import Backoff
from agentvine.testing.http import served
from agentvine.testing.proxy import Proxy
from agentvine.wire import routes
from agentvine.wire.administration import Health, NewKey

HEALTH = Call(routes.HEALTH, {})
WELL = b'{"status":"ok","version":"1"}'
TASK = NewTask(type=TaskType.DOCS, title="x", repository="https://host/owner/name.git", branch="main")
SHORT = Backoff(first=0.01, most=0.01)


@dataclass
class Script:
    """A server that gives these answers (status, headers, body), one after the other; the last one again and again."""

    answers: Sequence[tuple[int, dict[str, str], bytes]]
    requests: list[Scope] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        status, headers, body = self.answers[min(len(self.requests), len(self.answers) - 1)]
        self.requests.append(scope)
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})


def patient(url: str, patience: float = 50.0, key: str | None = None) -> APIClient:
    return APIClient(url, key, patience=patience, backoff=SHORT)


@pytest.fixture
async def refusing() -> AsyncIterator[str]:
    """A port on which nobody listens, and nobody else can."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}"


async def test_what_may_pass_is_tried_again() -> None:
    script = Script([(503, {}, b""), (502, {}, b"bad gateway"), (504, {}, b""), (429, {}, b""), (200, {}, WELL)])
    async with served(script) as url, patient(url) as api:
        assert (await api.fetch(Health, HEALTH)).version == "1"
    assert len(script.requests) == 5


async def test_a_retry_after_that_is_longer_than_the_patience_ends_it_at_once() -> None:
    script = Script([(503, {"Retry-After": "60"}, b""), (200, {}, WELL)])
    async with served(script) as url, patient(url) as api:
        with pytest.raises(Unavailable):
            await api.fetch(Health, HEALTH)
    assert len(script.requests) == 1


async def test_a_retry_after_is_waited_for() -> None:
    script = Script([(503, {"Retry-After": "1"}, b""), (200, {}, WELL)])
    loop = asyncio.get_running_loop()
    async with served(script) as url, patient(url) as api:
        began = loop.time()
        await api.fetch(Health, HEALTH)
    assert loop.time() - began >= 1


async def test_a_refusal_is_not_tried_again() -> None:
    script = Script([(403, {}, b"no entry"), (200, {}, WELL)])
    async with served(script) as url, patient(url) as api:
        with pytest.raises(Forbidden, match="no entry"):
            await api.fetch(Health, HEALTH)
    assert len(script.requests) == 1


async def test_nobody_there_is_unavailable_and_says_where_and_what_to_do(refusing: str) -> None:
    async with patient(refusing, patience=0.05) as api:
        with pytest.raises(Unavailable, match="agentvine up") as caught:
            await api.fetch(Health, HEALTH)
    assert refusing in caught.value.message


async def test_a_server_that_comes_back_in_time_is_reached() -> None:
    async with served(Script([(200, {}, WELL)])) as url, Proxy(port_of(url)) as proxy, patient(proxy.url) as api:
        await proxy.cut()
        asking = asyncio.create_task(api.fetch(Health, HEALTH))
        await asyncio.wait([asking], timeout=0.1)
        assert not asking.done()
        proxy.mend()
        assert (await asking).status == "ok"


async def test_a_lost_answer_is_asked_for_again_unless_that_could_do_it_twice() -> None:
    script = Script([(200, {}, WELL)])
    async with served(script) as url, Proxy(port_of(url)) as proxy, patient(proxy.url) as api:
        proxy.lose_answers("GET")
        await api.fetch(Health, HEALTH)
        assert len(script.requests) == 2
        proxy.lose_answers("POST")
        with pytest.raises(Unavailable):
            await HTTPFrontDesk(api).create_key(NewKey(name="x", scope=KeyScope(role=Role.VIEWER)))
        assert len(script.requests) == 3


async def test_a_submission_carries_one_idempotency_key_over_all_its_tries() -> None:
    script = Script([(503, {}, b""), (503, {}, b""), (404, {}, b"")])
    async with served(script) as url, patient(url) as api:
        with pytest.raises(NotFound):
            await HTTPFrontDesk(api).submit(TASK)
        with pytest.raises(NotFound):
            await HTTPFrontDesk(api).submit(TASK, "mine")
    sent = [dict(request["headers"])[b"idempotency-key"] for request in script.requests]
    assert sent[0] == sent[1] == sent[2] != sent[3] == b"mine"


async def test_every_request_says_who_asks() -> None:
    script = Script([(200, {}, WELL)])
    async with served(script) as url, patient(f"{url}/behind/a/proxy/", key="av_secret") as api:
        await api.fetch(Health, HEALTH)
    headers = dict(script.requests[0]["headers"])
    assert script.requests[0]["path"] == "/behind/a/proxy/api/v1/health"
    assert headers[b"authorization"] == b"Bearer av_secret"
    assert headers[b"user-agent"] == f"agentvine/{__version__}".encode()


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"", b"{}"])
async def test_something_else_than_a_server_is_recognised(body: bytes) -> None:
    async with served(Script([(200, {}, body)])) as url, patient(url) as api:
        with pytest.raises(ServerFault, match="not what an AgentVine server says"):
            await api.fetch(Health, HEALTH)


async def test_a_redirect_is_told_not_followed() -> None:
    async with served(Script([(308, {"Location": "https://elsewhere/"}, b"")])) as url, patient(url) as api:
        with pytest.raises(Unavailable, match="https://elsewhere/"):
            await api.fetch(Health, HEALTH)


@pytest.mark.parametrize("address", ["127.0.0.1:8420", "ftp://host", "http://", "", "http://[::1", "nonsense"])
def test_an_address_that_is_none_is_told_before_anything_is_sent(address: str) -> None:
    with pytest.raises(InvalidInput):
        APIClient(address)


@pytest.mark.parametrize("key", ["av_x\n", "two words", "käse"])
def test_a_key_that_cannot_be_one_is_told_before_anything_is_sent(key: str) -> None:
    with pytest.raises(InvalidInput):
        APIClient("http://127.0.0.1:1", key)


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1])
