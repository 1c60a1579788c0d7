"""The checks of a commit on GitHub: runs of its Checks API, states of the older Status API, and jobs of Actions.

A token that may not see check runs (GitHub gives fine-grained ones no such permission) is shown the jobs of Actions
instead. Logs are kept on another host, to which the API leads; it gets no token.
"""

import re
from collections.abc import Sequence

from agentvine.domain.forge import Checks, FailedCheck
from agentvine.worker.forge.answers import Value
from agentvine.worker.forge.connection import Refusal, Unsure
from agentvine.worker.forge.jobs import MOST_LOGS, job_numbers, log_of, told_by_status
from agentvine.worker.forge.repository_api import RepositoryApi
from agentvine.worker.forge.shown import MOST_FAILED, Text, body, ident, together, word

_PAGES = 5
_JOB = re.compile(r"/actions/runs/(\d{1,18})/job/(\d{1,18})")
_FAILED = frozenset({"failure", "timed_out", "startup_failure"})
_STATES: dict[str, Checks] = {"pending": "pending", "success": "passed", "failure": "failed", "error": "failed"}


class _Output(Value):
    title: Text = ""
    summary: Text = ""


class _CheckRun(Value):
    id: int
    name: Text
    status: str
    conclusion: str | None = None
    html_url: Text = ""
    details_url: Text = ""
    output: _Output = _Output()


class _CheckRuns(Value):
    check_runs: list[_CheckRun]


class _Status(Value):
    id: int
    context: Text
    state: str
    description: Text = ""
    target_url: Text = ""


class _Combined(Value):
    statuses: list[_Status]


class _Step(Value):
    name: Text = ""
    conclusion: str | None = None


class _Job(Value):
    id: int
    run_id: int
    run_attempt: int = 1
    name: Text = ""
    status: str
    conclusion: str | None = None
    html_url: Text = ""
    steps: list[_Step] = []


class _Jobs(Value):
    jobs: list[_Job]


class _Run(Value):
    id: int
    run_attempt: int = 1


class _Runs(Value):
    workflow_runs: list[_Run]


class GitHubChecks:
    """Of one repository."""

    def __init__(self, api: RepositoryApi) -> None:
        self._api = api

    async def of(self, sha: str) -> tuple[Checks, tuple[FailedCheck, ...]]:
        """What they come to, and those that failed if none is under way. Raises Refusal, ForgeProblem."""
        runs = await self._runs(sha)
        statuses = await self._api.within(_Combined, f"commits/{sha}/status", lambda one: one.statuses, most=_PAGES)
        states = [_state(one.status, one.conclusion) for one in runs]
        state = together([*states, *(_STATES.get(one.state, "pending") for one in statuses)])
        if state != "failed":
            return state, ()
        wrong = [one for one in runs if one.conclusion in _FAILED] or [
            one for one in runs if one.conclusion == "cancelled"
        ]
        failed = [
            await self._failed(one, with_log=number < MOST_LOGS) for number, one in enumerate(wrong[:MOST_FAILED])
        ]
        failed += [
            told_by_status(one.id, one.context, one.description, one.target_url)
            for one in statuses
            if _STATES.get(one.state) == "failed"
        ]
        return state, tuple(failed[:MOST_FAILED])

    async def under_way(self, check: str) -> bool:
        """As in `Window`. Each attempt gives a job another number; the run tells how many there were."""
        run, _, attempt = job_numbers(check, 3, self._api.forge)
        return (await self._api.one(_Run, f"actions/runs/{run}")).run_attempt > attempt

    async def start(self, check: str) -> None:
        """As in `Window`."""
        _, job, _ = job_numbers(check, 3, self._api.forge)
        try:
            await self._api.send("POST", f"actions/jobs/{job}/rerun")
        except Refusal as refusal:
            if "in progress" in refusal.said or "already running" in refusal.said:
                raise Unsure(refusal.said) from refusal
            raise

    async def _runs(self, sha: str) -> list[_CheckRun]:
        what = f"commits/{sha}/check-runs"
        try:
            return await self._api.within(_CheckRuns, what, lambda one: one.check_runs, most=_PAGES)
        except Refusal as refusal:
            if refusal.status != 403:
                raise
            return [_as_check_run(one) for one in await self._jobs(sha)]

    async def _jobs(self, sha: str) -> list[_Job]:
        """The latest attempts of all jobs of Actions."""
        told = await self._api.one(_Runs, "actions/runs", {"head_sha": sha, "per_page": self._api.page_size})
        jobs: list[_Job] = []
        for run in told.workflow_runs:
            jobs += await self._api.within(_Jobs, f"actions/runs/{run.id}/jobs", lambda one: one.jobs, most=_PAGES)
        return jobs

    async def _failed(self, run: _CheckRun, *, with_log: bool) -> FailedCheck:
        words = body("\n\n".join(part for part in (run.output.title, run.output.summary) if part))
        plain = FailedCheck(
            id=ident("check", run.id), name=word(run.name) or "a check", log=words, url=word(run.html_url)
        )
        found = _JOB.search(run.details_url) or _JOB.search(run.html_url)
        if found is None:
            return plain
        try:
            job = await self._api.one(_Job, f"actions/jobs/{found[2]}")
        except Refusal as refusal:
            if refusal.status not in {403, 404, 410}:
                raise
            return plain
        log = await log_of(self._api, f"actions/jobs/{job.id}/logs", job.id) if with_log else ""
        return plain.model_copy(
            update={
                "id": ident("job", job.run_id, job.id, job.run_attempt),
                "step": word(_failed_step(job.steps)),
                "log": log or words,
                "can_run_again": True,
            }
        )


def _state(status: str, conclusion: str | None) -> Checks:
    """`action_required` waits for a person: it is under way."""
    if status != "completed" or conclusion == "action_required":
        return "pending"
    return "failed" if conclusion in _FAILED or conclusion == "cancelled" else "passed"


def _as_check_run(job: _Job) -> _CheckRun:
    address = f"/actions/runs/{job.run_id}/job/{job.id}"
    return _CheckRun(
        id=job.id,
        name=job.name,
        status=job.status,
        conclusion=job.conclusion,
        html_url=job.html_url,
        details_url=address,
    )


def _failed_step(steps: Sequence[_Step]) -> str:
    return next((one.name for one in steps if one.conclusion in _FAILED), "")
