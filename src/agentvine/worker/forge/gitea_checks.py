"""The checks of a commit on Gitea and Forgejo: its states, and the jobs of the forge's own actions.

The API got its jobs late (Gitea 1.27 has them, Forgejo not). Without them there are the states.
"""

from agentvine.domain.forge import Checks, FailedCheck
from agentvine.worker.forge.answers import Value
from agentvine.worker.forge.connection import Refusal
from agentvine.worker.forge.gitea_api import PAGE, PAGES
from agentvine.worker.forge.jobs import MOST_LOGS, job_numbers, log_of, told_by_status
from agentvine.worker.forge.repository_api import RepositoryApi
from agentvine.worker.forge.shown import MOST_FAILED, Text, ident, together, word

_STATES: dict[str, Checks] = {"pending": "pending", "failure": "failed", "error": "failed"}
_DONE = frozenset({"completed", "failure", "success", "cancelled", "skipped"})


class _Status(Value):
    id: int
    status: str = ""
    context: Text = ""
    description: Text = ""
    target_url: Text = ""


class _Combined(Value):
    statuses: list[_Status] | None = None


class _Run(Value):
    id: int
    status: str = ""
    conclusion: str | None = None
    run_attempt: int | None = None


class _Runs(Value):
    workflow_runs: list[_Run] | None = None


class _Step(Value):
    name: Text = ""
    conclusion: str | None = None


class _Job(Value):
    id: int
    name: Text = ""
    html_url: Text = ""
    status: str = ""
    conclusion: str | None = None
    run_attempt: int | None = None
    steps: list[_Step] | None = None


class _Jobs(Value):
    jobs: list[_Job] | None = None


class GiteaChecks:
    """Of one repository."""

    def __init__(self, api: RepositoryApi) -> None:
        self._api = api

    async def of(self, sha: str) -> tuple[Checks, tuple[FailedCheck, ...]]:
        """What they come to, and those that failed if none is under way. Raises Refusal, ForgeProblem."""
        what = f"commits/{sha}/status"
        statuses = await self._api.within(_Combined, what, lambda one: one.statuses or [], most=PAGES)
        state = together([_STATES.get(one.status, "passed") for one in statuses])
        if state != "failed":
            return state, ()
        jobs = await self._failed_jobs(sha)
        others = [one for one in statuses if _STATES.get(one.status) == "failed"]
        told_of = [one for one in others if not (jobs and "/actions/runs/" in one.target_url)]
        outside = [told_by_status(one.id, one.context, one.description, one.target_url) for one in told_of]
        return state, tuple([*jobs, *outside][:MOST_FAILED])

    async def _failed_jobs(self, sha: str) -> list[FailedCheck]:
        """Of the repository's actions; none where the API has no jobs."""
        try:
            found = await self._api.one(_Runs, "actions/runs", {"head_sha": sha})
            failed: list[FailedCheck] = []
            for run in found.workflow_runs or []:
                if (run.conclusion or run.status) in {"failure", "cancelled"}:
                    failed += await self._failed_jobs_of(run, MOST_LOGS - len(failed))
        except Refusal as refusal:
            if refusal.status not in {400, 403, 404}:
                raise
            return []
        return failed

    async def _failed_jobs_of(self, run: _Run, logs: int) -> list[FailedCheck]:
        told = await self._api.one(_Jobs, f"actions/runs/{run.id}/jobs", {"limit": PAGE})
        failed = [one for one in told.jobs or [] if (one.conclusion or one.status) == "failure"]
        return [await self._failed(run, job, with_log=number < logs) for number, job in enumerate(failed)]

    async def _failed(self, run: _Run, job: _Job, *, with_log: bool) -> FailedCheck:
        step = next((one.name for one in job.steps or [] if one.conclusion == "failure"), "")
        log = await log_of(self._api, f"actions/jobs/{job.id}/logs", job.id) if with_log else ""
        return FailedCheck(
            id=ident("job", run.id, job.id, job.run_attempt or run.run_attempt or 1),
            name=word(job.name) or "a job",
            step=word(step),
            log=log,
            url=word(job.html_url),
            can_run_again=True,
        )

    async def under_way(self, check: str) -> bool:
        """As in `Window`."""
        run, job, attempt = job_numbers(check, 3, self._api.forge)
        told = await self._api.one(_Job, f"actions/jobs/{job}")
        if told.status not in _DONE:
            return True
        if (told.run_attempt or 1) > attempt:
            return True
        now = await self._api.one(_Run, f"actions/runs/{run}")
        return (now.run_attempt or 1) > attempt

    async def start(self, check: str) -> None:
        """As in `Window`."""
        run, job, _ = job_numbers(check, 3, self._api.forge)
        await self._api.send("POST", f"actions/runs/{run}/jobs/{job}/rerun")
