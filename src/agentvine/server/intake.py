"""Intake: issues and comments on forges become tasks, once each; what becomes of them is told there, and replies there
answer their questions. What is decided, and in which words, stands in `domain/intake.py` and `domain/intake_words.py`.

Under `work:<repository id>` stands the errand to look for work, wished anew with each result; `status:<task id>` has
the status comment say how the task stands. A task belongs to the key that made its repository known: what that key may
not submit, the forge may not either, and once the key has ended nothing comes in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import ValidationError

from agentvine.domain.errand import Errand, ErrandResult, LookForWork, Say
from agentvine.domain.errors import AgentVineError, Conflict
from agentvine.domain.follow_up_words import mark_of_answer
from agentvine.domain.forge import ForgeComment, IssueSeen
from agentvine.domain.ids import new_id
from agentvine.domain.intake import (
    CLOCK_SLACK,
    Command,
    answer_in,
    command_in,
    heeded,
    is_labelled,
    is_on,
    refusal_comment,
    start_of,
    task_of_command,
    task_of_issue,
)
from agentvine.domain.intake_words import Standing, status_comment
from agentvine.domain.key import Key
from agentvine.domain.repository_settings import Repository, RepositorySettings
from agentvine.domain.request import ControllerResponse, RequestKind, RequestStatus, WorkerRequest
from agentvine.domain.task import NewTask, Task
from agentvine.kit.clock import Clock
from agentvine.kit.logs import logger
from agentvine.server.conversation import Conversations
from agentvine.server.errands import Errands, Trouble
from agentvine.server.origin import origin_of
from agentvine.server.submission import Submissions
from agentvine.store import errands as kept_errands
from agentvine.store import executions, follow_ups, intake, keys, repositories, requests, tasks, work_orders
from agentvine.store.intake import Looks, Taken
from agentvine.store.unit import Unit

OVERLAP = timedelta(minutes=10)
"""How far each look goes back behind the one before: clocks differ, and forges show some things late."""
ASKING_SECONDS = 30.0
"""The longest from one look to the next while a question is shown."""
_MOST_MOVED = 500
"""So many status comments are told anew at once when a repository is added again; the rest when their tasks change."""
_TRIES = 3
"""After so many failures in a row the repository is in trouble."""
_log = logger("intake")


@dataclass(frozen=True, slots=True)
class _Visit:
    """One look at a repository: whose words count, and in whose name tasks are made."""

    repository: Repository
    key: Key
    look: LookForWork
    named: Mapping[str, datetime]
    tells_heads: bool
    """Whether the worker told of any pull request where it comes from."""
    waiting: list[int] = field(default_factory=list)
    """Pull requests with commands of which it did not."""

    def heeds(self, comment: ForgeComment) -> bool:
        """Whether anything can follow from a comment: somebody wrote it whom an operator had named by then."""
        since = self.named.get(comment.author.lower())
        return since is not None and comment.at >= since - CLOCK_SLACK and heeded(comment, self.settings.intake)

    @property
    def settings(self) -> RepositorySettings:
        return self.repository.settings

    @property
    def address(self) -> str:
        return self.settings.address


class Intake:
    """Runs inside transactions, as `Orders` does."""

    def __init__(self, clock: Clock, errands: Errands, conversations: Conversations) -> None:
        self._clock = clock
        self._errands = errands
        self._conversations = conversations
        self._submissions = Submissions(clock)
        errands.handled_by("work", _Looks(self))
        errands.handled_by("status", _Words(self, errands))

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────

    def plan(self, unit: Unit, repository: Repository) -> None:
        """See to it that this repository is looked at for work, if an operator wants that; now, and from now on."""
        self._errands.forget(unit, f"work:{repository.id}")
        rules, now = repository.settings.intake, self._clock.now()
        if not is_on(rules):
            intake.stop(unit, repository.id)
            return
        before = intake.looks(unit, repository.id)
        named = before.named if before is not None else {}
        # What somebody said before anybody heeded it does not begin to count when that changes. Forges tell whole
        # seconds: what was said in the one that has begun counts.
        second = now.replace(microsecond=0)
        users = {user.lower(): named.get(user.lower(), second) for user in rules.users}
        seen_to = before.seen_to if before is not None else now
        intake.look_on(unit, repository.id, Looks(seen_to, users, now))
        self._look(unit, repository, now)

    def changed(self, unit: Unit, repository: Repository) -> None:
        """An operator has said something of a repository: what failed there may work now."""
        self._errands.ring(unit, repository.settings.repository, afresh=True)
        if repository.settings.folded is not None:
            intake.respell(unit, repository.settings.address)
        self.plan(unit, repository)
        for task_id in intake.move(unit, repository.settings.address, repository.id, _MOST_MOVED):
            self.tell(unit, task_id)

    def plan_all(self, unit: Unit) -> None:
        """As `plan`, of all that nothing was planned for; for the start of a server."""
        planned = set(kept_errands.keys(unit, "work:"))
        for known in repositories.everyone(unit):
            if f"work:{known.repository.id}" not in planned and is_on(known.repository.settings.intake):
                self.plan(unit, known.repository)

    def _look(self, unit: Unit, repository: Repository, due: datetime, heads_from: int = 1) -> None:
        settings = repository.settings
        looks = intake.looks(unit, repository.id)
        since = (looks.seen_to if looks is not None else self._clock.now()) - OVERLAP
        look = LookForWork(
            repository=settings.repository,
            label=settings.intake.label,
            since=since,
            users=settings.intake.users,
            heads_from=heads_from,
        )
        self._errands.wish(unit, f"work:{repository.id}", look, due)

    def seen(self, unit: Unit, repository_id: str, look: LookForWork, issues: Sequence[IssueSeen]) -> None:
        """What the forge shows. Seen twice, or by two at once, each thing counts once."""
        known = repositories.by_id(unit, repository_id)
        if known is None or not is_on(known.repository.settings.intake):
            intake.stop(unit, repository_id)
            return
        repository, now = known.repository, self._clock.now()
        looks = intake.looks(unit, repository_id) or Looks(look.since, {}, look.since)
        trouble: str | None = None
        mistaken, heads_from = None, 1
        key = keys.get(unit, repository.created_by)
        if key is None or not key.usable(now):
            trouble = "nothing comes in: the key that added this repository has ended; add it again with another one"
        else:
            visit = _Visit(repository, key, look, looks.named, any(issue.head is not None for issue in issues))
            trouble, mistaken = self._see_all(unit, visit, issues)
            heads_from = _heads_from(visit)
        repositories.note_trouble(unit, repository_id, trouble or mistaken)
        seen_to = looks.seen_to if trouble is not None else _seen_to(looks, issues, now)
        intake.look_on(unit, repository_id, Looks(seen_to, looks.named, now))
        seconds = repository.settings.intake.look_seconds
        if intake.is_asking(unit, repository_id):
            seconds = min(seconds, ASKING_SECONDS)
        self._look(unit, repository, now + timedelta(seconds=seconds), heads_from)

    def looked_in_vain(self, unit: Unit, repository_id: str, trouble: Trouble) -> None:
        """The forge could not be looked at; it is tried again."""
        if trouble.for_good or trouble.tries >= _TRIES:
            repositories.note_trouble(unit, repository_id, f"it cannot be looked at for work: {trouble.why}"[:1000])

    # ── taking in ────────────────────────────────────────────────────────────────────────────────────────────────

    def _see_all(self, unit: Unit, visit: _Visit, issues: Sequence[IssueSeen]) -> tuple[str | None, str | None]:
        """What follows from all of them. Returns why something could not that is to be looked at again, if so; and what
        nothing can be made of, which keeps back nothing else."""
        trouble = mistaken = None
        for issue in issues:
            try:
                with unit.undone_by(ValidationError):
                    trouble = self._see(unit, visit, issue) or trouble
            except ValidationError as error:
                what = "pull request" if issue.is_pull else "issue"
                mistaken = f"the server cannot make anything of {what} {issue.number}; its log says why"
                _log.warning(mistaken, repository=visit.address, why=str(error)[:500])
        return trouble, mistaken

    def _see(self, unit: Unit, visit: _Visit, issue: IssueSeen) -> str | None:
        """What follows from one issue or pull request. Returns why something could not, if so."""
        rules = visit.settings.intake
        trouble = None
        if is_labelled(issue, rules):
            trouble = self._take(unit, visit, issue, f"issue:{issue.number}", task_of_issue(issue, visit.settings))
        for comment in issue.comments:
            if not visit.heeds(comment):
                continue
            command = command_in(comment.body)
            if command is None:
                self._answer(unit, visit, issue, comment)
            elif not command.reserved and comment.at >= visit.look.since:
                trouble = self._follow(unit, visit, issue, comment, command) or trouble
        return trouble

    def _follow(
        self, unit: Unit, visit: _Visit, issue: IssueSeen, comment: ForgeComment, command: Command
    ) -> str | None:
        """Make a task of a command. Returns why none could be made, where that may change."""
        what = f"comment:{comment.id}"
        if issue.is_pull and issue.head is None:
            return None if intake.is_taken(unit, visit.address, what) else _waits(visit, issue.number)
        try:
            branch = start_of(issue)
        except ValueError as why:
            self._refuse(unit, visit, issue, comment, str(why))
            return None
        asked = task_of_command(command, comment, issue, visit.settings, branch)
        return self._take(unit, visit, issue, what, asked)

    def _refuse(self, unit: Unit, visit: _Visit, issue: IssueSeen, comment: ForgeComment, why: str) -> None:
        """Answer a command that cannot be followed, once."""
        if not intake.take(unit, visit.address, f"comment:{comment.id}", "", self._clock.now()):
            return
        mark = mark_of_answer(visit.repository.id, comment.id)
        say = Say(
            repository=visit.settings.repository,
            number=issue.number,
            is_pull=issue.is_pull,
            thread=comment.thread,
            mark=mark,
            text=refusal_comment(why),
        )
        self._errands.wish(unit, f"reply:{mark}", say)

    def _take(self, unit: Unit, visit: _Visit, issue: IssueSeen, what: str, asked: NewTask) -> str | None:
        """Make a task, unless one was made of this before. Returns why it could not be made."""
        now = self._clock.now()
        task_id = new_id("tsk", now)
        if not intake.take(unit, visit.address, what, task_id, now):
            return None
        try:
            task = self._submissions.submit_from_forge(unit, asked, task_id, visit.key)
        except AgentVineError as error:
            intake.leave(unit, visit.address, what)
            return f"issue {issue.number} could not become a task: {error.message}"[:1000]
        intake.follow(unit, Taken(task.id, visit.repository.id, issue.number, issue.is_pull))
        self.tell(unit, task.id)
        _log.info("a task came in", task_id=task.id, repository=visit.address, made_of=what)
        return None

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _answer(self, unit: Unit, visit: _Visit, issue: IssueSeen, comment: ForgeComment) -> None:
        """Let a comment answer the question that was shown there before it; it answers one at most."""
        for taken in intake.asking(unit, visit.repository.id):
            there = (taken.number, taken.is_pull) == (issue.number, issue.is_pull)
            if not there or taken.asked_at is None or comment.at < taken.asked_at:
                continue
            request = requests.get(unit, taken.asked) if taken.asked is not None else None
            if request is None or not _is_open_question(request):
                continue
            text = answer_in(comment, request, visit.settings.intake)
            if text is None:
                return
            if intake.take(unit, visit.address, f"comment:{comment.id}", "", self._clock.now()):
                self._respond(unit, request, text, comment)
            return

    def _respond(self, unit: Unit, request: WorkerRequest, text: str, comment: ForgeComment) -> None:
        by = f"forge:{comment.author}"
        response = ControllerResponse(verdict="answer", message=text, made_by=by, made_at=self._clock.now())
        try:
            self._conversations.answer(unit, request.id, response, by)
        except Conflict as error:  # somebody was first
            _log.info("an answer came too late", request_id=request.id, by=by, reason=error.message)

    # ── telling ──────────────────────────────────────────────────────────────────────────────────────────────────

    def tell(self, unit: Unit, task_id: str) -> None:
        """Have the status comment say how a task stands, if it does not yet. Of a task that goes on with one from the
        forge: that one's comment. Harmless for any other task."""
        task = tasks.get(unit, task_id)
        if task is None:
            return
        first = origin_of(unit, task)
        taken = intake.locked(unit, first.id)
        known = repositories.by_id(unit, taken.repository_id) if taken is not None else None
        standing = self._standing(unit, first)
        if taken is None or known is None or standing is None:
            return
        text = status_comment(standing)
        request = standing.request
        asked = request.id if request is not None and _is_open_question(request) else None
        if (text, asked) == (taken.said, taken.asked):
            return
        intake.say(unit, first.id, text, asked)
        say = Say(
            repository=known.repository.settings.repository,
            number=taken.number,
            is_pull=taken.is_pull,
            mark=first.id,
            text=text,
        )
        self._errands.wish(unit, f"status:{first.id}", say)
        if asked is not None:
            self._look(unit, known.repository, self._clock.now() + timedelta(seconds=ASKING_SECONDS))

    def _standing(self, unit: Unit, first: Task) -> Standing | None:
        pull = follow_ups.get(unit, first.id)
        going_on = (pull.gone_on or pull.latest) if pull is not None else first.id
        task = tasks.get(unit, going_on) or first
        order = work_orders.get(unit, task.work_order_id)
        if order is None:
            return None
        open_ = [one for one in requests.of_order(unit, order.id) if one.status is RequestStatus.OPEN]
        delivered = executions.last_completed(unit, first.work_order_id)
        return Standing(first, order, open_[0] if open_ else None, delivered.delivery if delivered else None, pull)

    def told(self, unit: Unit, task_id: str, say: Say, at: datetime | None) -> None:
        """The status comment says `say` since then, by the forge's clock.

        If something else is wished by now it may be older words that were said: they showed no question, or another.
        """
        if kept_errands.is_wished(unit, f"status:{task_id}"):
            return
        taken = intake.locked(unit, task_id)
        if taken is not None and taken.asked is not None and taken.asked in say.text:
            intake.shown(unit, task_id, taken.asked, at or self._clock.now())


