"""Whatever is sent, the server answers 4xx with a problem document that says what and where. Never 5xx."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from pydantic import JsonValue
from schemathesis.core.result import Ok

from agentvine.domain.key import Role
from agentvine.testing.http import FIRST_KEY, api, new_key, server_on
from agentvine.wire import routes
from agentvine.wire.messages import LARGEST_ARTIFACT, LARGEST_BODY
from agentvine.wire.problems import CONTENT_TYPE, Problem

pytestmark = pytest.mark.asyncio(loop_scope="module")
GOOD: dict[str, JsonValue] = {"type": "docs", "title": "x", "repository": "https://host/own/name.git", "branch": "main"}
ORDER, EXECUTION, NUL = "wo_" + "0" * 26, "exe_" + "0" * 26, "%00"
TASKS, START = routes.SUBMIT.full, routes.START.url(work_order_id=ORDER)
ARTIFACT = routes.PUT_ARTIFACT.url(execution_id=EXECUTION, name="bundle")
EXAMPLES = 3
"""Of each operation and mode."""
Operation = schemathesis.APIOperation[Any, Any, Any, Any]
AnyCase = schemathesis.Case[Any]
JSON = {"Content-Type": "application/json"}
ADMIN = {"Authorization": f"Bearer {FIRST_KEY}"}


@dataclass(frozen=True)
class Site:
    """A server, and a client with the key that belongs to a path."""

    url: str
    admin: httpx.AsyncClient
    worker: httpx.AsyncClient
    worker_headers: dict[str, str]
    """Its key and its session."""

    async def post(self, path: str, body: bytes | str | AsyncIterator[bytes], **headers: str) -> httpx.Response:
        client = self.admin if path == TASKS else self.worker
        return await client.post(path, content=body, headers={**JSON, **headers})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with server_on(tmp_path_factory.mktemp("data")) as url:
        secret = await new_key(url, Role.WORKER)
        async with api(url) as admin, api(url, secret) as worker:
            worker.http.headers[routes.SESSION_HEADER] = await registered(worker.http, "wrk_site")
            headers = {name: worker.http.headers[name] for name in ("Authorization", routes.SESSION_HEADER)}
            yield Site(url, admin.http, worker.http, headers)


async def registered(client: httpx.AsyncClient, worker_id: str) -> str:
    """Its session token."""
    worker = {"id": worker_id, "name": "one", "worker_type": "docs", "version": "1"}
    answer = await client.post(routes.REGISTER.full, json=worker)
    session: str = answer.json()["session"]
    return session


def problem_of(answer: httpx.Response, status: int = 422) -> Problem:
    """The problem document of a refusal, checked."""
    assert answer.status_code == status, answer.text
    return checked(answer)


def checked(answer: httpx.Response) -> Problem:
    assert answer.headers["content-type"] == CONTENT_TYPE
    problem = Problem.model_validate_json(answer.content)
    assert problem.status == answer.status_code < 500
    assert problem.detail
    return problem


def places(problem: Problem, kind: str = "pointer") -> list[JsonValue]:
    errors = problem.facts["errors"]
    assert isinstance(errors, list)
    return [error.get(kind) for error in errors if isinstance(error, dict)]


NOT_JSON = [
    (b"", "empty"),
    (b"{", "not JSON"),
    (b"{'a': 1}", "not JSON"),
    (b'{"a": 1,}', "not JSON"),
    (b'{"a": 1} {"a": 1}', "not JSON"),
    (b'{"a": "\x01"}', "not JSON"),
    (b'{"a": NaN}', "NaN"),
    (b'{"a": -Infinity}', "-Infinity"),
    (b'{"title": "a", "title": "b"}', '"title" stands twice'),
    (b'{"a": [{"b": 1, "b": 2}]}', '"b" stands twice'),
    (b"[" * 100_000, "too deeply"),
    (b'{"a":' * 100_000, "too deeply"),
    (b"[" * 100_000 + b"]" * 100_000, "too deeply"),
    (b'{"token": ' + b"9" * 5000 + b"}", "too large"),
    (b'{"title": "\xff"}', "not UTF-8"),
    ("\ufeff{}".encode(), "not JSON"),
    (json.dumps(GOOD).encode("utf-16"), "not UTF-8"),
    (b"null", ""),
    (b"[]", ""),
    (b'"text"', ""),
    (b"1e999", ""),
]


@pytest.mark.parametrize("path", [TASKS, START], ids=["people", "workers"])
@pytest.mark.parametrize(("body", "said"), NOT_JSON, ids=range(len(NOT_JSON)))
async def test_what_is_no_json_object_is_told(site: Site, path: str, body: bytes, said: str) -> None:
    problem = problem_of(await site.post(path, body))
    assert said in problem.detail
    assert places(problem) == [""]


BAD_TASKS: list[tuple[dict[str, JsonValue], str]] = [
    ({"title": "a\x00b"}, "/title"),
    ({"title": "\ud800"}, "/title"),
    ({"title": ""}, "/title"),
    ({"title": "x" * 501}, "/title"),
    ({"title": ["x"]}, "/title"),
    ({"description": "\x00"}, "/description"),
    ({"description": "\udfff"}, "/description"),
    ({"description": "x" * 2_000_000}, "/description"),
    ({"requirements": ["fine", 7]}, "/requirements/1"),
    ({"requirements": ["x"] * 101}, "/requirements"),
    ({"type": "dance"}, "/type"),
    ({"repository": "--upload-pack=x"}, "/repository"),
    ({"repository": "ext::sh -c id"}, "/repository"),
    ({"repository": "https://user:secret@host/x"}, "/repository"),
    ({"repository": "https://host:99999999/x"}, "/repository"),
    ({"repository": "https://[host/x"}, "/repository"),
    ({"branch": "../../etc"}, "/branch"),
    ({"priority": 10**400}, "/priority"),
    ({"priority": 1e300}, "/priority"),
    ({"budget": {"usd": 0}}, "/budget/usd"),
    ({"budget": {"usd/~": 1}}, "/budget/usd~1~0"),
    ({"needs": ["tsk_x"]}, "/needs/0"),
    ({"queue": "vip"}, ""),
    ({"surprise": 1}, "/surprise"),
]


@pytest.mark.parametrize(("change", "where"), BAD_TASKS, ids=range(len(BAD_TASKS)))
async def test_a_task_that_cannot_be_is_told_where(site: Site, change: dict[str, JsonValue], where: str) -> None:
    assert where in places(problem_of(await site.post(TASKS, json.dumps({**GOOD, **change}))))


async def test_a_needed_task_that_does_not_exist_is_told_where(site: Site) -> None:
    problem = problem_of(await site.post(TASKS, json.dumps({**GOOD, "needs": ["tsk_" + "0" * 26]})))
    assert places(problem) == ["/needs/0"]


async def test_a_worker_is_told_of_all_its_mistakes_at_once(site: Site) -> None:
    claim = {"worker_id": "WRK", "execution_id": "exe", "queue_names": [], "wait_seconds": 1e6}
    problem = problem_of(await site.post(routes.CLAIM.full, json.dumps(claim)))
    assert places(problem) == ["/worker_id", "/execution_id", "/queue_names", "/wait_seconds"]


@pytest.mark.parametrize("path", [TASKS, START], ids=["people", "workers"])
async def test_a_body_of_another_kind_is_refused(site: Site, path: str) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json", ""):
        problem_of(await site.post(path, json.dumps(GOOD), **{"Content-Type": kind}), 415)
    assert (await site.post(path, b"{}", **{"Content-Type": "Application/JSON; charset=utf-8"})).status_code == 422


async def chunks(total: int) -> AsyncIterator[bytes]:
    for _ in range(0, total, 1 << 20):
        yield b" " * (1 << 20)


@pytest.mark.parametrize("path", [TASKS, START], ids=["people", "workers"])
async def test_a_body_that_is_too_large_is_refused_declared_or_not(site: Site, path: str) -> None:
    assert problem_of(await site.post(path, b" " * 10_000_000), 413).facts == {"limit": LARGEST_BODY}
    assert problem_of(await site.post(path, chunks(10_000_000)), 413).facts == {"limit": LARGEST_BODY}
    assert (await site.post(path, b"{}")).status_code == 422, "the connection is as good as before"


async def test_an_artifact_may_be_larger_but_not_endless(site: Site) -> None:
    token = {"X-Lease-Token": "1"}
    problem_of(await site.worker.put(ARTIFACT, content=b"x" * (LARGEST_BODY + 1), headers=token), 404)
    who = "".join(f"{name}: {value}\r\n" for name, value in site.worker_headers.items())
    head = f"PUT {ARTIFACT} HTTP/1.1\r\nHost: x\r\n{who}X-Lease-Token: 1\r\n"
    assert "413" in await raw(
        site, f"{head}Connection: close\r\nContent-Length: {LARGEST_ARTIFACT + 1}\r\n\r\n".encode()
    )
    for bad in ("", "0", "-1", "one", "9" * 400):
        problem = problem_of(await site.worker.put(ARTIFACT, content=b"x", headers={"X-Lease-Token": bad}))
        assert places(problem, "header") == ["X-Lease-Token"]
    assert places(problem_of(await site.worker.put(ARTIFACT, content=b"x")), "header") == ["X-Lease-Token"]


PARAMETERS = [
    (TASKS, "limit=0", "limit"),
    (TASKS, "limit=201", "limit"),
    (TASKS, f"limit={'9' * 5000}", "limit"),
    (TASKS, "limit=ten", "limit"),
    (TASKS, f"cursor={NUL}", "cursor"),
    (TASKS, "cursor=nonsense", None),
    (TASKS, "cursor=%ed%a0%80", "cursor"),
    (TASKS, "status=lost", "status"),
    (TASKS, f"repository={NUL}", "repository"),
    (routes.EVENTS.full, "after=-1", "after"),
    (routes.EVENTS.full, f"after={10**30}", "after"),
    (routes.EVENTS.full, "task_id=tsk_x", "task_id"),
    (routes.REQUESTS.full, "status=lost", "status"),
    (routes.TRANSCRIPT.url(execution_id=EXECUTION), "after=-1", "after"),
    (routes.TRANSCRIPT.url(execution_id=EXECUTION), "wait_seconds=nan", "wait_seconds"),
    (routes.RESPONSE.url(request_id="req_" + "0" * 26), "wait_seconds=1e999", "wait_seconds"),
    (routes.AUDIT.full, "cursor=x", None),
    (routes.AUDIT.full, f"cursor={'9' * 400}", None),
    (routes.VERIFY_AUDIT.full, "after=-1", "after"),
    (routes.VERIFY_AUDIT.full, "expected=nonsense", "expected"),
    (routes.RESPONSE.url(request_id="req_" + "0" * 26), "&".join(f"a{n}=1" for n in range(2000)), None),
]


@pytest.mark.parametrize(("path", "query", "name"), PARAMETERS, ids=range(len(PARAMETERS)))
async def test_a_parameter_that_cannot_be_is_named(site: Site, path: str, query: str, name: str | None) -> None:
    problem = problem_of(await site.admin.get(f"{path}?{query}"))
    if name is not None:
        assert set(places(problem, "parameter")) == {name}


async def test_headers_that_cannot_be_are_named(site: Site) -> None:
    for key in ("", "two words", "x" * 256):
        problem = problem_of(await site.post(TASKS, json.dumps(GOOD), **{"Idempotency-Key": key}))
        assert places(problem, "header") == ["Idempotency-Key"]
    for number in ("-1", "x", "1.5", "9" * 400):
        problem = problem_of(await site.admin.get(routes.EVENTS.full, headers={"Last-Event-ID": number}))
        assert places(problem, "header") == ["Last-Event-ID"]


STRANGE_IDS = ["x", NUL, "%2e%2e", "%2F", "%ed%a0%80", "%ff", "x" * 4000, "'--"]
STRANGE_IDS += ["tsk_" + "0" * 26 + "%0a", "tsk_" + "I" * 26]


@pytest.mark.parametrize("strange", STRANGE_IDS, ids=range(len(STRANGE_IDS)))
async def test_an_id_that_cannot_be_is_not_found(site: Site, strange: str) -> None:
    for route in routes.ROUTES:
        if "{" not in route.path or route is routes.PUT_ARTIFACT:
            continue
        path = re.sub(r"\{\w+\}", lambda _: strange, route.full)
        client = site.admin if Role.ADMIN in route.roles else site.worker
        body = {"content": b"{}", "headers": JSON} if route.method in {"POST", "PATCH"} else {}
        answer = await client.request(route.method, path, **body)  # type: ignore[arg-type]
        assert answer.status_code in {404, 422} or (answer.status_code == 204 and route is routes.DEREGISTER), path
        if answer.status_code != 204:
            checked(answer)


RAW = [
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x00\xa5\x01\x00",
    b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST /api/v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /api/v1/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\nConnection: close\r\n\r\n",
    b"GET /api/v1/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Zm9v\r\nConnection: close\r\n\r\n",
    b"BREW /api/v1/tasks HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"CONNECT host:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
]


@pytest.mark.parametrize("request_", RAW, ids=range(len(RAW)))
async def test_what_is_hardly_http_is_refused_too(site: Site, request_: bytes) -> None:
    head, _, body = (await raw(site, request_)).partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 4")
    assert CONTENT_TYPE in head
    assert Problem.model_validate_json(body).detail


async def raw(site: Site, request_: bytes) -> str:
    """The answer to something that no HTTP client would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(site.url.rpartition(":")[2]))
    writer.write(request_)
    async with asyncio.timeout(60):
        answer = await reader.read()
    writer.close()
    return answer.decode()


