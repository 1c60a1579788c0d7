"""The checks of a commit on GitLab: its statuses, those of its pipelines' jobs and of whoever else told one."""

from agentvine.domain.forge import Checks, FailedCheck
from agentvine.worker.forge.answers import Value
from agentvine.worker.forge.jobs import MOST_LOGS, job_numbers, log_of, told_by_status
from agentvine.worker.forge.repository_api import RepositoryApi
from agentvine.worker.forge.shown import MOST_FAILED, Text, ident, last_number, together

_PAGES = 5
_PASSED = frozenset({"success", "skipped"})
_FAILED = frozenset({"failed", "canceled"})


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
    """Of one project."""

    def __init__(self, api: RepositoryApi) -> None:
        self._api = api

    async def of(self, sha: str) -> tuple[Checks, tuple[FailedCheck, ...]]:
        """What they come to, and those that failed if none is under way. Raises Refusal, ForgeProblem."""
        found = await self._api.all(_Status, f"repository/commits/{sha}/statuses", most=_PAGES)
        rows = sorted(found, key=lambda one: one.id)
        latest = {one.name: one for one in rows}  # a job that ran again is there once more, with a higher number
        state = together([one.state for one in latest.values()])
        if state != "failed":
            return state, ()
        wrong = [one for one in latest.values() if one.state == "failed"]
        failed = [one for one in wrong if one.status == "failed"] or wrong
        shown = [
            await self._failed(one, with_log=number < MOST_LOGS) for number, one in enumerate(failed[:MOST_FAILED])
        ]
        return state, tuple(shown)

    async def _failed(self, status: _Status, *, with_log: bool) -> FailedCheck:
        told = told_by_status(status.id, status.name, status.description, status.target_url)
        if not status.is_job:
            return told
        log = await log_of(self._api, f"jobs/{status.id}/trace", status.id) if with_log else ""
        return told.model_copy(update={"id": ident("job", status.id), "can_run_again": True, "log": log or told.log})

    async def under_way(self, check: str) -> bool:
        """As in `Window`. A job that ran again has another number, and is not in its pipeline's list any more."""
        (number,) = job_numbers(check, 1, self._api.forge)
        job = await self._api.one(_Job, f"jobs/{number}")
        if job.status not in {*_PASSED, *_FAILED}:
            return True
        if job.pipeline is None:
            return False
        found = await self._api.all(_Job, f"pipelines/{job.pipeline.id}/jobs", most=_PAGES)
        return number not in {one.id for one in found}

    async def start(self, check: str) -> None:
        """As in `Window`."""
        (number,) = job_numbers(check, 1, self._api.forge)
        await self._api.send("POST", f"jobs/{number}/retry")