def _seen_to(looks: Looks, issues: Sequence[IssueSeen], now: datetime) -> datetime:
    """How far the forge was seen: up to the newest comment, by its own clock, of which none comes from the future; and
    up to when the look was wished, by ours, less the overlap, so that where nobody says anything it goes on too."""
    comments = [min(comment.at, now) for issue in issues for comment in issue.comments]
    return max(looks.seen_to, looks.wished - OVERLAP, *comments)


def _waits(visit: _Visit, number: int) -> str:
    visit.waiting.append(number)
    if visit.tells_heads:
        return (
            f"a command on pull request {number} waits for the next look: this one asked of others where they come from"
        )
    return f"a command on pull request {number} waits for a newer worker: this one tells no branches"


def _heads_from(visit: _Visit) -> int:
    """With which pull request the next look begins to ask where they come from: they take turns."""
    behind = (number for number in visit.waiting if number >= visit.look.heads_from)
    return min(behind, default=min(visit.waiting, default=1))


def _is_open_question(request: WorkerRequest) -> bool:
    return request.status is RequestStatus.OPEN and request.kind is RequestKind.CLARIFICATION


@dataclass(frozen=True, slots=True)
class _Looks:
    """Handles `work:<repository id>`."""

    intake: Intake

    def arrived(self, unit: Unit, name: str, errand: Errand, result: ErrandResult) -> None:
        if isinstance(errand, LookForWork):
            self.intake.seen(unit, name, errand, result.work.issues if result.work is not None else ())

    def failed(self, unit: Unit, name: str, errand: Errand, trouble: Trouble) -> None:
        self.intake.looked_in_vain(unit, name, trouble)


@dataclass(frozen=True, slots=True)
class _Words:
    """Handles `status:<task id>`."""

    intake: Intake
    errands: Errands

    def arrived(self, unit: Unit, name: str, errand: Errand, result: ErrandResult) -> None:
        if isinstance(errand, Say):
            self.intake.told(unit, name, errand, result.said.at if result.said is not None else None)

    def failed(self, unit: Unit, name: str, errand: Errand, trouble: Trouble) -> None:
        if trouble.for_good:  # the issue is gone or locked; when there is something new to say it is tried again
            self.errands.forget(unit, f"status:{name}")
