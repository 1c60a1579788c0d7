"""An HTTP server that plays a forge: routes, who may ask, and how it misbehaves."""

import asyncio
import json
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl, unquote

from agentvine.kit.doorbell import pause
from agentvine.testing.forges.description import Description
from agentvine.testing.forges.world import Job, Pull, Talk, World
from agentvine.testing.loopback import LoopbackServer


class Fault(StrEnum):
    """How one call goes wrong."""

    CUT_BEFORE = "the connection breaks before anything is done"
    CUT_AFTER = "it is done, and the connection breaks"
    HALF_AN_ANSWER = "it is done, and the connection breaks within the answer"
    TWICE = "it is done twice, and the second answer comes"
    LIMITED = "429 with Retry-After"
    FORBIDDEN_FOR_NOW = "403 with an exhausted rate limit"
    BROKEN = "500, and nothing is done"
    BAD_GATEWAY = "502 from something before the forge, and it is done"
    GARBLED = "it is done, and the answer cannot be unpacked"
    UNAVAILABLE = "503, and nothing is done"
    SLOW = "it is done, and no answer comes"
    DRIPPING = "it is done, and the answer comes byte by byte and never ends"
    FLOODING = "it is done, and the answer comes as fast as it can and never ends"


UNKNOWN = frozenset({Fault.CUT_AFTER, Fault.HALF_AN_ANSWER, Fault.SLOW, Fault.BAD_GATEWAY, Fault.GARBLED})
"""It is done, and the worker is not told so."""
NOTHING_IS_DONE = frozenset({Fault.CUT_BEFORE, Fault.LIMITED, Fault.FORBIDDEN_FOR_NOW, Fault.BROKEN, Fault.UNAVAILABLE})

_PARTS = {Fault.DRIPPING: (b" ", 0.05), Fault.FLOODING: (b" " * 1024 * 1024, 0.0)}
"""What such an answer is made of, and the seconds between two of them."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request. `names` are the parts of the path that its template names."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: Any
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def wanted(self) -> dict[str, str]:
        """The query's parameters."""
        return dict(parse_qsl(self.query))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """The forge says no."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(body)
        self.answer = Answer(status, body, headers or {})


Handler = Callable[[Call], Answer]


class ForgeServer(LoopbackServer):
    """Plays one forge with one repository, `world`. An async context manager."""

    steps = True
    """Whether it tells which step of a job failed."""
    issues_have_threads = False
    below = ""
    """The path below which the API is."""

    def __init__(self, description: Description, world: World, token: str) -> None:
        super().__init__()
        self.world = world
        self.token = token
        self.calls: list[str] = []
        """Method and template of each call, in order."""
        self.done: list[str] = []
        """Those of them that changed something."""
        self.seen: list[str] = []
        """Each request's first line."""
        self.violations: list[str] = []
        """What was not as the forge describes it."""
        self.faults: dict[int, Fault] = {}
        """By the number of the call, counted from 0."""
        self.retry_after = "0"
        self.twice = False
        """What comes between repeats the next call that writes."""
        self.meanwhile: Callable[[], None] | None = None
        """What a person does between a call whose answer is lost and the next one."""
        self.read_only = False
        """The token may look, and change nothing."""
        self.redirect: str | None = None
        """Where every request is sent on to, if anywhere."""
        self.shown: list[str] = []
        """What each request said of who asks."""
        self._description = description
        self._routes = [(method, path, _pattern(path), do) for (method, path), do in self.routes().items()]

    @abstractmethod
    def routes(self) -> Mapping[tuple[str, str], Handler]:
        """By method and path, as the description writes it."""

    @abstractmethod
    def who(self, call: Call) -> None:
        """Raises Refused for a call of somebody unknown."""

    @abstractmethod
    def forbidden(self) -> Answer:
        """What a token hears that may not."""

    @abstractmethod
    def leave_unfinished(self, pull: Pull) -> None:
        """Somebody who uses the same account has begun a review there."""

    @abstractmethod
    def thread_of(self, first: Talk) -> str:
        """What we call the thread that a comment on a line begins."""

    @abstractmethod
    def check_of(self, job: Job) -> str:
        """What we call a job."""

    def kept(self) -> str:
        """All that the forge keeps."""
        return repr(self.world)

    def located(self, path: str) -> str:
        """The path under which a call is handled."""
        return path

    def writes(self) -> set[str]:
        """Method and template of each call by which anything is changed."""
        return {f"{method} {path}" for method, path in self.routes() if method != "GET"}

    @property
    def url(self) -> str:
        """The forge's address."""
        return self.address

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """As in `LoopbackServer`: one request."""
        if (call := await _read(reader)) is not None:
            await self._answer(call, writer)

    async def _answer(self, call: Call, writer: asyncio.StreamWriter) -> None:
        fault = self.faults.get(len(self.calls))
        self.seen.append(f"{call.method} {call.path}?{call.query}")
        self.shown.append(call.headers.get("authorization", ""))
        if self.redirect is not None:
            writer.write(_written(Answer(307, None, {"Location": f"{self.redirect}{call.path}"})))
            return
        if fault is Fault.CUT_BEFORE:
            self.calls.append(f"{call.method} {call.path}")
            return
        answer = self._spoilt(fault) if fault in NOTHING_IS_DONE else self._handled(call)
        if fault in NOTHING_IS_DONE:
            self.calls.append(f"{call.method} {call.path}")
        if fault is Fault.TWICE:
            answer = self._handled(call)
            self.calls.pop()
        if fault in UNKNOWN and self.meanwhile is not None:
            self.meanwhile()
        if fault is Fault.CUT_AFTER:
            return
        if fault is Fault.SLOW:
            await asyncio.Event().wait()
        if fault in _PARTS:
            await _write_for_ever(writer, *_PARTS[fault])
        raw = _written(self._spoilt(fault) if fault in {Fault.BAD_GATEWAY, Fault.GARBLED} else answer)
        writer.write(raw[: len(raw) - 10] if fault is Fault.HALF_AN_ANSWER else raw)
        await writer.drain()

    def _spoilt(self, fault: Fault | None) -> Answer:
        used_up = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700000000"}
        return {
            Fault.LIMITED: Answer(429, {"message": "slow down"}, {"Retry-After": self.retry_after}),
            Fault.FORBIDDEN_FOR_NOW: Answer(403, {"message": "API rate limit exceeded for user ID 1."}, used_up),
            Fault.BROKEN: Answer(500, {"message": "oops"}),
            Fault.UNAVAILABLE: Answer(503, "<html>back soon</html>", {"Retry-After": self.retry_after}),
            Fault.BAD_GATEWAY: Answer(502, "<html>bad gateway</html>"),
            Fault.GARBLED: Answer(200, "this is not packed", {"Content-Encoding": "gzip"}),
        }[fault or Fault.BROKEN]

    def _handled(self, call: Call) -> Answer:
        path = self.located(call.path)
        inside = path.removeprefix(self.below) if path.startswith(self.below) else ""
        for method, template, pattern, do in self._routes:
            if method == call.method and (found := pattern.fullmatch(inside)):
                names = {name: unquote(value) for name, value in found.groupdict().items()}
                told = Call(call.method, inside, call.query, call.headers, call.body, names)
                return self._carried_out(template, told, do)
        self.calls.append(f"{call.method} {call.path}")
        self.violations.append(f"{call.method} {call.path} is not played here")
        return Answer(404, {"message": "Not Found"})

    def _carried_out(self, template: str, call: Call, do: Handler) -> Answer:
        self.calls.append(f"{call.method} {template}")
        before = "" if call.method == "GET" else self.kept()
        self.violations += self._description.request(call.method, template, call.query, call.body)
        try:
            self.who(call)
            if self.twice and call.method != "GET":
                self.twice = False
                do(call)
            answer = self.forbidden() if self.read_only and call.method != "GET" else do(call)
        except Refused as refused:
            answer = refused.answer
        if before and self.kept() != before:
            self.done.append(f"{call.method} {template}")
        told = json.dumps(answer.body).replace(self.url, "http://forge.example")
        self.violations += self._description.judged(call.method, template, answer.status, told)
        return answer