STRANGE_ENTRIES = [
    '"\\u0000"',
    '{"\\u0000": 1}',
    "[" * 190 + "]" * 190,
    "9" * 30,
    "-" + "9" * 4000,
    "1e999",
    '"\\ud83d\\ude00"',
]


async def test_a_transcript_may_hold_whatever_json_can(site: Site) -> None:
    """It comes from a program that is not ours, and a batch that is refused would be lost."""
    assert (await site.post(TASKS, json.dumps(GOOD))).status_code == 201
    claim = {"worker_id": "wrk_site", "execution_id": "exe_" + "1" * 26}
    claimed = (await site.post(routes.CLAIM.full, json.dumps(claim))).json()
    path = routes.ADD_TRANSCRIPT.url(execution_id=claim["execution_id"])
    for number, entry in enumerate(STRANGE_ENTRIES):
        batch = f'{{"token": {claimed["lease"]["token"]}, "first": {number}, "entries": [{{"x": {entry}}}]}}'
        assert (await site.post(path, batch)).status_code == 204, entry
    told = await site.admin.get(routes.TRANSCRIPT.url(execution_id=claim["execution_id"]))
    assert told.status_code == 200
    assert len(told.json()["entries"]) == len(STRANGE_ENTRIES)


async def test_random_json_never_breaks_anything(site: Site) -> None:
    values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20), nested)
    bodies = st.dictionaries(st.sampled_from([*GOOD, "token", "usage", "delivery", "worker_id"]) | st.text(), values)

    answered: list[int] = []
    with httpx.Client(base_url=site.url, timeout=60) as client:

        @settings(max_examples=50, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
        @given(path=st.sampled_from([TASKS, START, routes.REGISTER.full]), body=bodies)
        def send(path: str, body: dict[str, JsonValue]) -> None:
            headers = {**JSON, **(ADMIN if path == TASKS else site.worker_headers)}
            answer = client.post(path, content=json.dumps(body), headers=headers)
            answered.append(answer.status_code)
            if answer.status_code >= 400:
                checked(answer)

        await asyncio.to_thread(send)
    assert answered
    assert max(answered) < 500


def nested(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)


@pytest.mark.parametrize("mode", [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE])
async def test_nothing_that_the_openapi_document_allows_or_forbids_breaks_anything(
    site: Site, mode: schemathesis.GenerationMode
) -> None:
    assert await asyncio.to_thread(_tried, site, mode) == len(routes.ROUTES) - 1


def shortened(schema: Any) -> Any:
    """A JSON schema whose texts are short; long ones are tried above, and it takes seconds to make them up."""
    if isinstance(schema, dict):
        return {key: min(value, 40) if key == "maxLength" else shortened(value) for key, value in schema.items()}
    return [shortened(item) for item in schema] if isinstance(schema, list) else schema


def _tried(site: Site, mode: schemathesis.GenerationMode) -> int:
    """How many operations were tried."""
    document = schemathesis.openapi.from_dict(shortened(httpx.get(f"{site.url}/openapi.json", timeout=60).json()))
    tried = 0
    for found in document.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        if operation.path != routes.EVENTS.full:  # that one has no end; its parameters are tried above
            route = next(r for r in routes.ROUTES if (r.method.lower(), r.full) == (operation.method, operation.path))
            headers = ADMIN if Role.ADMIN in route.roles else site.worker_headers
            _try_operation(operation, mode, site.url, headers)
            tried += 1
    return tried


def _try_operation(operation: Operation, mode: schemathesis.GenerationMode, url: str, headers: dict[str, str]) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode))
    def send(case: AnyCase) -> None:
        for part in (case.query, case.body):
            if isinstance(part, dict) and isinstance(part.get("wait_seconds"), int | float):
                part["wait_seconds"] = 0  # a valid wait would be waited
        answer = case.call(url, headers=headers, timeout=60)
        assert answer.status_code < 500, (case.as_curl_command(), answer.text)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == [CONTENT_TYPE], case.as_curl_command()
            assert Problem.model_validate_json(answer.content).status == answer.status_code

    try:
        send()
    except Unsatisfiable:  # nothing that its parameters forbid can be written down
        assert mode is schemathesis.GenerationMode.NEGATIVE
