"""The checks of a commit on GitLab: its statuses, those of its pipelines' jobs and of whoever else told one."""

from typing import Any

from agentvine.domain.forge import Checks, FailedCheck
from agentvine.kit.logs import logger
from agentvine.worker.forge.base import ForgeRefused, ForgeUnavailable
from agentvine.worker.forge.connection import Connection, Refusal
from agentvine.worker.forge.desk import Value, pages, understood
from agentvine.worker.forge.shown import (
    LOG_BYTES,
    MOST_FAILED,
    Text,
    body,
    ident,
    last_number,
    log_tail,
    numbers_of,
    together,
    word,
)

_PAGES = 5
_MOST_LOGS = 10
_PASSED = frozenset({"success", "skipped"})
_FAILED = frozenset({"failed", "canceled"})

_log = logger("forge")


class _Status(Value):
    id: int
    name: Text = ""
    status: str
    description: Text = ""
    target_url: Text = ""
    allow_failure: bool = False

    @property
    def is_job(self) -> bool:
        """Whether GitLab itself runs it: then its address is that of the job with its number."""
        there = self.target_url.rpartition("/")[0]
        return there.endswith(("/jobs", "/builds")) and last_number(self.target_url) == self.id

    @property
    def state(self) -> Checks:
        """`manual` waits for a person, unless nobody has to."""
        if self.status in _PASSED or (self.allow_failure and self.status in {*_FAILED, "manual"}):
            return "passed"
        return "failed" if self.status in _FAILED else "pending"


class _Pipeline(Value):
    id: int


class _Job(Value):
    id: int
    status: str = ""
    pipeline: _Pipeline | None = None


class GitLabChecks:
    """Of the project at `path` of the API."""

    def __init__(self, connection: Connection, path: str) -> None:
        self._connection = connection
        self._path = path

    async def of(self, sha: str) -> tuple[Checks, tuple[FailedCheck, ...]]:
        """What they come to, and those that failed if none is under way. Raises Refusal, ForgeProblem."""
        found = await pages(self._connection, f"{self._path}/repository/commits/{sha}/statuses", most=_PAGES)
        rows = sorted(understood(list[_Status], found, self._connection.name), key=lambda one: one.id)
        latest = {one.name: one for one in rows}  # a job that ran again is there once more, with a higher number
        state = together([one.state for one in latest.values()])
        if state != "failed":
            return state, ()
        wrong = [one for one in latest.values() if one.state == "failed"]
        failed = [one for one in wrong if one.status == "failed"] or wrong
        shown = [
            await self._failed(one, with_log=number < _MOST_LOGS) for number, one in enumerate(failed[:MOST_FAILED])
        ]
        return state, tuple(shown)

    async def _failed(self, status: _Status, *, with_log: bool) -> FailedCheck:
        told: dict[str, Any] = {
            "name": word(status.name) or "a check",
            "log": body(status.description),
            "url": word(status.target_url),
        }
        if not status.is_job:
            return FailedCheck(id=ident("status", status.id), **told)
        if with_log:
            try:
                raw = await self._connection.tail(f"{self._path}/jobs/{status.id}/trace", LOG_BYTES)
                told["log"] = log_tail(raw) or told["log"]
            except (Refusal, ForgeUnavailable) as why:
                _log.warning("no log of a failed job", forge=self._connection.name, job=status.id, why=str(why))
        return FailedCheck(id=ident("job", status.id), can_run_again=True, **told)

    async def under_way(self, check: str) -> bool:
        """As in `Window`. A job that ran again has another number, and is not in its pipeline's list any more."""
        number = self._job(check)
        told = await self._connection.get(f"{self._path}/jobs/{number}")
        job = understood(_Job, told, self._connection.name)
        if job.status not in {*_PASSED, *_FAILED}:
            return True
        if job.pipeline is None:
            return False
        found = await pages(self._connection, f"{self._path}/pipelines/{job.pipeline.id}/jobs", most=_PAGES)
        return number not in {one.id for one in understood(list[_Job], found, self._connection.name)}

    async def start(self, check: str) -> None:
        """As in `Window`."""
        await self._connection.send("POST", f"{self._path}/jobs/{self._job(check)}/retry")

    def _job(self, check: str) -> int:
        numbers = numbers_of("job", check)
        if numbers is None or len(numbers) != 1:
            raise ForgeRefused(f"{self._connection.name} cannot run this check again; start it where it is run")
        return numbers[0]