def page_of(entries: list[Any], call: Call, size: str, longest: int = 100) -> list[Any]:
    """The page that a call asks for; `size` is what the forge calls the number of entries."""
    number, most = int(call.wanted.get("page", "1")), min(int(call.wanted.get(size, "30")), longest)
    return entries[(number - 1) * most : number * most]


def written(moment: datetime) -> str:
    """A moment as forges write it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def since(call: Call, name: str = "since") -> datetime:
    """The moment in the query, or the beginning of time."""
    return datetime.fromisoformat(call.wanted.get(name, "1970-01-01T00:00:00Z"))


def _pattern(template: str) -> re.Pattern[str]:
    """A pattern for the paths of a template: each name in braces is one piece."""
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+?)", re.escape(template)))


async def _read(reader: asyncio.StreamReader) -> Call | None:
    line = (await reader.readline()).decode().split()
    if len(line) != 3:
        return None
    headers: dict[str, str] = {}
    while header := (await reader.readline()).decode().strip():
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    raw = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, query = line[1].partition("?")
    return Call(line[0], path, query, headers, json.loads(raw) if raw else None)


async def _write_for_ever(writer: asyncio.StreamWriter, part: bytes, seconds: float) -> None:
    """Until the other side hangs up."""
    writer.write(b"HTTP/1.1 200 Told\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")
    while True:
        writer.write(part)
        await writer.drain()
        await pause(seconds)


def _written(answer: Answer) -> bytes:
    plain = isinstance(answer.body, str)
    body = b"" if answer.body is None else answer.body.encode() if plain else json.dumps(answer.body).encode()
    kind = "text/html" if plain and answer.body.startswith("<") else "text/plain" if plain else "application/json"
    lines = [f"HTTP/1.1 {answer.status} Told", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"Content-Type: {kind}"] if body else []
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body
