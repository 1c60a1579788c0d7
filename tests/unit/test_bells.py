"""Who is woken by what, and that no ring is swallowed."""

import asyncio
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from agentvine.domain.ids import new_id
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.work_order import WorkOrder
from agentvine.domain.worker_types import TaskType
from agentvine.server.bells import Appetite, Bells, Parked
from agentvine.server.control_plane import claimable_ring
from agentvine.testing.eventually import eventually
from agentvine.wire.channels import Ring

START = datetime(2026, 1, 5, tzinfo=UTC)
ANYTHING = Appetite(TaskType.TEST, frozenset({"default"}), frozenset(), PermissionLevel.AUTONOMOUS)
ORDER = Ring(kind="claimable", type=TaskType.TEST, queue="default")


class Waiter:
    """A parked claim that notes when it wakes, looks in vain, and waits again."""

    def __init__(self, bells: Bells, appetite: Appetite = ANYTHING) -> None:
        self.woken = 0
        self.parked: Parked | None = None
        self.task = asyncio.ensure_future(self._wait(bells, appetite))

    async def _wait(self, bells: Bells, appetite: Appetite) -> None:
        with bells.parked(appetite) as self.parked:
            while True:
                self.parked.look()
                await self.parked.wait(30)
                self.woken += 1

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


async def parked(bells: Bells, number: int, appetite: Appetite = ANYTHING) -> list[Waiter]:
    waiters = [Waiter(bells, appetite) for _ in range(number)]
    await eventually(lambda: bells.waiting_claims(TaskType.TEST) >= number)
    return waiters


async def test_one_ring_wakes_one() -> None:
    bells = Bells()
    waiters = await parked(bells, 3)
    bells.announce([ORDER])
    await eventually(lambda: sum(waiter.woken for waiter in waiters) == 1)
    bells.announce([ORDER, ORDER])
    await eventually(lambda: [waiter.woken for waiter in waiters] == [1, 1, 1])
    for waiter in waiters:
        await waiter.leave()
    assert bells.waiting_claims(TaskType.TEST) == 0


async def test_a_ring_for_several_wakes_several() -> None:
    bells = Bells()
    waiters = await parked(bells, 4)
    bells.hear(Ring(kind="claimable", type=TaskType.TEST, count=3, sender="another"))
    await eventually(lambda: sum(waiter.woken for waiter in waiters) == 3)
    assert sorted(waiter.woken for waiter in waiters) == [0, 1, 1, 1]
    for waiter in waiters:
        await waiter.leave()


@pytest.mark.parametrize(
    "ring",
    [
        Ring(kind="claimable", type=TaskType.DOCS, queue="default"),
        Ring(kind="claimable", type=TaskType.TEST, queue="high_priority"),
        Ring(kind="claimable", type=TaskType.TEST, requires=("rust",)),
        Ring(kind="claimable", type=TaskType.TEST, permission_level=PermissionLevel.AUTONOMOUS),
        Ring(kind="claimable", type=TaskType.TEST, repository="https://git.example/other.git"),
        Ring(kind="event"),
    ],
)
async def test_who_could_not_take_it_sleeps_on(ring: Ring) -> None:
    bells = Bells()
    modest = Appetite(
        TaskType.TEST,
        frozenset({"default"}),
        frozenset({"python"}),
        PermissionLevel.SUPERVISED,
        frozenset({"https://git.example/a.git"}),
    )
    (waiter,) = await parked(bells, 1, modest)
    bells.announce([ring])
    suiting = Ring(
        kind="claimable",
        type=TaskType.TEST,
        queue="default",
        requires=("python",),
        permission_level=PermissionLevel.SUPERVISED,
        repository="https://git.example/a.git",
    )
    bells.announce([suiting])
    await eventually(lambda: waiter.woken)
    assert waiter.woken == 1
    await waiter.leave()


async def test_who_leaves_rung_hands_the_ring_on() -> None:
    bells = Bells()
    first, second = (await parked(bells, 2))[:2]
    bells.announce([ORDER])
    first.task.cancel()  # rung already, but it has not run since
    await eventually(lambda: second.woken == 1)
    assert (first.woken, second.woken) == (0, 1)
    await second.leave()


async def test_who_is_stopped_while_looking_hands_the_ring_on() -> None:
    bells = Bells()
    waiters: list[Waiter] = []
    with pytest.raises(RuntimeError), bells.parked(ANYTHING) as claim:
        claim.look()
        bells.announce([ORDER])
        claim.look()
        waiters = await parked(bells, 2)
        raise RuntimeError("the look was broken off")
    await eventually(lambda: sum(waiter.woken for waiter in waiters) == 1)
    for waiter in waiters:
        await waiter.leave()


async def test_who_found_one_hands_on_what_rang_meanwhile() -> None:
    bells = Bells()
    with bells.parked(ANYTHING) as claim:
        claim.look()
        bells.announce([ORDER])  # about another order than the one that it is finding
        waiters = await parked(bells, 1)
    await eventually(lambda: waiters[0].woken == 1)
    assert waiters[0].woken == 1, "one ring, one waking"
    await waiters[0].leave()


