"""What an execution leaves on the server before anything leaves this machine, and how the next one finds it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from agentvine.domain.base import Model, Text
from agentvine.domain.errors import NotFound, Unavailable
from agentvine.domain.evidence import Evidence
from agentvine.domain.ids import ExecutionId
from agentvine.domain.repository import Sha
from agentvine.kit import failpoints
from agentvine.kit.backoff import Backoff
from agentvine.kit.doorbell import pause
from agentvine.kit.logs import logger
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.messages import EvidenceReport

BUNDLE = "bundle"
DIFF = "diff"
NOTE = "result.json"
REPORT = "review.md"
SARIF = "review.sarif"
EGRESS = "egress.jsonl"
"""Every attempt of an execution to reach something outside of its sandbox."""
_TRIES = 40
_Answer = TypeVar("_Answer")

_log = logger("storing")


class Note(Model):
    """What has to be known to make the very same commits again out of the stored bundle."""

    base_sha: Sha
    """What the bundle builds on."""
    signed_for: ExecutionId
    """The execution that the commits name."""
    summary: Text = ""
    """The agent's last message."""
    judged_from: Sha | None = None
    """From where on it was verified, where that lies before what the bundle builds on."""


@dataclass(frozen=True, slots=True)
class Result:
    """A result as it is stored. `bundle` None: there are no commits, as in a review."""

    note: Note
    evidence: Evidence
    bundle: bytes | None = None
    diff: str = ""
    report: str = ""
    sarif: str = ""

    def with_evidence(self, evidence: Evidence) -> "Result":
        """The same result, with other evidence."""
        return replace(self, evidence=evidence)


@dataclass(frozen=True, slots=True)
class Shelf:
    """The server's keeping for one execution, bound to its lease."""

    plane: ControlPlane
    execution_id: str
    token: int

    async def store(self, result: Result) -> None:
        """Keep `result`; the evidence comes last, because with it the result counts as stored. Raises LeaseLost."""
        await self._put(NOTE, result.note.model_dump_json().encode())
        if result.report:
            await self._put(REPORT, result.report.encode("utf-8", "replace"))
        if result.sarif:
            await self._put(SARIF, result.sarif.encode("utf-8", "replace"))
        if result.diff:
            await self._put(DIFF, result.diff.encode("utf-8", "replace"))
        if result.bundle is not None:
            await self._put(BUNDLE, result.bundle)
        await self.record(result.evidence)

    async def record(self, evidence: Evidence) -> None:
        """Keep evidence alone, of a result that is not good enough or that was moved onto another base."""
        report = EvidenceReport(token=self.token, evidence=evidence, head_sha=evidence.head_sha)
        await insist(lambda: self.plane.add_evidence(self.execution_id, report))
        await failpoints.reached("result.after_evidence")

    async def keep(self, name: str, content: bytes) -> None:
        """Keep something that belongs to no result. Raises LeaseLost."""
        await self._put(name, content)

    async def _put(self, name: str, content: bytes) -> None:
        await insist(lambda: self.plane.store_artifact(self.execution_id, self.token, name, content))
        await failpoints.reached("result.after_artifact")


async def stored(plane: ControlPlane, execution_id: str) -> Result | None:
    """What an earlier execution stored; None if that is not all there."""
    try:
        note = Note.model_validate_json(await insist(lambda: plane.artifact(execution_id, NOTE)))
        evidence = await insist(lambda: plane.evidence(execution_id))
    except (NotFound, ValueError):
        return None
    parts = {name: await artifact(plane, execution_id, name) for name in (BUNDLE, DIFF, REPORT, SARIF)}
    diff, report, sarif = ((parts[name] or b"").decode("utf-8", "replace") for name in (DIFF, REPORT, SARIF))
    return Result(note, evidence, parts[BUNDLE], diff, report, sarif)


async def artifact(plane: ControlPlane, execution_id: str, name: str) -> bytes | None:
    """What an execution stored under `name`; None if it did not."""
    try:
        return await insist(lambda: plane.artifact(execution_id, name))
    except NotFound:
        return None


async def insist(call: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """Call the server until it answers: what was paid for is not lost to a restart. Its lease ends it otherwise."""
    backoff, attempt = Backoff(first=0.5, most=20.0), 0
    while True:
        attempt += 1
        try:
            return await call()
        except Unavailable as error:
            if attempt == _TRIES:
                raise
            _log.warning("the server does not answer yet", attempt=attempt, reason=error.message)
            await pause(backoff.delay(attempt))
