"""The checks of a commit on GitHub: runs of its Checks API, states of the older Status API, and jobs of Actions.

A token that may not see check runs (GitHub gives fine-grained ones no such permission) is shown the jobs of Actions
instead. Logs are kept on another host, to which the API leads; it gets no token.
"""

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from agentvine.domain.forge import Checks, FailedCheck
from agentvine.kit.logs import logger
from agentvine.worker.forge.base import ForgeRefused, ForgeUnavailable
from agentvine.worker.forge.connection import Connection, Refusal, Unsure
from agentvine.worker.forge.desk import PAGE, Value, understood
from agentvine.worker.forge.shown import LOG_BYTES, MOST_FAILED, Text, body, ident, log_tail, numbers_of, together, word

_PAGES = 5
_MOST_LOGS = 10
_JOB = re.compile(r"/actions/runs/(\d{1,18})/job/(\d{1,18})")
_FAILED = frozenset({"failure", "timed_out", "startup_failure"})
_STATES: dict[str, Checks] = {"pending": "pending", "success": "passed", "failure": "failed", "error": "failed"}

_log = logger("forge")


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


_T = TypeVar("_T", bound=Value)


class GitHubChecks:
    """Of the repository at `path` of the API."""

    def __init__(self, connection: Connection, path: str) -> None:
        self._connection = connection
        self._path = path

    async def of(self, sha: str) -> tuple[Checks, tuple[FailedCheck, ...]]:
        """What they come to, and those that failed if none is under way. Raises Refusal, ForgeProblem."""
        runs = await self._runs(sha)
        statuses: list[_Status] = []
        for page in await self._pages(_Combined, f"commits/{sha}/status", lambda one: len(one.statuses)):
            statuses += page.statuses
        states = [_state(one.status, one.conclusion) for one in runs]
        state = together([*states, *(_STATES.get(one.state, "pending") for one in statuses)])
        if state != "failed":
            return state, ()
        wrong = [one for one in runs if one.conclusion in _FAILED] or [
            one for one in runs if one.conclusion == "cancelled"
        ]
        failed = [
            await self._failed(one, with_log=number < _MOST_LOGS) for number, one in enumerate(wrong[:MOST_FAILED])
        ]
        failed += [
            FailedCheck(
                id=ident("status", one.id),
                name=word(one.context) or "a check",
                log=body(one.description),
                url=word(one.target_url),
            )
            for one in statuses
            if _STATES.get(one.state) == "failed"
        ]
        return state, tuple(failed[:MOST_FAILED])

    async def under_way(self, check: str) -> bool:
        """As in `Window`. Each attempt gives a job another number; the run tells how many there were."""
        run, _, attempt = self._job(check)
        told = await self._connection.get(f"{self._path}/actions/runs/{run}")
        return understood(_Run, told, self._connection.name).run_attempt > attempt

    async def start(self, check: str) -> None:
        """As in `Window`."""
        _, job, _ = self._job(check)
        try:
            await self._connection.send("POST", f"{self._path}/actions/jobs/{job}/rerun")
        except Refusal as refusal:
            if "in progress" in refusal.said or "already running" in refusal.said:
                raise Unsure(refusal.said) from refusal
            raise

    def _job(self, check: str) -> tuple[int, int, int]:
        numbers = numbers_of("job", check)
        if numbers is None or len(numbers) != 3:
            raise ForgeRefused(f"{self._connection.name} cannot run this check again; start it where it is run")
        return numbers[0], numbers[1], numbers[2]

    async def _runs(self, sha: str) -> list[_CheckRun]:
        try:
            found = await self._pages(_CheckRuns, f"commits/{sha}/check-runs", lambda one: len(one.check_runs))
        except Refusal as refusal:
            if refusal.status != 403:
                raise
            return [_as_check_run(one) for one in await self._jobs(sha)]
        return [run for page in found for run in page.check_runs]

    async def _jobs(self, sha: str) -> list[_Job]:
        """The latest attempts of all jobs of Actions."""
        told = await self._connection.get(f"{self._path}/actions/runs", {"head_sha": sha, "per_page": PAGE})
        jobs: list[_Job] = []
        for run in understood(_Runs, told, self._connection.name).workflow_runs:
            for page in await self._pages(_Jobs, f"actions/runs/{run.id}/jobs", lambda one: len(one.jobs)):
                jobs += page.jobs
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
            told = await self._connection.get(f"{self._path}/actions/jobs/{found[2]}")
        except Refusal as refusal:
            if refusal.status not in {403, 404, 410}:
                raise
            return plain
        job = understood(_Job, told, self._connection.name)
        return plain.model_copy(
            update={
                "id": ident("job", job.run_id, job.id, job.run_attempt),
                "step": word(_failed_step(job.steps)),
                "log": await self._log_of(job) or words if with_log else words,
                "can_run_again": True,
            }
        )

    async def _log_of(self, job: _Job) -> str:
        try:
            return log_tail(await self._connection.tail(f"{self._path}/actions/jobs/{job.id}/logs", LOG_BYTES))
        except (Refusal, ForgeUnavailable) as why:
            _log.warning("no log of a failed job", forge=self._connection.name, job=job.id, why=str(why))
            return ""

    async def _pages(self, kind: type[_T], what: str, size: Callable[[_T], int]) -> list[_T]:
        """The pages of a list that is within an object; `size` tells how many entries one has."""
        found: list[_T] = []
        for page in range(1, _PAGES + 1):
            told = await self._connection.get(f"{self._path}/{what}", {"per_page": PAGE, "page": page})
            found.append(understood(kind, told, self._connection.name))
            if size(found[-1]) < PAGE:
                break
        return found


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
