"""`agentvine demo --forge`: an issue on a forge becomes a merged pull request, with everything that lies between.

Everything but the model and the forge is what runs in earnest, and is used as anybody uses it: `agentvine up` and
`agentvine repo add` as processes, a worker with the real Claude Code, git over HTTP. People act on the forge alone.
"""

import asyncio
import json
import secrets
import tomllib
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.transport import APIClient
from agentvine.demo.fleet import Stage, command, fleet
from agentvine.demo.forge.forge import Forge, running_forge
from agentvine.demo.forge.record import BOT, Issue, Job, Pull
from agentvine.demo.forge.told import Account, Told
from agentvine.demo.forge.watching import until_cancelled, visible, watch_forge, watch_server
from agentvine.demo.forge.webhooks import Hook
from agentvine.demo.place import place
from agentvine.demo.repositories import DemoFailed, Git, make_remote
from agentvine.demo.script import Script
from agentvine.demo.scripted_model import RunningModel, serve
from agentvine.domain.base import Model
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker import WorkerStatus
from agentvine.kit.doorbell import pause
from agentvine.wire.front_desk import FrontDesk
from agentvine.wire.messages import TaskDetail

PERSON = "mira"
LABEL = "agentvine"
FALLBACK = "20"
"""Seconds after which it is looked at the forge although no webhook rang: longer than anything here takes."""
EVIDENCE = "### Checks"
"""Under what heading a pull request tells how it was verified."""
_LONGEST_STEP = 600.0
_LOOK_SECONDS = 0.1
_T = TypeVar("_T")

LABELLED, ASKED, ANSWERED = "issue labelled → task", "question in the status comment", "answered by a reply"
PROPOSED, FAILED, REPAIRED = "pull request with evidence", "CI fails", "repaired in the same session"
REVIEWED, MERGED, CLOSED = "review comment answered, and pushed", "merged", "order closed"
STEPS = (LABELLED, ASKED, ANSWERED, PROPOSED, FAILED, REPAIRED, REVIEWED, MERGED, CLOSED)


class People(Model):
    """What they write."""

    title: str
    body: str
    answer: str
    remark: str
    remark_path: str
    remark_at: str


async def demo(stage: Stage, told: Told) -> Account:
    """Play it. Returns how far it came; raises DemoFailed if it could not even begin."""
    people, script = _written()
    async with AsyncExitStack() as stack:
        where = stack.enter_context(place(stage))
        told.show.say("making a repository and a forge for it")
        git = Git(stage.environment.get("PATH", "/usr/bin:/bin"), where / "home")
        remote = await make_remote(where, git)
        token = secrets.token_hex(20)
        forge = await stack.enter_async_context(running_forge(where / "purse.git", where / "forge", git, token))
        model = await stack.enter_async_context(serve(script))
        told.show.say("starting server, broker and a worker")
        context = await stack.enter_async_context(fleet(where, stage, "feature=1", model.variables))
        desk = HTTPFrontDesk(await stack.enter_async_context(APIClient(context.url, context.key)))
        forge.webhooks.hook = Hook(f"{context.url}/api/v1/webhooks/gitea", await _added(where, stage, forge))
        account = await _Story(people, forge, desk, told, model).play(remote)
        told.show.say("letting everything finish")
    return account


def _written() -> tuple[People, Script]:
    data = tomllib.loads(files("agentvine.demo").joinpath("data/forge.toml").read_text(encoding="utf-8"))
    return People.model_validate(data.pop("people")), Script.model_validate(data)


async def _added(where: Path, stage: Stage, forge: Forge) -> str:
    """Tell the server of the repository, as an operator does. Returns the secret for its webhooks."""
    arguments = [
        *("repo", "add", forge.repository_url, "--forge", "gitea", "--branch", "main", "--token", "--webhook"),
        *("--permission", "supervised", "--label", LABEL, "--user", PERSON, "--json"),
        *("--look-every", FALLBACK, "--follow-every", FALLBACK),
    ]
    said = json.loads(await command(where, stage, *arguments, stdin=forge.token))
    return str(said["webhook_secret"])


