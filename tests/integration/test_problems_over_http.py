"""Every error that the server can raise comes out of the client as it went in."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import pytest

from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.control_plane import HTTPControlPlane
from agentvine.client.transport import APIClient
from agentvine.domain import errors
from agentvine.domain.errors import AgentVineError, NotFound, ServerFault, Unavailable
from agentvine.domain.ids import new_id
from agentvine.domain.key import Key, Role, Scope
from agentvine.domain.worker import WorkerStatus
from agentvine.kit.backoff import Backoff
from agentvine.server.app import create_app
from agentvine.server.expulsion import Expulsion
from agentvine.server.services import Services
from agentvine.testing.http import served
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.front_desk import FrontDesk
from agentvine.wire.messages import Heartbeat
from agentvine.wire.problems import STATUS

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
SAMPLES: tuple[AgentVineError, ...] = (
    errors.InvalidInput("title: is missing", errors=[{"pointer": "/title", "message": "is missing"}]),
    errors.DependencyCycle("they wait for one another", cycle=["tsk_a", "tsk_b"]),
    errors.IdempotencyMismatch("another body"),
    errors.TooLarge("too much", limit=10),
    errors.Unauthenticated("who are you?"),
    errors.Forbidden("you may not", needs={"role": ["admin"]}),
    errors.NotFound("no such task", kind="task", id="tsk_x"),
    errors.Conflict("it is over", status="completed"),
    errors.LeaseLost("somebody else has it", status="running"),
    errors.Superseded("another process is it now", worker="wrk_1"),
    errors.AlreadyAnswered("too late", response={"verdict": "denied", "message": "naïve ☃"}),
    errors.UpgradeRequired("too old", oldest="1.0.0"),
    errors.Unavailable("later", retry_after=3600),
    errors.ServerFault("it broke"),
)


@dataclass
class Raising:
    """Server and key that answer every call with one error."""

    error: Exception

    async def task(self, task_id: str) -> None:
        raise self.error

    async def heartbeat(self, worker_id: str, beat: Heartbeat) -> None:
        raise self.error


def raising(error: Exception, role: Role) -> Services:
    key = Key(
        id=new_id("key", WHEN),
        name="k",
        prefix="av_0123456789",
        scope=Scope(role=role),
        created_at=WHEN,
        created_by="t",
    )

    async def identify(secret: str) -> Key:
        return key

    async def nothing() -> int:
        return 0

    async def well() -> None: ...

    async def speaking(key: Key, token: str) -> Key:
        return key

    return Services(
        identify=identify,
        speaking=speaking,
        expulsion=cast("Expulsion", None),
        refused=lambda refusal: None,
        control_plane=lambda _: cast("ControlPlane", Raising(error)),
        front_desk=lambda _: cast("FrontDesk", Raising(error)),
        latest_event=nothing,
        check=well,
    )


def test_there_is_a_sample_of_every_error() -> None:
    assert {type(sample) for sample in SAMPLES} == set(STATUS)


@pytest.fixture(params=SAMPLES, ids=lambda sample: type(sample).__name__)
def sample(request: pytest.FixtureRequest) -> AgentVineError:
    return cast("AgentVineError", request.param)


async def caught(error: Exception, role: Role) -> AgentVineError:
    """What the client raises when the server raises `error`: over a FastAPI route, or over a hot one for a worker."""
    async with served(create_app(raising(error, role))) as url, client(url) as api:
        with pytest.raises(AgentVineError) as info:
            if role is Role.WORKER:
                await HTTPControlPlane(api).heartbeat("wrk_1", Heartbeat(status=WorkerStatus.IDLE))
            else:
                await HTTPFrontDesk(api).task("tsk_1")
    return info.value


def client(url: str) -> APIClient:
    return APIClient(url, "key", patience=0.0, backoff=Backoff(first=0.001, most=0.001))


@pytest.mark.parametrize("role", [Role.MEMBER, Role.WORKER])
async def test_an_error_crosses_the_wire_unchanged(sample: AgentVineError, role: Role) -> None:
    error = await caught(sample, role)
    assert (type(error), error.message, error.facts) == (type(sample), sample.message, sample.facts)


@pytest.mark.parametrize("role", [Role.MEMBER, Role.WORKER])
async def test_what_nobody_thought_of_is_a_server_fault_that_tells_nothing_but_where_to_look(
    role: Role, capsys: pytest.CaptureFixture[str]
) -> None:
    error = await caught(RuntimeError("the secret is 42"), role)
    assert type(error) is ServerFault
    assert "42" not in error.message
    logged = capsys.readouterr()
    assert str(error.facts["request_id"]) in logged.out + logged.err


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with served(create_app(raising(Unavailable("later", retry_after=2.5), Role.MEMBER))) as url:
        yield url


async def test_the_headers_that_go_with_a_problem(url: str) -> None:
    async with client(url) as api:
        refused = await api.http.get("/api/v1/tasks/tsk_1")
        assert refused.headers["retry-after"] == "3"
        assert refused.headers["content-type"] == "application/problem+json"
        nobody = await api.http.get("/api/v1/tasks", headers={"Authorization": ""})
        assert (nobody.status_code, nobody.headers["www-authenticate"]) == (401, 'Bearer realm="agentvine"')
        wrong_way = await api.http.put("/api/v1/tasks")
        assert (wrong_way.status_code, wrong_way.headers["allow"]) == (405, "GET, POST")
        assert json.loads(wrong_way.content)["type"] == "about:blank"


async def test_a_path_that_leads_nowhere_is_not_found(url: str) -> None:
    async with client(url) as api:
        for path in (
            "/",
            "/nowhere",
            "/api",
            "/api/v1",
            "/api/v1/",
            "/api/v1/tasks/",
            "/api/v1/tasks//cancel",
            "/api/v2/x",
        ):
            answer = await api.http.get(path)
            assert answer.status_code == 404, path
            assert answer.headers["content-type"] == "application/problem+json"
        with pytest.raises(NotFound):
            await HTTPFrontDesk(api).task("../keys")


async def test_a_request_can_be_found_again_by_its_id(url: str) -> None:
    async with client(url) as api:
        answer = await api.http.get("/api/v1/health", headers={"X-Request-Id": "mine-1"})
        assert answer.headers["x-request-id"] == "mine-1"
        answer = await api.http.get("/api/v1/health", headers={"X-Request-Id": "two words"})
        assert answer.headers["x-request-id"] not in {"", "two words"}
