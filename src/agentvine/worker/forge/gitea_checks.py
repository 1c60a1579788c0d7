"""The checks of a commit on Gitea and Forgejo: its states, and the jobs of the forge's own actions.

The API got its jobs late (Gitea 1.27 has them, Forgejo not). Without them there are the states.
"""

from agentvine.domain.forge import Checks, FailedCheck
from agentvine.kit.logs import logger
from agentvine.worker.forge.base import ForgeRefused, ForgeUnavailable
from agentvine.worker.forge.connection import Connection, Parameters, Refusal, Told
from agentvine.worker.forge.desk import Value, understood
from agentvine.worker.forge.shown import LOG_BYTES, MOST_FAILED, Text, body, ident, log_tail, numbers_of, together, word

_PAGE, _PAGES = 50, 10
_MOST_LOGS = 10
_STATES: dict[str, Checks] = {"pending": "pending", "failure": "failed", "error": "failed"}
_DONE = frozenset({"completed", "failure", "success", "cancelled", "skipped"})

_log = logger("forge")


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
    """Of the repository at `path` of the API."""

    def __init__(self, connection: Connection, path: str) -> None:
        self._connection = connection
        self._path = path

    async def of(self, sha: str) -> tuple[Checks, tuple[FailedCheck, ...]]:
        """What they come to, and those that failed if none is under way. Raises Refusal, ForgeProblem."""
        statuses: list[_Status] = []
        for page in range(1, _PAGES + 1):
            told = await self._get(f"commits/{sha}/status", {"page": page, "limit": _PAGE})
            part = understood(_Combined, told, self._connection.name).statuses or []
            statuses += part
            if len(part) < _PAGE:
                break
        state = together([_STATES.get(one.status, "passed") for one in statuses])
        if state != "failed":
            return state, ()
        jobs = await self._failed_jobs(sha)
        others = [one for one in statuses if _STATES.get(one.status) == "failed"]
        told_of = [one for one in others if not (jobs and "/actions/runs/" in one.target_url)]
        outside = [
            FailedCheck(
                id=ident("status", one.id),
                name=word(one.context) or "a check",
                log=body(one.description),
                url=word(one.target_url),
            )
            for one in told_of
        ]
        return state, tuple([*jobs, *outside][:MOST_FAILED])

    async def _failed_jobs(self, sha: str) -> list[FailedCheck]:
        """Of the repository's actions; none where the API has no jobs."""
        try:
            found = understood(_Runs, await self._get("actions/runs", {"head_sha": sha}), self._connection.name)
            failed: list[FailedCheck] = []
            for run in found.workflow_runs or []:
                if (run.conclusion or run.status) in {"failure", "cancelled"}:
                    failed += await self._failed_jobs_of(run, _MOST_LOGS - len(failed))
        except Refusal as refusal:
            if refusal.status not in {400, 403, 404}:
                raise
            return []
        return failed

    async def _failed_jobs_of(self, run: _Run, logs: int) -> list[FailedCheck]:
        told = await self._get(f"actions/runs/{run.id}/jobs", {"limit": _PAGE})
        jobs = understood(_Jobs, told, self._connection.name).jobs or []
        failed = [one for one in jobs if (one.conclusion or one.status) == "failure"]
        return [await self._failed(run, job, with_log=number < logs) for number, job in enumerate(failed)]

    async def _failed(self, run: _Run, job: _Job, *, with_log: bool) -> FailedCheck:
        step = next((one.name for one in job.steps or [] if one.conclusion == "failure"), "")
        log = ""
        if with_log:
            try:
                log = log_tail(await self._connection.tail(f"{self._path}/actions/jobs/{job.id}/logs", LOG_BYTES))
            except (Refusal, ForgeUnavailable) as why:
                _log.warning("no log of a failed job", forge=self._connection.name, job=job.id, why=str(why))
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
        run, job, attempt = self._job(check)
        told = understood(_Job, await self._get(f"actions/jobs/{job}"), self._connection.name)
        if told.status not in _DONE:
            return True
        if (told.run_attempt or 1) > attempt:
            return True
        now = understood(_Run, await self._get(f"actions/runs/{run}"), self._connection.name)
        return (now.run_attempt or 1) > attempt

    async def start(self, check: str) -> None:
        """As in `Window`."""
        run, job, _ = self._job(check)
        await self._connection.send("POST", f"{self._path}/actions/runs/{run}/jobs/{job}/rerun")

    def _job(self, check: str) -> tuple[int, int, int]:
        numbers = numbers_of("job", check)
        if numbers is None or len(numbers) != 3:
            raise ForgeRefused(f"{self._connection.name} cannot run this check again; start it where it is run")
        return numbers[0], numbers[1], numbers[2]

    async def _get(self, what: str, wanted: Parameters | None = None) -> Told:
        return await self._connection.get(f"{self._path}/{what}", wanted)
