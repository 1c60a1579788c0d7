"""The transcript of a conversation on its way to the server, and back when a conversation goes on."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from agentvine.domain.errors import AgentVineError, LeaseLost, NotFound, Unavailable
from agentvine.kit.backoff import Backoff
from agentvine.kit.doorbell import Doorbell, pause
from agentvine.kit.logs import logger, redact
from agentvine.kit.redaction import Redactor, mapped
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.messages import LARGEST_BODY, TranscriptBatch
from agentvine.worker.agent.base import Entry
from agentvine.worker.beside import beside

GAP = "agentvine-gap"
"""The type of the entry that stands where entries were lost."""
_DEFERRED = "hook_deferred_tool"
"""The type of the attachment by which Claude Code marks the call at which it was stopped."""
_BATCH_BYTES = LARGEST_BODY // 4
_BATCH_ENTRIES = 1000
_LONGEST_STRING = 100_000
_BUFFER_BYTES = 64 * 1024 * 1024
_KEPT_BYTES = 256 * 1024 * 1024
_FLUSH_SECONDS = 10.0
_GATHER_SECONDS = 0.2
"""How long entries wait for company: a conversation writes many small ones."""

_log = logger("transcript")


class SessionTranscript:
    """Keeps one execution's conversation, here and on the server. Made by `recording`.

    Entries are numbered from 0 on and sent in batches by a task of its own: whoever appends never waits. While the
    server cannot be reached they are held back, up to a limit; beyond it they are dropped, and one entry of type `GAP`
    stands for them. The copy here, from which a conversation goes on in this execution, stays whole.
    """

    def __init__(self, plane: ControlPlane, execution_id: str, token: int, secrets: Sequence[str] = ()) -> None:
        self._plane = plane
        self._execution_id = execution_id
        self._token = token
        self._redactor = Redactor(secrets)
        self._kept: list[Entry] = []
        self._kept_bytes = 0
        self._waiting: list[tuple[Entry, int]] = []
        self._waiting_bytes = 0
        self._next = 0
        self._overflows = 0
        self._bell = Doorbell()
        self._sent = asyncio.Event()
        self._sent.set()
        self._closed = False

    async def append(self, entries: Sequence[Entry]) -> None:
        """Take `entries` over; returns at once and never raises."""
        for entry in entries:
            clean = self._clean(entry)
            size = _size(clean)
            if size > _BATCH_BYTES:
                clean = _shortened(clean)
                size = _size(clean)
            self._keep(clean, size)
            self._enqueue(clean, size)
        self._bell.ring()

    async def load(self) -> Sequence[Entry]:
        """The conversation so far; empty if there is none, or more than is kept."""
        return tuple(self._kept) if self._kept_bytes <= _KEPT_BYTES else ()

    async def adopt(self, execution_id: str) -> bool:
        """Begin with the conversation of an earlier execution, which is copied. False if it cannot be had whole."""
        entries: list[Entry] = []
        while True:
            try:
                page = await self._plane.transcript(execution_id, len(entries))
            except NotFound:
                return False
            if not page.entries:
                break
            entries += page.entries
        if not entries or any(entry.get("type") == GAP for entry in entries):
            return False
        await self.append(entries)
        return True

    @property
    def parked(self) -> bool:
        """True if it ends with a call that was stopped to be made later: without a prompt it goes on there."""
        deferred = ""
        for entry in self._kept:
            attachment = entry.get("attachment")
            if isinstance(attachment, dict) and attachment.get("type") == _DEFERRED:
                deferred = str(attachment.get("toolUseID"))
        return bool(deferred) and deferred not in self._calls()[1]

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The tools of calls whose result is not known, in the order in which they were made."""
        made, done = self._calls()
        return tuple(name for call, name in made.items() if call not in done)

    def _calls(self) -> tuple[dict[str, str], set[str]]:
        """The calls of the main conversation, by id, and those that have a result."""
        made: dict[str, str] = {}
        done: set[str] = set()
        for entry in self._kept:
            message = entry.get("message")
            content = message.get("content") if isinstance(message, dict) else None
            for block in content if isinstance(content, list) and entry.get("isSidechain") is not True else ():
                if isinstance(block, dict) and block.get("type") == "tool_use":
                    made[str(block.get("id"))] = str(block.get("name"))
                elif isinstance(block, dict) and block.get("type") == "tool_result":
                    done.add(str(block.get("tool_use_id")))
        return made, done

    async def flush(self, seconds: float = _FLUSH_SECONDS) -> bool:
        """Wait until all is on the server, at most `seconds`. True if it is."""
        self._bell.ring()
        try:
            async with asyncio.timeout(seconds):
                await self._sent.wait()
        except TimeoutError:
            return False
        return not self._closed

    def _keep(self, entry: Entry, size: int) -> None:
        self._kept_bytes += size
        if self._kept_bytes > _KEPT_BYTES:
            self._kept.clear()
        else:
            self._kept.append(entry)

    def _enqueue(self, entry: Entry, size: int) -> None:
        if self._closed:
            return
        if size > _BATCH_BYTES or self._waiting_bytes + size > _BUFFER_BYTES:
            lost = 1 + sum(_dropped(waiting) for waiting, _ in self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
            self._overflows += 1
            entry = {"type": GAP, "dropped": lost}
            size = _size(entry)
        self._waiting.append((entry, size))
        self._waiting_bytes += size
        self._sent.clear()

    def _clean(self, entry: Entry) -> Entry:
        cleaned = mapped(entry, self._redacted)
        return cleaned if isinstance(cleaned, dict) else {}

    def _redacted(self, text: str) -> str:
        # A text may be cut anywhere: by a limit on a tool's output, or between two messages.
        clean = redact(self._redactor.piece(text))
        return clean.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate is no text

    async def send_all(self) -> None:
        """Send whatever comes, for as long as the order is ours."""
        backoff, attempt = Backoff(first=0.2, most=15.0), 0
        while not self._closed:
            if not self._waiting:
                self._sent.set()
                await self._bell.wait()
                await pause(_GATHER_SECONDS)
                continue
            batch, overflows = self._batch(), self._overflows
            try:
                await self._plane.add_transcript(self._execution_id, batch)
            except LeaseLost:
                self._give_up("the order is not ours any more")
            except Unavailable as error:
                attempt += 1
                _log.warning("the server takes no transcript yet", attempt=attempt, reason=error.message)
                await pause(backoff.delay(attempt))
            except AgentVineError as error:
                self._give_up(error.message)
            else:
                attempt = 0
                self._done(len(batch.entries), overflows)

    def _batch(self) -> TranscriptBatch:
        entries: list[Entry] = []
        total = 0
        for entry, size in self._waiting[:_BATCH_ENTRIES]:
            if entries and total + size > _BATCH_BYTES:
                break
            entries.append(entry)
            total += size
        return TranscriptBatch(token=self._token, first=self._next, entries=tuple(entries))

    def _done(self, count: int, overflows: int) -> None:
        """`count` entries are stored. If the buffer ran over meanwhile they are not in the queue any more."""
        self._next += count
        if overflows == self._overflows:
            self._waiting_bytes -= sum(size for _, size in self._waiting[:count])
            del self._waiting[:count]

    def _give_up(self, why: str) -> None:
        _log.warning("the transcript is given up", execution_id=self._execution_id, reason=why)
        self._closed = True
        self._waiting.clear()
        self._sent.set()


@asynccontextmanager
async def recording(
    plane: ControlPlane, execution_id: str, token: int, secrets: Sequence[str] = ()
) -> AsyncIterator[SessionTranscript]:
    """A transcript that is sent while the block runs. At its end what is left is sent, within a bounded time."""
    transcript = SessionTranscript(plane, execution_id, token, secrets)
    async with beside("sending the transcript", transcript.send_all()):
        yield transcript
        await transcript.flush()


def _dropped(entry: Entry) -> int:
    """How many entries of the conversation one that waits stands for."""
    dropped = entry.get("dropped")
    return dropped if entry.get("type") == GAP and isinstance(dropped, int) else 1


def _size(entry: Entry) -> int:
    return len(json.dumps(entry, ensure_ascii=False).encode("utf-8")) + 2


def _shortened(entry: Entry) -> Entry:
    def cut(text: str) -> str:
        rest = len(text) - _LONGEST_STRING
        return text if rest <= 0 else f"{text[:_LONGEST_STRING]}… [{rest} characters left out]"

    shortened = mapped(entry, cut)
    return shortened if isinstance(shortened, dict) else {}
