"""What goes wrong at which call, and what it must not lead to: that something is done once more."""

from collections import Counter

from agentvine.testing.forges.deliveries import opening
from agentvine.testing.forges.server import UNKNOWN, Fault

FAULTS = {
    "lost": (Fault.CUT_AFTER,),
    "silent": (Fault.SLOW, Fault.HALF_AN_ANSWER),
    "done_and_failed": (Fault.BAD_GATEWAY, Fault.GARBLED),
    "twice": (Fault.TWICE,),
    "limited": (Fault.LIMITED, Fault.FORBIDDEN_FOR_NOW),
    "failed": (Fault.BROKEN, Fault.UNAVAILABLE, Fault.CUT_BEFORE),
}
"""Each kind happens at each call that writes, and what comes to the same takes turns; but where it leaves open what
became of such a call, it is always the first that is named."""


def struck(number: int, call: str, kind: tuple[Fault, ...]) -> Fault:
    """What of a kind happens at that call."""
    leaves_open = not call.startswith("GET") and kind[0] in UNKNOWN
    return kind[0] if leaves_open else kind[number // 2 % len(kind)]


def told_once(done: list[str], without_faults: list[str], fault: Fault) -> bool:
    """Whether no more and no less was changed than without the fault; what the network repeats is not ours."""
    return fault is Fault.TWICE or Counter(done) == Counter(without_faults)


def looked_first(calls: list[str], number: int, fault: Fault) -> bool:
    """Whether a call that writes, and whose answer was lost, was made again only after a look at what is there."""
    after = calls[number + 1 :]
    until_a_look = after[: next((place for place, call in enumerate(after) if call.startswith("GET")), len(after))]
    return fault not in UNKNOWN or calls[number] not in until_a_look


def comes_to_the_same(story: object, call: str) -> bool:
    """Whether doing it twice is doing it once. GitLab puts on labels, and asks for reviews, by changes."""
    adorns = call.endswith(("/labels", "/requested_reviewers")) or (story is opening and call.startswith("PUT"))
    return adorns or call.startswith(("GET", "DELETE"))
