"""One task on one page: what was asked, what happened, what a person can do next."""

from collections.abc import Iterator
from datetime import datetime

from agentvine.cli.asked import how_to_answer, if_nobody, options
from agentvine.cli.render import Column, Screen, block, status
from agentvine.cli.text import ago, duration, lasted, money, several, short_id, until
from agentvine.domain.execution import Delivery, Execution
from agentvine.domain.pull_followed import PullShown
from agentvine.domain.request import WorkerRequest
from agentvine.domain.retry import Failure
from agentvine.domain.work_order import OrderStatus
from agentvine.wire.messages import TaskDetail


def draw(screen: Screen, detail: TaskDetail, now: datetime) -> None:
    """Everything that is known of a task, in the order in which a person asks for it."""
    task, order = detail.task, detail.order
    screen.say((task.asked.title, "bold"))
    screen.say((task.id, "dim"))
    for name, value, style in _facts(detail, now):
        screen.say((f"{name:<14}", "dim"), (value, style))
    if task.asked.description:
        screen.show(block(f"\n{task.asked.description}\n"))
    for number, requirement in enumerate(task.asked.requirements, 1):
        screen.say(f"{number:>3}. {requirement}")
    if order.failure is not None and order.status is not OrderStatus.COMPLETED:
        _failure(screen, order.failure, order.status)
    if detail.executions:
        _executions(screen, detail.executions, now)
    for request in detail.requests:
        _request(screen, request, now)
    if detail.summary:
        screen.say()
        screen.say(("summary", "bold"))
        screen.show(block(detail.summary, indent=2))
    for hint in _next_steps(detail):
        screen.note(("→ ", "cyan"), (hint, "dim"))


def _facts(detail: TaskDetail, now: datetime) -> Iterator[tuple[str, str, str]]:
    task, order = detail.task, detail.order
    word = task.status.value
    yield "status", word, f"bold {status(word).style}"
    yield "type", task.asked.type.value, ""
    yield "repository", task.asked.repository, ""
    yield "branch", task.asked.branch, ""
    yield "permission", task.permission_level.value, ""
    yield "queue", f"{task.asked.queue}, priority {task.asked.priority}", ""
    yield "submitted", f"{ago(task.created_at, now)} by {task.created_by}", ""
    yield "attempts", f"{order.charged} of {order.max_attempts}", ""
    yield "cost", f"{money(order.spent_usd)} of {money(task.asked.budget.usd)}", ""
    if task.asked.needs:
        yield "needs", ", ".join(task.asked.needs), ""
    if task.asked.specializations:
        yield "specialization", ", ".join(task.asked.specializations), ""
    if order.not_before and order.not_before > now:
        yield "not before", until(order.not_before, now), ""
    for each in detail.waits_for:
        yield "waits for", each.detail, "yellow"
    delivery = next((each.delivery for each in reversed(detail.executions) if each.delivery), None)
    if delivery is not None:
        yield "delivery", delivered(delivery), ""
    if detail.pull_request is not None:
        yield from _pull_request(detail.pull_request, now)


def _pull_request(pull: PullShown, now: datetime) -> Iterator[tuple[str, str, str]]:
    """How the pull request stands, and what is being done about it."""
    words = [f"{pull.state.value}" + (f", seen {ago(pull.seen_at, now)}" if pull.seen_at else ", not looked at yet")]
    if not pull.ours:
        words.append(f"somebody else pushed {pull.head[:12]}")
    if pull.conflicts:
        words.append("conflicts with its target")
    style = {"merged": "green", "open": ""}.get(pull.state.value, "yellow")
    yield "pull request", "; ".join(words), style
    if pull.state.value == "open":
        flaky = f" ({', '.join(pull.flaky)}: flaky)" if pull.flaky else ""
        yield "checks", f"{pull.checks}{flaky}", "red" if pull.checks == "failed" else ""
    if pull.gone_on is not None:
        why = f" for {', '.join(pull.causes)}" if pull.causes else ""
        yield "followed by", f"{pull.gone_on}{why}", ""
    if pull.open_comments:
        yield "to be answered", several(pull.open_comments, "comment"), ""
    if pull.stopped is not None:
        yield "your turn", pull.stopped, "yellow"


def delivered(delivery: Delivery) -> str:
    """Where a result is."""
    return f"{delivery.branch} at {delivery.new_sha[:12]}" + (f"  {delivery.url}" if delivery.url else "")


def _failure(screen: Screen, failure: Failure, now_is: OrderStatus) -> None:
    ended = now_is is OrderStatus.FAILED
    screen.say()
    screen.say(("failed: " if ended else "last attempt: ", "bold red" if ended else "yellow"), failure.reason.value)
    if failure.detail:
        screen.show(block(failure.detail, indent=2))


def _executions(screen: Screen, executions: tuple[Execution, ...], now: datetime) -> None:
    columns = [
        Column("ATTEMPT", "right"),
        Column("EXECUTION"),
        Column("WORKER", flexible=True),
        Column("STATE"),
        Column("TOOK", "right"),
        Column("TURNS", "right"),
        Column("COST", "right"),
    ]
    rows = [
        (
            str(each.attempt),
            short_id(each.id),
            each.worker_id,
            status(each.outcome.value if each.outcome else each.phase.value),
            lasted(each.started_at, each.ended_at or now),
            str(each.usage.turns),
            money(each.usage.cost_usd),
        )
        for each in sorted(executions, key=lambda each: each.attempt)
    ]
    screen.say()
    screen.table(columns, rows)


def _request(screen: Screen, request: WorkerRequest, now: datetime) -> None:
    word = request.status.value
    screen.say()
    screen.say(
        (f"{request.kind.value} ", "bold"),
        (word, str(status(word).style)),
        f"  {request.id}  {ago(request.created_at, now)}",
    )
    screen.show(block(request.message, indent=2))
    if word == "open":
        if request.context:
            screen.show(block(request.context, "dim", indent=2))
        options(screen, request)
        screen.say((f"  {if_nobody(request, now)}", "dim"))
    if request.response is not None:
        screen.say(("  \u21b3 ", "dim"), f"{request.response.verdict} by {request.response.made_by}")
        if request.response.message:
            screen.show(block(request.response.message, indent=4))


def _next_steps(detail: TaskDetail) -> Iterator[str]:
    short = short_id(detail.task.id)
    waiting = [each for each in detail.requests if each.status.value == "open"]
    for request in waiting:
        name = short if len(waiting) == 1 else short_id(request.id)
        yield f"agentvine inbox show {name}; {how_to_answer(request, name)}"
    if detail.order.status is OrderStatus.RUNNING:
        yield f"agentvine logs -f {short}"
    elif detail.order.status is OrderStatus.FAILED:
        yield f"agentvine logs {short}; agentvine retry {short}"
    elif detail.order.status is OrderStatus.COMPLETED:
        yield f"agentvine diff {short}; agentvine evidence show {short}"


def totals(detail: TaskDetail, now: datetime) -> str:
    """Time and money of all executions until now, in words."""
    seconds = sum(((each.ended_at or now) - each.started_at).total_seconds() for each in detail.executions)
    usd = sum(each.usage.cost_usd for each in detail.executions)
    return f"{duration(seconds)}, {money(usd)}, {several(len(detail.executions), 'attempt')}"