def an_order(**more: object) -> WorkOrder:
    given = {
        "id": new_id("wo", START),
        "task_id": new_id("tsk", START),
        "type": TaskType.TEST,
        "repository": "https://git.example/a.git",
        "branch": "main",
        "permission_level": PermissionLevel.AUTONOMOUS,
        "queue": "default",
        "priority": 0,
        "created_at": START,
        "updated_at": START,
    }
    return WorkOrder.model_validate(given | more)


async def test_who_took_another_order_hands_the_ring_on() -> None:
    bells = Bells()
    rung_for, taken = an_order(), an_order()
    with bells.parked(ANYTHING) as claim:
        claim.look()
        bells.announce([claimable_ring(rung_for)])
        claim.look()
        waiters = await parked(bells, 2)
        claim.took(taken)
    await eventually(lambda: sum(waiter.woken for waiter in waiters) == 1)
    assert sorted(waiter.woken for waiter in waiters) == [0, 1]
    for waiter in waiters:
        await waiter.leave()


@pytest.mark.parametrize("while_looking", [False, True])
async def test_who_took_what_rang_wakes_nobody(while_looking: bool) -> None:
    bells = Bells()
    order = an_order()
    with bells.parked(ANYTHING) as claim:
        claim.look()
        bells.announce([claimable_ring(order)])
        if not while_looking:
            claim.look()
        waiters = await parked(bells, 1 if while_looking else 2)
        claim.took(order)
    await asyncio.wait([waiters[0].task], timeout=0.02)
    assert [waiter.woken for waiter in waiters] == [0] * len(waiters)
    for waiter in waiters:
        await waiter.leave()


async def test_who_is_told_to_drain_leaves_the_line() -> None:
    bells = Bells()
    with bells.parked(ANYTHING, "wrk_leaving") as claim:
        claim.look()
        waiters = await parked(bells, 2)
        bells.announce([Ring(kind="drain", worker_id="wrk_leaving"), ORDER])
        assert claim.ring is None
        await eventually(lambda: sum(waiter.woken for waiter in waiters) == 1)
        async with asyncio.timeout(20):
            await claim.wait(30)
    for waiter in waiters:
        await waiter.leave()


async def test_a_ring_before_the_wait_is_not_missed() -> None:
    bells = Bells()
    with bells.parked(ANYTHING) as claim:
        claim.look()
        bells.announce([ORDER])
        assert claim.ring is not None
        async with asyncio.timeout(20):
            await claim.wait(30)
        claim.look()


async def test_readers_are_all_woken() -> None:
    bells = Bells()
    with (
        bells.events() as one,
        bells.events() as two,
        bells.response("req_1") as answer,
        bells.transcript("exe_1") as tail,
    ):
        bells.announce([Ring(kind="event"), Ring(kind="event")])
        assert await one.wait(1)
        assert await two.wait(1)
        bells.hear(Ring(kind="response", request_id="req_" + "0" * 26))
        assert not await answer.wait(0)
        bells.hear(Ring.model_construct(kind="response", request_id="req_1", sender="x"))
        assert await answer.wait(1)
        bells.hear(Ring.model_construct(kind="transcript", execution_id="exe_1", sender="x"))
        assert await tail.wait(1)


async def test_others_are_told_of_transcripts_together() -> None:
    told: list[Ring] = []
    here, there = Bells(told.append), Bells()
    names = [new_id("exe", START) for _ in range(3)]
    with ExitStack() as stack:
        mine = stack.enter_context(here.transcript(names[0]))
        tails = [stack.enter_context(there.transcript(name)) for name in names]
        stranger = stack.enter_context(there.transcript(new_id("exe", START)))
        here.announce([Ring(kind="transcript", execution_id=name) for name in names])
        here.announce([Ring(kind="transcript", execution_id=names[0]), Ring(kind="event")])
        assert await mine.wait(0), "whoever waits here hears at once"
        await eventually(lambda: len(told) >= 2)
        assert sorted(ring.kind for ring in told) == ["event", "transcript"]
        for ring in told:
            there.hear(Ring.model_validate_json(ring.model_dump_json()))
        assert all([await tail.wait(0) for tail in tails])
        assert not await stranger.wait(0)
        here.announce([Ring(kind="transcript", execution_id=names[1])])
        await eventually(lambda: len(told) == 3)
        assert told[-1].execution_id == names[1]
        assert not told[-1].further_execution_ids


async def test_others_are_told_once_and_echoes_are_passed_over() -> None:
    told: list[Ring] = []
    bells = Bells(told.append)
    (waiter,) = await parked(bells, 1)
    bells.announce([ORDER, Ring(kind="event")])
    bells.announce([Ring(kind="event")] * 5)
    await eventually(lambda: any(ring.kind == "event" for ring in told))
    assert [ring.kind for ring in told] == ["claimable", "event"]
    assert {ring.sender for ring in told} == {bells.name}
    await eventually(lambda: waiter.woken == 1)
    for ring in told:
        bells.hear(ring)
    await asyncio.wait([waiter.task], timeout=0.02)
    assert waiter.woken == 1
    await waiter.leave()