class _Story:
    """One play."""

    def __init__(self, people: People, forge: Forge, desk: FrontDesk, told: Told, model: RunningModel) -> None:
        self._people = people
        self._forge = forge
        self._desk = desk
        self._told = told
        self._model = model

    async def play(self, remote: str) -> Account:
        """From the issue to its end, or as far as it comes."""
        watching = [
            asyncio.create_task(watch_server(self._desk, self._told)),
            asyncio.create_task(watch_forge(self._forge, self._told)),
        ]
        failure = ""
        try:
            await self._through_all()
        except DemoFailed as error:
            failure = str(error)
        finally:
            await until_cancelled(*watching)
        return await self._account(remote, failure)

    async def _through_all(self) -> None:
        await self._until("a worker", self._ready)
        issue = await self._becomes_a_task()
        await self._asks_and_hears(issue)
        proposal, pull = await self._is_proposed()
        await self._is_repaired(pull)
        await self._is_reviewed(proposal, pull)
        await self._is_merged(issue, proposal, pull)

    async def _ready(self) -> bool:
        return any(worker.status is WorkerStatus.IDLE for worker in await self._desk.workers())

    async def _becomes_a_task(self) -> Issue:
        self._told.say(PERSON, f"opens an issue: {self._people.title}")
        issue = await self._forge.activity.open_issue(PERSON, self._people.title, self._people.body)
        self._told.say(PERSON, f"labels it {LABEL!r}")
        await self._forge.activity.label(issue, [LABEL])
        details = await self._until("a task of the issue", self._details)
        self._told.took(LABELLED, details[0].task.id)
        return issue

    async def _asks_and_hears(self, issue: Issue) -> None:
        question = await self._until("the question on the forge", lambda: self._question(issue))
        self._told.took(ASKED, question)
        self._told.say(PERSON, f"replies: {self._people.answer}")
        await self._forge.activity.comment(issue, PERSON, self._people.answer)

        async def answer() -> str | None:
            found = [one.response for detail in await self._details() for one in detail.requests if one.response]
            return found[0].made_by if found else None

        self._told.took(ANSWERED, f"made by {await self._until('the answer on the server', answer)}")

    async def _question(self, issue: Issue) -> str | None:
        asked = [one.message for detail in await self._details() for one in detail.requests if one.response is None]
        shown = [visible(one.body) for one in issue.comments if one.author == BOT]
        return next((words for words in asked for one in shown if words in one), None)

    async def _is_proposed(self) -> tuple[Issue, Pull]:
        async def opened() -> tuple[Issue, Pull] | None:
            return next(iter(self._forge.record.pulls), None)

        proposal, pull = await self._until("the pull request", opened)
        if EVIDENCE not in proposal.body:
            raise DemoFailed("the pull request's text has no evidence in it")
        self._told.took(PROPOSED, self._forge.activity.shapes.page_of(proposal))
        return proposal, pull

    async def _is_repaired(self, pull: Pull) -> None:
        async def failed() -> Job | None:
            return next((job for job in self._forge.record.jobs_of(pull.head_sha) if job.state == "failure"), None)

        job = await self._until("the failing check", failed)
        self._told.took(FAILED, job.words)
        await self._until("the repair, and its passing check", lambda: self._passed(pull, job.sha))
        self._told.took(REPAIRED, f"{pull.head_sha[:7]}, session {(await self._only_session())[:8]}")

    async def _passed(self, pull: Pull, former: str) -> str | None:
        """The head that came after `former`, once its checks pass and the order that made it is over."""
        jobs = self._forge.record.jobs_of(pull.head_sha)
        good = pull.head_sha != former and bool(jobs) and all(job.state == "success" for job in jobs)
        details = await self._details() if good else []
        over = good and all(detail.order.status is OrderStatus.COMPLETED for detail in details)
        return pull.head_sha if over else None

    async def _is_reviewed(self, proposal: Issue, pull: Pull) -> None:
        people, former = self._people, pull.head_sha
        line = await self._forge.activity.repository.line_of(former, people.remark_path, people.remark_at)
        self._told.say(PERSON, f"reviews {people.remark_path}:{line}: {people.remark}")
        place = (people.remark_path, line, people.remark)
        review = await self._forge.activity.review(proposal, pull, PERSON, "", [place])

        async def answered() -> str | None:
            spot = (review.remarks[0].path, review.remarks[0].line)
            remarks = [one for each in pull.reviews for one in each.remarks if one.author == BOT]
            fitting = [visible(one.body) for one in remarks if (one.path, one.line) == spot]
            return fitting[0] if fitting else None

        await self._until("the new commit, and its passing check", lambda: self._passed(pull, former))
        self._told.took(REVIEWED, await self._until("the answer in the thread", answered))

    async def _is_merged(self, issue: Issue, proposal: Issue, pull: Pull) -> None:
        await self._only_session()
        self._told.say(PERSON, f"merges #{proposal.number}")
        self._told.took(MERGED, await self._forge.activity.merge(proposal, pull, PERSON))

        async def closed() -> str | None:
            details = await self._details()
            shown = details[0].pull_request
            status = [visible(one.body) for one in issue.comments if one.author == BOT]
            over = all(detail.order.status is OrderStatus.COMPLETED for detail in details)
            return (
                shown.state
                if over and shown is not None and shown.state == "merged" and "merged" in status[0]
                else None
            )

        self._told.took(CLOSED, f"the pull request is {await self._until('the end of the order', closed)}")

    # ── facts ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _details(self) -> list[TaskDetail]:
        """The tasks, oldest first."""
        page = await self._desk.tasks()
        return [await self._desk.task(task.id) for task in sorted(page.items, key=lambda one: one.created_at)]

    async def _only_session(self) -> str:
        sessions = {one.session_id for detail in await self._details() for one in detail.executions}
        if len(sessions) != 1:
            raise DemoFailed(f"the work went on in {len(sessions)} conversations, and had to in one")
        return str(sessions.pop())

    async def _until(self, what: str, fact: Callable[[], Awaitable[_T | None]]) -> _T:
        """What `fact` gives, as soon as there is something. Raises DemoFailed if that does not come."""
        try:
            async with asyncio.timeout(_LONGEST_STEP):
                while not (found := await fact()):
                    if self._model.model.failures:
                        raise DemoFailed(f"Claude left the script: {self._model.model.failures[0]}")
                    await self._nothing_failed()
                    await pause(_LOOK_SECONDS)
                return found
        except TimeoutError:
            raise DemoFailed(f"{what} did not come within {_LONGEST_STEP:g} s") from None

    async def _nothing_failed(self) -> None:
        for detail in await self._details():
            if detail.order.status in {OrderStatus.FAILED, OrderStatus.CANCELLED}:
                failure = detail.order.failure
                why = f"{failure.reason}: {failure.detail}" if failure else detail.order.status
                raise DemoFailed(f"task {detail.task.id} ended as it should not: {why}")

    async def _account(self, remote: str, failure: str) -> Account:
        details = await self._details()
        executions = [one for detail in details for one in detail.executions]
        proposal, pull = next(iter(self._forge.record.pulls), (None, None))
        return Account(
            remote=remote,
            repository=self._forge.repository_url,
            issue=1,
            pull_request=proposal.number if proposal else None,
            tasks=tuple(detail.task.id for detail in details),
            executions=tuple(one.id for one in executions),
            sessions=tuple(dict.fromkeys(one.session_id for one in executions if one.session_id)),
            merged_sha=pull.merged_sha if pull else None,
            cost_usd=round(sum(one.usage.cost_usd for one in executions), 4),
            seconds=self._told.seconds,
            steps=tuple(self._told.steps),
            failure=failure,
        )
