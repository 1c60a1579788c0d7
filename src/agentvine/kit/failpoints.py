"""Named places between two effects, at which a test makes this process die, stop, wait or fail.

    AGENTVINE_FAILPOINTS=deliver.after_push:kill9,claim.after_commit:delay=2:n=3

A process that was started with this variable does what it says when it comes to the place for the `n`-th time (the
first, unless told otherwise), once. Without it a place is one look at an empty dictionary. The variable is for tests
alone: it is read at the start, told in the log as a warning, and not handed on to parts that `agentvine up` starts.

What a place can be told:

    kill9         the process ends as by SIGKILL
    stop          the process stops as by SIGSTOP, until somebody continues it
    delay=S       the place waits S seconds
    error         the place fails, as what it has just asked for can fail
    reply_lost    what was asked for is done, and whoever asked does not hear of it
    plant         a bug that is planted there is active from the start, each time
"""

import os
import signal
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from agentvine.kit.doorbell import pause
from agentvine.kit.logs import logger

T = TypeVar("T")
U = TypeVar("U")
VARIABLE = "AGENTVINE_FAILPOINTS"
_LONGEST_DELAY = 600.0
_log = logger("failpoints")

_LOOKS = frozenset({"claim", "errandclaim"})
_ANYWHERE = frozenset({"kill9", "stop", "delay"})
_FALLIBLE = _ANYWHERE | {"error"}
_ANSWERED = _ANYWHERE | {"reply_lost"}

OPERATIONS: Mapping[str, str] = MappingProxyType(
    {
        "submit": "a task is accepted",
        "cancel": "an order is cancelled",
        "answer": "a request is answered",
        "register": "a worker registers",
        "claim": "an order is claimed",
        "start": "a claim is acknowledged",
        "renew": "leases are renewed",
        "phase": "a phase is reported",
        "transcript": "entries of a transcript are kept",
        "artifact": "an artifact is noted",
        "evidence": "evidence is kept",
        "deliver": "a delivery is journaled",
        "complete": "an order is completed",
        "fail": "an order fails",
        "release": "an order is given back",
        "park": "an order is parked",
        "ask": "a request is kept",
    }
)
"""What the server commits when it is asked to. Each has two places: `<name>.before_commit`, in the transaction, when
all of it is written; and `<name>.after_commit`, before whoever asked is answered."""

SERVER_PLACES: Mapping[str, str] = MappingProxyType(
    {
        "artifact.after_file": "the content of an artifact is on the disk, and no row says so",
        "commit.before_rings": "something is committed, and nobody was woken for it",
        "reaper.after_lost": "orders were taken from workers whose lease had ended",
    }
)
WORKER_PLACES: Mapping[str, str] = MappingProxyType(
    {
        "claim.after_reply": "an order has come, and was not acknowledged",
        "start.after_reply": "the claim is acknowledged",
        "prepare.after_phase": "the server knows that it is being prepared",
        "prepare.after_fetch": "the mirror is up to date",
        "prepare.after_workspace": "the workspace is made",
        "work.before_agent": "the agent is about to start",
        "work.after_agent": "the agent has ended",
        "result.after_bundle": "the commits are out of the workspace",
        "result.after_verification": "the result is judged",
        "result.after_artifact": "a part of the result is stored",
        "result.after_evidence": "the evidence is stored, and with it the result",
        "deliver.before_intent": "nothing of the delivery is written down",
        "deliver.after_intent": "the delivery is journaled, nothing was pushed",
        "push.before_confirmation": "the remote has taken the push, and was not read back",
        "deliver.after_push": "the delivery is confirmed, the server does not know",
        "propose.before_request": "the branch is pushed, the forge was not asked for a pull request",
        "propose.after_reply": "the pull request is there, the server does not know",
        "park.after_checkpoint": "the files of an order that has to wait are stored",
        "park.after_transcript": "its conversation is stored, too",
        "report.before": "an execution has ended, the server does not know how",
        "report.after_reply": "the server has confirmed how it ended",
        "place.before_removal": "an execution has ended, its folder is there",
    }
)
ERRAND_OPERATIONS: Mapping[str, str] = MappingProxyType(
    {
        "errandclaim": "an errand to a forge is given to a worker",
        "errandresult": "what came of an errand is taken",
    }
)
"""As `OPERATIONS`, where a fleet has errands to run."""
ERRAND_PLACES: Mapping[str, str] = MappingProxyType(
    {
        "errand.after_claim": "a worker has an errand, and has not begun",
        "errand.before_result": "an errand is run, the server does not know what came of it",
        "errand.after_result": "the server has taken what came of an errand",
    }
)
"""As `WORKER_PLACES`."""
PLANTED: Mapping[str, str] = MappingProxyType(
    {"lease.unchecked": "the server believes workers that have lost their lease"}
)
"""Bugs, for the fault suite to find."""

POINTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {f"{operation}.before_commit": _FALLIBLE for operation in (*OPERATIONS, *ERRAND_OPERATIONS)}
    | {f"{operation}.after_commit": _ANSWERED for operation in (*OPERATIONS, *ERRAND_OPERATIONS)}
    | dict.fromkeys((*SERVER_PLACES, *WORKER_PLACES, *ERRAND_PLACES), _ANYWHERE)
    | {"push.before_confirmation": _FALLIBLE | _ANSWERED}
    | dict.fromkeys(PLANTED, frozenset({"plant"}))
)
"""Every place there is, with what it can be told."""
WORKER_POINTS = tuple(WORKER_PLACES)
_OF_ERRANDS = frozenset(name for name in POINTS if name.startswith("errand"))
SERVER_POINTS = tuple(name for name in POINTS if name not in {*WORKER_PLACES, *PLANTED, *_OF_ERRANDS})


class ReplyLost(BaseException):
    """It is done, and the caller is not to be told. No `Exception`: nothing on the way out may make an answer of it."""


@dataclass(slots=True)
class _Order:
    """What a place was told."""

    action: str
    seconds: float
    at: int
    reached: int = 0


_armed: dict[str, _Order] = {}
_counting = threading.Lock()


def arm(text: str) -> None:
    """Do from now on what `text`, the value of the variable, says; an empty one disarms all.

    Raises ValueError that names everything that is wrong with it.
    """
    orders: dict[str, _Order] = {}
    mistakes = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            name, order = _read(part)
            orders[name] = order
        except ValueError as error:
            mistakes.append(f"{VARIABLE}: '{part}': {error}")
    if mistakes:
        raise ValueError("\n".join(mistakes))
    _armed.clear()
    _armed.update(orders)
    if orders:
        _log.warning("FAILPOINTS ARE ARMED; this process is for tests, and will break", failpoints=text)


def _read(part: str) -> tuple[str, _Order]:
    name, *words = part.split(":")
    if name not in POINTS:
        raise ValueError("there is no such failpoint")
    order = _Order("", 0.0, 1)
    for word in words:
        key, _, value = word.partition("=")
        if key == "n":
            order.at = _number(value, 1, 1_000_000)
        elif key not in POINTS[name] or order.action:
            raise ValueError(f"it takes one of {', '.join(sorted(POINTS[name]))}, and n=NUMBER")
        else:
            order.action = key
            order.seconds = _number(value, 0, _LONGEST_DELAY) if key == "delay" else 0.0
    if not order.action:
        raise ValueError(f"say what happens there: {', '.join(sorted(POINTS[name]))}")
    return name, order


N = TypeVar("N", int, float)


def _number(text: str, least: N, most: N) -> N:
    value = type(most)(text)
    if not least <= value <= most:
        raise ValueError(f"{text} is not between {least} and {most}")
    return value


def planted(name: str) -> bool:
    """True if the bug of that name is active."""
    return bool(_armed) and name in _armed


async def reached(name: str, error: Callable[[], Exception] | None = None) -> None:
    """The process has come to the place `name`, in its event loop. `error` makes what the place can raise."""
    if _armed and (order := _struck(name)) is not None:
        if order.action == "delay":
            await pause(order.seconds)
        else:
            _act(order, error)


def passed(name: str, error: Callable[[], Exception] | None = None) -> None:
    """As `reached`, where nothing can be awaited: a delay holds up the thread."""
    if _armed and (order := _struck(name)) is not None:
        if order.action == "delay":
            threading.Event().wait(order.seconds)
        else:
            _act(order, error)


async def committed(
    operation: str,
    write: Callable[[Callable[[U], T]], Awaitable[T]],
    work: Callable[[U], T],
    error: Callable[[], Exception],
) -> T:
    """`write(work)`, with the two places of the `operation` in it and behind it. `error`: the database says no."""
    if not _armed:
        return await write(work)

    def up_to_the_commit(unit: U) -> T:
        result = work(unit)
        if result is not None or operation not in _LOOKS:  # a look in vain commits nothing
            passed(f"{operation}.before_commit", error)
        return result

    result = await write(up_to_the_commit)
    if result is not None or operation not in _LOOKS:
        await reached(f"{operation}.after_commit")
    return result


def _struck(name: str) -> _Order | None:
    order = _armed.get(name)
    if order is None:
        return None
    with _counting:
        order.reached += 1
        if order.reached != order.at:
            return None
    _log.warning("a failpoint strikes", failpoint=name, action=order.action)
    return order


def _act(order: _Order, error: Callable[[], Exception] | None) -> None:
    if order.action in {"kill9", "stop"}:
        os.kill(os.getpid(), signal.SIGKILL if order.action == "kill9" else signal.SIGSTOP)
    elif error is not None:
        raise error()
    elif order.action == "reply_lost":
        raise ReplyLost
