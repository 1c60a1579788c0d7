"""Tells what happens on the forge and on the server while a story is played, as somebody sees it who looks at both."""

import asyncio
import re

from agentvine.demo.forge.forge import Forge
from agentvine.demo.forge.record import BOT, Issue
from agentvine.demo.forge.told import Told
from agentvine.domain.event import Event, EventKind
from agentvine.kit.doorbell import pause
from agentvine.wire.front_desk import FrontDesk

_LOOK_SECONDS = 0.1
_HIDDEN = re.compile(r"<!--.*?-->", re.DOTALL)
_WORDS = {
    EventKind.TASK_SUBMITTED: "a task was submitted: {title}",
    EventKind.FOLLOW_UP_STARTED: "the pull request is gone on with",
    EventKind.FOLLOW_UP_RUN_AGAIN: "the failed check is run once more, in case it is a flaky one",
    EventKind.FOLLOW_UP_STOPPED: "the pull request needs a person: {why}",
    EventKind.FOLLOW_UP_ENDED: "the pull request is looked after no longer",
    EventKind.ORDER_COMPLETED: "the order is completed",
    EventKind.ORDER_FAILED: "the order failed: {reason}",
    EventKind.ORDER_RETRIED: "the order is tried again: {reason}",
    EventKind.REQUEST_OPENED: "Claude asks",
    EventKind.REQUEST_ANSWERED: "the question is answered",
}


def visible(body: str) -> str:
    """What people see of a comment."""
    return _HIDDEN.sub("", body).strip()


async def watch_server(desk: FrontDesk, told: Told) -> None:
    """Tell of the server's events, without end."""
    async for event in desk.events(0):
        if event.kind is EventKind.EXECUTION_PHASE:
            told.say("worker", str(event.data.get("phase", "")))
        elif event.kind in _WORDS:
            told.say("server", _filled(event))


def _filled(event: Event) -> str:
    values = {name: str(value) for name, value in event.data.items()}
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], ""), _WORDS[event.kind]).rstrip(": ")


async def watch_forge(forge: Forge, told: Told) -> None:
    """Tell of what the bot and the CI do on the forge, without end."""
    seen: dict[object, str] = {}
    while True:
        for issue in [*forge.record.issues.values()]:
            for key, who, words in _shown(forge, issue):
                if seen.get(key) != words:
                    seen[key] = words
                    told.say(who, words)
        await pause(_LOOK_SECONDS)


def _shown(forge: Forge, issue: Issue) -> list[tuple[object, str, str]]:
    """What stands there now: a key, who did it, and how it is told."""
    found: list[tuple[object, str, str]] = []
    for comment in issue.comments:
        if comment.author == BOT:
            lines = [line for line in visible(comment.body).splitlines() if line.strip()]
            found.append((comment.id, BOT, f"#{issue.number}: {' '.join(lines[1:3] or lines)}"))
    if issue.pull is None:
        return found
    pull = issue.pull
    found.append((("pull", issue.number), BOT, f"opens pull request #{issue.number}: {issue.title}"))
    found.append((("head", issue.number), BOT, f"pull request #{issue.number} is at {pull.head_sha[:7]}"))
    jobs = forge.record.jobs_of(pull.head_sha)
    found += [((job.id, job.attempt), "ci", f"{job.name} at {job.sha[:7]}: {job.words}") for job in jobs]
    remarks = [remark for review in pull.reviews for remark in review.remarks if remark.author == BOT]
    found += [(one.id, BOT, f"answers at {one.path}:{one.line}: {visible(one.body)}") for one in remarks]
    return found


async def until_cancelled(*work: "asyncio.Task[None]") -> None:
    """Cancel tasks and wait for their end."""
    for task in work:
        task.cancel()
    await asyncio.wait(work)
