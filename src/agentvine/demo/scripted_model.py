"""A local model that plays a script: the real Claude Code works against it, offline and the same every time.

It answers `POST /v1/messages` (streamed or whole), `POST /v1/messages/count_tokens`, and `HEAD` and `GET /`. Point
`ANTHROPIC_BASE_URL` at it; any key will do. See `script.py` for what a script says.
"""

import asyncio
import hashlib
import json
import os
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

from pydantic import JsonValue, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from agentvine.demo.messages_api import Answer, JsonObject, MessagesRequest, answer_of, plain_answer, problem
from agentvine.demo.script import CLOSING_TEXT, ErrorReply, Scenario, Script, Turn
from agentvine.demo.serving import serving
from agentvine.domain.errors import InvalidInput
from agentvine.kit.shutdown import Shutdown, on_signals

MESSAGES_PATH = "/v1/messages"
COUNT_TOKENS_PATH = "/v1/messages/count_tokens"
REQUESTS_KEPT = 1000
SIDE_TEXT = "A scripted conversation"
_BYTES_PER_TOKEN = 4
_QUOTED = 300
_json_object = TypeAdapter(JsonObject)


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request as it came. `scenario` and `turn` (an index) say what was played for it, if anything was."""

    method: str
    path: str
    headers: dict[str, str]
    raw: bytes
    scenario: str | None = None
    turn: int | None = None

    @property
    def body(self) -> dict[str, JsonValue]:
        """The JSON object that was sent; empty if it was none."""
        try:
            return _json_object.validate_json(self.raw)
        except ValidationError:
            return {}


class ScriptedModel:
    """Plays `script` as an ASGI application, `app`.

    `requests` holds the last thousand requests; `failures` says, in sentences, where a conversation left its script.
    `log` gets one line an answer.
    """

    def __init__(self, script: Script, *, log: Callable[[str], None] | None = None) -> None:
        self.requests: deque[RecordedRequest] = deque(maxlen=REQUESTS_KEPT)
        self.failures: list[str] = []
        self._script = script
        self._log = log or (lambda _: None)
        self._asked: Counter[tuple[str, int, int]] = Counter()
        self._closing = asyncio.Event()

    @property
    def app(self) -> ASGIApp:
        """The application to hand to an ASGI server."""
        return self

    def close(self) -> None:
        """End every silence that is still kept, by hanging up."""
        self._closing.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        raw = await request.body()
        reply = self._reply(RecordedRequest(request.method, request.url.path, dict(request.headers), raw))
        await reply(scope, receive, send)

    def _reply(self, request: RecordedRequest) -> ASGIApp:
        if request.path == MESSAGES_PATH and request.method == "POST":
            return self._message(request)
        self.requests.append(request)
        if request.path == COUNT_TOKENS_PATH and request.method == "POST":
            return JSONResponse({"input_tokens": len(request.raw) // _BYTES_PER_TOKEN + 1})
        if request.path == "/" and request.method in {"GET", "HEAD"}:
            return Response("The scripted model of AgentVine. It listens at /v1/messages.\n", media_type="text/plain")
        return _error(ErrorReply(status=404, message=f"{request.method} {request.path} is not known here"))

    def _message(self, recorded: RecordedRequest) -> ASGIApp:
        try:
            request = MessagesRequest.model_validate_json(recorded.raw)
        except ValidationError as error:
            self.requests.append(recorded)
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "body"
            return _error(ErrorReply(status=400, message=f"{place}: {first['msg']}"))
        if not request.tools:
            self.requests.append(recorded)
            return _Play(plain_answer(SIDE_TEXT, request, len(recorded.raw)), request.stream)
        scenario = self._script.scenario_for(request.opening())
        if scenario is None:
            self.requests.append(recorded)
            return self._unmatched(request, recorded)
        index = scenario.turn_for(request.heard())
        self.requests.append(replace(recorded, scenario=scenario.name, turn=index))
        return self._turn(scenario, index, request, len(recorded.raw))

    def _unmatched(self, request: MessagesRequest, recorded: RecordedRequest) -> ASGIApp:
        first = request.first_message()
        failure = f"No scenario of the script matches a conversation that begins: {first[-_QUOTED:]!r}"
        self._fail(failure)
        return _Play(plain_answer(failure, request, len(recorded.raw)), request.stream)

    def _turn(self, scenario: Scenario, index: int | None, request: MessagesRequest, size: int) -> ASGIApp:
        if index is None:
            self._log(f"{scenario.name}: played out")
            return _Play(plain_answer(CLOSING_TEXT, request, size), request.stream)
        turn = scenario.turns[index]
        latest = request.heard()[-1]
        if missing := turn.missing(latest):
            failure = f"{scenario.name}, turn {index + 1}: expected {missing} in {latest[-_QUOTED:]!r}"
            self._fail(failure)
            return _error(ErrorReply(status=400, message=failure))
        asked = self._count(request, index)
        error = turn.error
        if error is not None and asked <= error.times:
            self._log(f"{scenario.name}, turn {index + 1}: {error.status}")
            return _error(error)
        self._log(f"{scenario.name}, turn {index + 1}: {', '.join(call.name for call in turn.tool_calls) or 'text'}")
        faulty = asked - (error.times if error else 0) <= turn.fault_times
        return _Play(answer_of(turn, request, size), request.stream, turn, faulty=faulty, closing=self._closing)

    def _count(self, request: MessagesRequest, index: int) -> int:
        """How often this turn has now been asked for at this point of this conversation."""
        conversation = hashlib.sha256(request.first_message().encode()).hexdigest()
        key = (conversation, len(request.heard()), index)
        self._asked[key] += 1
        return self._asked[key]

    def _fail(self, failure: str) -> None:
        self.failures.append(failure)
        self._log(failure)


@dataclass(frozen=True, slots=True)
class _Play:
    """Sends an answer, with the faults of `turn` if `faulty`."""

    answer: Answer
    stream: bool
    turn: Turn | None = None
    faulty: bool = False
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self.turn if self.faulty else None
        hang = fault.hang_seconds if fault else None
        hang_at = fault.hang_after_events if fault else 0
        cut_at = fault.cut_after_events if fault else None
        undisturbed = await self._silence(self.turn.delay_ms / 1000 if self.turn else 0, receive)
        if hang_at == 0:
            undisturbed = undisturbed and await self._silence(hang, receive)
        kind = b"text/event-stream" if self.stream else b"application/json"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        if not undisturbed:
            return  # an answer without its end makes the server hang up
        for sent, chunk in enumerate(self._chunks()):
            if sent == cut_at or (0 < sent == hang_at and not await self._silence(hang, receive)):
                return
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if cut_at is None:
            await send({"type": "http.response.body", "body": b""})

    def _chunks(self) -> Iterator[bytes]:
        if not self.stream:
            yield json.dumps(self.answer.whole()).encode()
            return
        for event in self.answer.events():
            yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()

    async def _silence(self, seconds: float | None, receive: Receive) -> bool:
        """Say nothing for a while. False if the client hung up, or the server closes, before it is over."""
        if not seconds:
            return True
        waits = {asyncio.ensure_future(_until_gone(receive)), asyncio.ensure_future(self.closing.wait())}
        done, pending = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in pending:
            wait.cancel()
        return not done


async def _until_gone(receive: Receive) -> bool:
    while (await receive())["type"] != "http.disconnect":
        pass
    return True


def _error(error: ErrorReply) -> Response:
    headers = {"request-id": f"req_{uuid4().hex[:24]}", **error.headers}
    if error.retry_after is not None:
        headers["retry-after"] = f"{error.retry_after:g}"
    return JSONResponse(problem(error), status_code=error.status, headers=headers)


@dataclass(frozen=True, slots=True)
class RunningModel:
    """A scripted model that listens at `url`."""

    url: str
    model: ScriptedModel

    @property
    def variables(self) -> dict[str, str]:
        """What leads Claude Code to it. Nobody checks the key."""
        return {"ANTHROPIC_BASE_URL": self.url, "ANTHROPIC_API_KEY": "nobody-checks-it"}


@asynccontextmanager
async def serve(
    script: Script, host: str = "127.0.0.1", port: int = 0, *, log: Callable[[str], None] | None = None
) -> AsyncIterator[RunningModel]:
    """Serve `script` in the running event loop until the block ends; port 0 takes a free one.

    Raises OSError if the port cannot be had.
    """
    model = ScriptedModel(script, log=log)
    async with serving(model.app, host, port) as url:
        try:
            yield RunningModel(url, model)
        finally:
            model.close()


def _say(line: str) -> None:
    print(line, flush=True)  # whoever reads this through a pipe waits for the address


async def run(script_path: Path, port: int, host: str = "127.0.0.1", *, say: Callable[[str], None] = _say) -> None:
    """Serve the script in a file until SIGTERM or SIGINT, telling `say` the address and every answer.

    Raises InvalidInput if the script cannot be played or the port cannot be had.
    """
    script = Script.load(script_path)
    shutdown = Shutdown()
    try:
        async with serve(script, host, port, log=say) as running:
            with on_signals(shutdown):
                say(f"The scripted model listens at {running.url}: set ANTHROPIC_BASE_URL to it.")
                await shutdown.draining.wait()
    except OSError as error:
        raise InvalidInput(
            f"Cannot listen at {host}:{port} ({os.strerror(error.errno or 0)}); name another port, or 0 for any."
        ) from error
