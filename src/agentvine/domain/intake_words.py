"""The status comment of a task that came from a forge: a pure function of how the task stands."""

from dataclasses import dataclass

from agentvine.domain.execution import Delivery
from agentvine.domain.harmless import bounded, fenced, harmless, harmless_line
from agentvine.domain.pull_followed import PullFollowed, PullState
from agentvine.domain.request import RequestKind, WorkerRequest
from agentvine.domain.task import Task
from agentvine.domain.work_order import OrderStatus, WorkOrder

_LONGEST_QUESTION = 6000
_LONGEST_OPTION = 300
_LONGEST_REASON = 600
_LONGEST = 16_000
_CUT = "[cut here]"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a task from a forge stands."""

    task: Task
    order: WorkOrder
    """Of the task, or of the last one that goes on with it."""
    request: WorkerRequest | None = None
    """What is asked, as long as it is open."""
    delivery: Delivery | None = None
    """What the task delivered."""
    pull: PullFollowed | None = None


def status_comment(standing: Standing) -> str:
    """What people on the forge are told. Nothing in it depends on the time, so that it changes with the task only."""
    task = standing.task
    heading = f"**AgentVine** has taken this as `{task.id}` ({task.asked.type})."
    return bounded("\n\n".join([heading, *_parts(standing)]), _LONGEST, _CUT)


def _parts(standing: Standing) -> list[str]:
    order, request = standing.order, standing.request
    if request is not None and order.status not in {OrderStatus.CANCELLED, OrderStatus.FAILED}:
        return _asked(request)
    match order.status:
        case OrderStatus.PENDING if order.task_id != standing.task.id:
            return [_delivered(standing), "It is about to be gone on with."]
        case OrderStatus.PENDING if order.blocked_by:
            return ["It waits for other tasks."]
        case OrderStatus.PENDING:
            return ["It is queued: a worker takes it when one is free."]
        case OrderStatus.RUNNING | OrderStatus.WAITING:
            if order.task_id != standing.task.id:
                return [_delivered(standing), "It is being gone on with."]
            return ["It is being worked on."]
        case OrderStatus.COMPLETED:
            return [_delivered(standing)]
        case OrderStatus.FAILED:
            return _failed(order)
        case OrderStatus.CANCELLED:
            return ["It was cancelled."]


def _asked(request: WorkerRequest) -> list[str]:
    if request.kind is RequestKind.APPROVAL:
        return [
            "**Somebody has to agree before it goes on.** A comment cannot do that: whoever may write here is not "
            "proven to be whoever may agree.",
            f"`agentvine inbox` shows what it is about, `agentvine approve {request.id}` agrees, "
            f"`agentvine deny {request.id}` does not.",
        ]
    parts = ["**It waits for an answer to this question:**", fenced(harmless(request.message[:_LONGEST_QUESTION]))]
    how = "Answer with a comment here, in your own words"
    if request.options:
        lines = [f"{n}. {harmless_line(one, _LONGEST_OPTION)}" for n, one in enumerate(request.options, 1)]
        parts += ["Possible answers:\n\n" + "\n".join(lines)]
        how += ", or with the number of one of these answers alone"
    parts.append(
        f"{how}. The first answer of somebody whom the operator of this repository has named counts. "
        f"In a shell, `agentvine answer {request.id} …` does the same."
    )
    return parts


def _delivered(standing: Standing) -> str:
    pull, delivery = standing.pull, standing.delivery
    where = (pull.url if pull is not None else "") or (delivery.url if delivery is not None else "") or ""
    if pull is not None and pull.state is PullState.MERGED:
        return f"It is done: the pull request was merged. {where}".strip()
    if pull is not None and pull.state is PullState.CLOSED:
        return f"The pull request was closed without being merged. {where}".strip()
    if pull is not None and pull.stopped:
        why = harmless_line(pull.stopped, _LONGEST_REASON)
        return f"The pull request needs a person: {why} {where}".strip()
    if where:
        return f"The result is here: {where}"
    if delivery is not None and delivery.kind != "report":
        return f"The result is on the branch `{delivery.branch}`."
    return "It is done."


def _failed(order: WorkOrder) -> list[str]:
    parts = ["**It did not work.**"]
    if order.failure is not None:
        reason = order.failure.reason.value.replace("_", " ")
        parts = [f"**It did not work:** {reason}."]
        if detail := order.failure.detail.strip():
            parts.append(fenced(harmless(detail[:_LONGEST_REASON])))
    parts.append(f"`agentvine retry {order.task_id}` tries again, `agentvine show {order.task_id}` says more.")
    return parts
