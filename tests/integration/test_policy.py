"""Rules before people: what workers ask is settled by the policy where it can be, in the same transaction."""

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agentvine.broker.embedded import EmbeddedBroker
from agentvine.broker.redis import RedisBroker
from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.control_plane import HTTPControlPlane
from agentvine.domain.errors import AlreadyAnswered
from agentvine.domain.event import Event, EventKind
from agentvine.domain.ids import new_id
from agentvine.domain.key import Role
from agentvine.domain.precedent import Remember
from agentvine.domain.request import ControllerResponse, RequestKind, RequestStatus, Unanswered
from agentvine.domain.retry import FailureReason
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock
from agentvine.kit.configuration import ConfigurationError
from agentvine.store import events
from agentvine.testing.cast import Hand, a_task, a_worker
from agentvine.testing.eventually import eventually
from agentvine.testing.http import api, new_key, server_on
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.testing.suites.answers import approval
from agentvine.wire import messages as m
from agentvine.worker.conclusion import Delivered, Parked
from agentvine.worker.executor import TaskExecutor
from agentvine.worker.queue_client import QueueClient
from tests.integration.houses import fixes, house
from tests.integration.test_asking import TITLE, asks, the_question, told

RULES = """
[[rule]]
name = "careful"
reason = "money is looked at by people"
decide = "ask"
match = { words = ["billing"] }

[[rule]]
name = "rounding"
reason = "docs/money.md"
decide = "answer"
text = "half to even"
match = { kind = "clarification", words = ["round*"] }

[[rule]]
name = "docs-leave"
reason = "documentation harms nobody"
decide = "approve"
match = { types = ["docs"], permission_levels = ["human_required"] }

[[rule]]
name = "no-legacy"
reason = "legacy code stays as it is"
decide = "deny"
match = { words = ["legacy"] }
"""
ROUND = "Shall I round?"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(RULES)
    return path


@pytest.fixture
async def site(database_url: str, tmp_path: Path, rules: Path) -> AsyncIterator[InProcessSite]:
    async with in_process_site(database_url, tmp_path, policy=rules) as site:
        yield site


async def what_happened(site: InProcessSite) -> list[Event]:
    return list((await site.database.read(lambda unit: events.after(unit, 0, None, None, 100))).events)


async def test_a_question_is_answered_by_a_rule_while_the_slot_is_held(site: InProcessSite) -> None:
    desk, worker = await site.front_desk(), await a_worker(site)
    await desk.submit(a_task())
    claimed = await worker.take_and_start()
    question = worker.question(claimed, message=ROUND)
    asked = await worker.plane.ask(claimed.lease.execution_id, question)
    assert asked.status is RequestStatus.ANSWERED
    response = await worker.plane.response(question.id)
    assert response == asked.response
    assert response is not None
    assert (response.verdict, response.message, response.made_by) == ("answer", "half to even", "policy:rounding")
    assert await worker.plane.ask(claimed.lease.execution_id, question) == asked
    assert (await desk.requests()).items == ()
    assert (await desk.work_order(claimed.order.id)).status is OrderStatus.RUNNING
    opened, answered = (await what_happened(site))[-2:]
    assert (opened.kind, answered.kind) == (EventKind.REQUEST_OPENED, EventKind.REQUEST_ANSWERED)
    assert answered.actor == "policy:rounding"
    assert answered.data["by"] == "policy:rounding"
    assert answered.data["reason"] == "docs/money.md"
    with pytest.raises(AlreadyAnswered):
        await desk.respond(question.id, m.Reply(verdict="answer", message="always up"))


async def test_a_parked_order_whose_question_a_rule_answers_goes_on_at_once(site: InProcessSite) -> None:
    desk, worker = await site.front_desk(), await a_worker(site)
    await desk.submit(a_task())
    claimed = await worker.take_and_start()
    question = worker.question(claimed, message=ROUND)
    request = await worker.park(claimed, question)
    assert request.status is RequestStatus.ANSWERED
    assert await worker.park(claimed, question) == request
    again = await worker.take()
    assert again.earlier is not None
    assert again.earlier.request == request
    kinds = [event.kind for event in await what_happened(site)]
    begin = kinds.index(EventKind.REQUEST_OPENED)
    assert kinds[begin : begin + 4] == [
        EventKind.REQUEST_OPENED,
        EventKind.REQUEST_ANSWERED,
        EventKind.ORDER_PARKED,
        EventKind.ORDER_RESUMED,
    ]


@pytest.mark.parametrize("message", ["Shall I round in billing?", "Which database?"])
async def test_what_a_rule_or_no_rule_leaves_to_people_is_theirs(site: InProcessSite, message: str) -> None:
    desk, worker = await site.front_desk(), await a_worker(site)
    await desk.submit(a_task())
    claimed = await worker.take_and_start()
    request = await worker.park(claimed, worker.question(claimed, message=message))
    assert (await desk.requests()).items == (request,)
    assert await worker.claim() is None
    answered = await desk.respond(request.id, m.Reply(verdict="answer", message="yes"))
    assert answered.response is not None
    assert answered.response.made_by == f"key:{(await desk.who_am_i()).key.id}"
    assert (await worker.take()).order.id == claimed.order.id


UNANSWERED = """
[unanswered]
approval = "fail"

[[rule]]
name = "careful"
reason = "money is looked at by people"
decide = "ask"
unanswered = "fail"
expires_after = "2 minutes"
match = { kind = "clarification", words = ["billing"] }
"""


async def test_a_rule_says_what_happens_when_nobody_answers_and_when(site: InProcessSite, rules: Path) -> None:
    rules.write_text(UNANSWERED)
    site.policy.look(rules)
    desk, worker = await site.front_desk(), await a_worker(site)
    await desk.submit(a_task())
    claimed = await worker.take_and_start()
    asked = await worker.park(claimed, worker.question(claimed, message="Who does billing?", expires_in_seconds=9000))
    assert (asked.unanswered, asked.expires_at - asked.created_at) == (Unanswered.FAIL, timedelta(minutes=2))
    rules.write_text("")
    site.policy.look(rules)  # what was decided when it was asked, stands
    await site.pass_time(122)
    failed = (await desk.work_order(claimed.order.id)).failure
    assert failed is not None and failed.reason is FailureReason.REQUEST_EXPIRED
    rules.write_text(UNANSWERED)
    site.policy.look(rules)
    await desk.submit(a_task())
    other = await worker.take_and_start()
    for question, unanswered in (
        (worker.question(other, message="Which one?"), Unanswered.DECIDE),
        (approval(worker, other), Unanswered.FAIL),
        (approval(worker, other, None), Unanswered.FAIL),
    ):
        assert (await worker.plane.ask(other.lease.execution_id, question)).unanswered is unanswered


async def test_rules_go_before_precedents_and_so_does_asking_people(site: InProcessSite, rules: Path) -> None:
    rules.write_text("")
    site.policy.look(rules)
    desk, worker = await site.front_desk(), await a_worker(site)
    await desk.submit(a_task())
    claimed = await worker.take_and_start()
    kept = m.Reply(verdict="answer", message="as before", remember=Remember())
    for message in (ROUND, "Shall I round in billing?", "Which database?"):
        question = worker.question(claimed, message=message)
        await worker.plane.ask(claimed.lease.execution_id, question)
        await desk.respond(question.id, kept)
    rules.write_text(RULES)
    site.policy.look(rules)

    async def by(message: str) -> str | None:
        question = worker.question(claimed, message=message)
        response = (await worker.plane.ask(claimed.lease.execution_id, question)).response
        return response.made_by.partition(":")[0] if response else None

    assert await by(ROUND) == "policy"
    assert await by("Shall I round in billing?") is None, "a rule leaves it to people"
    assert await by("Which database?") == "precedent"


async def delivery(site: InProcessSite, kind: TaskType, title: str) -> tuple[m.Claimed, ControllerResponse | None]:
    """A human_required order that asks whether its result may leave; the response of a rule."""
    desk, worker = await site.front_desk(), await a_worker(site, f"wrk_{kind}", kind)
    await desk.submit(a_task(title, type=kind, permission_level="human_required"))
    claimed = await worker.take_and_start()
    question = worker.question(claimed, RequestKind.APPROVAL, message=f"May the result of {title} leave?")
    return claimed, (await worker.park(claimed, question)).response


async def test_a_delivery_is_approved_by_a_rule_that_names_the_level(site: InProcessSite) -> None:
    claimed, response = await delivery(site, TaskType.DOCS, "a page")
    assert response is not None
    assert (response.verdict, response.message, response.made_by) == ("approved", "", "policy:docs-leave")
    assert (await (await site.front_desk()).work_order(claimed.order.id)).status is OrderStatus.PENDING


async def test_a_delivery_is_denied_by_a_rule_once_and_then_a_person_is_asked(site: InProcessSite) -> None:
    claimed, response = await delivery(site, TaskType.TEST, "legacy tests")
    assert response is not None
    assert (response.verdict, response.message) == ("denied", "legacy code stays as it is")
    worker = await a_worker(site, "wrk_second")
    again = await worker.take_and_start()
    assert again.order.id == claimed.order.id
    call = worker.question(again, RequestKind.APPROVAL, message="May I delete legacy.py?")
    denied = (await worker.plane.ask(again.lease.execution_id, call)).response
    assert denied is not None and denied.verdict == "denied", "another thing of the same order is another matter"
    question = worker.question(again, RequestKind.APPROVAL, message="May the result of legacy tests leave?")
    assert (await worker.park(again, question)).status is RequestStatus.OPEN
    other = await delivery(site, TaskType.REFACTOR, "legacy names")
    assert other[1] is not None, "another order is another matter"


async def answer_now(site: InProcessSite, hand: Hand, claimed: m.Claimed) -> str | None:
    """What the rules say at present."""
    asked = await hand.plane.ask(claimed.lease.execution_id, hand.question(claimed, message=ROUND))
    return asked.response.message if asked.response else None


async def test_a_new_version_of_the_file_is_used_and_a_bad_one_is_not(site: InProcessSite, rules: Path) -> None:
    desk, worker = await site.front_desk(), await a_worker(site)
    await desk.submit(a_task())
    claimed = await worker.take_and_start()
    rules.write_text(RULES.replace("half to even", "always down"))
    assert await answer_now(site, worker, claimed) == "half to even"
    site.policy.look(rules)
    assert await answer_now(site, worker, claimed) == "always down"
    assert site.policy.degraded() == {}
    for spoil in (lambda: rules.write_text("[[rule]]\nname = 3\n"), rules.unlink, rules.mkdir):
        spoil()
        site.policy.look(rules)
        assert await answer_now(site, worker, claimed) == "always down"
        assert "the log says why" in site.policy.degraded()["policy"]
    rules.rmdir()
    rules.write_text(RULES)
    site.policy.look(rules)
    assert await answer_now(site, worker, claimed) == "half to even"
    assert site.policy.degraded() == {}
    rules.write_text("")
    site.policy.look(rules)
    assert await answer_now(site, worker, claimed) is None


async def test_a_change_of_the_same_size_and_time_is_seen(site: InProcessSite, rules: Path) -> None:
    desk, worker = await site.front_desk(), await a_worker(site)
    await desk.submit(a_task())
    claimed = await worker.take_and_start()
    before = rules.stat()
    rules.write_text(RULES.replace("half to even", "odd for once"))
    os.utime(rules, ns=(before.st_atime_ns, before.st_mtime_ns))
    site.policy.look(rules)
    assert await answer_now(site, worker, claimed) == "odd for once"


# ── with the real Claude Code ─────────────────────────────────────────────────────────────────────────────────────


async def test_claude_is_told_what_a_rule_answers_also_where_nothing_is_held(tmp_path: Path, rules: Path) -> None:
    async with house(tmp_path, asks()) as h:
        h.site.policy.look(rules)
        await h.submit(TaskType.BUGFIX, TITLE)
        impatient = TaskExecutor(replace(h.shop, request_hold=0.0))
        claimed = await h.claim(TaskType.BUGFIX)
        conclusion, progress = await h.execute(claimed, impatient)
        assert isinstance(conclusion, Delivered), conclusion
        assert (await h.report(claimed, conclusion, progress)).status is OrderStatus.COMPLETED
        request = await the_question(h)
        assert request.response is not None
        assert (request.message, request.response.made_by) == ("Round up?", "policy:rounding")
        assert request.execution_id == claimed.lease.execution_id
        assert b"The controller's policy answers: half to even" in told(h), "Claude's next request holds the answer"


async def test_a_result_leaves_with_the_approval_of_a_rule(tmp_path: Path, rules: Path) -> None:
    rules.write_text(RULES.replace('types = ["docs"]', 'types = ["bugfix"]'))
    async with house(tmp_path, fixes()) as h:
        h.site.policy.look(rules)
        await h.submit(TaskType.BUGFIX, TITLE, permission_level="human_required")
        _, conclusion, order = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Parked)
        assert order.status is OrderStatus.PENDING
        _, conclusion, order = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Delivered), conclusion
        assert order.status is OrderStatus.COMPLETED


# ── a whole server ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_server_does_not_start_with_a_policy_that_cannot_be_used(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('[[rule]]\nname = "A"\n\n[[rule]]\nname = "b"\nreason = "x"\ndecide = "perhaps"\n')
    with pytest.raises(ConfigurationError) as caught:
        async with server_on(tmp_path / "data", policy=bad):
            pass
    places = ("line 1, rule 'A', name", "line 1, rule 'A', reason", "line 4, rule 'b', decide")
    for place in places:
        assert any(f"AGENTVINE_SERVER_POLICY: {bad}: {place}" in mistake for mistake in caught.value.mistakes)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        async with server_on(tmp_path / "data", policy=tmp_path / "nowhere.toml"):
            pass


async def test_the_answer_of_a_rule_comes_over_the_broker_and_the_file_is_read_anew(
    tmp_path: Path, rules: Path
) -> None:
    async with (
        EmbeddedBroker(tmp_path / "broker") as valkey,
        server_on(tmp_path / "data", redis_url=valkey.url, policy=rules) as url,
        api(url) as admin,
        api(url, await new_key(url, Role.WORKER)) as speaker,
    ):
        broker, desk, plane = RedisBroker(valkey.url), HTTPFrontDesk(admin), HTTPControlPlane(speaker)
        claimed = await claimed_over_http(desk, plane)
        queue = QueueClient(plane, broker, "wrk_one", SystemClock())

        async def answered() -> str | None:
            question = asked(claimed)
            await queue.enqueue_worker_request(claimed.lease.execution_id, question)
            response = await queue.wait_for_response(question.id, 1.0)
            return response.message if response else None

        assert await answered() == "half to even"
        _, carried = await broker.responses("wrk_one", "0", 5.0)
        assert [one.response.made_by for one in carried] == ["policy:rounding"]

        rules.write_text("[[rule]]\n")
        await eventually(lambda: is_degraded(desk, True))
        assert await answered() == "half to even"
        rules.write_text(RULES.replace("half to even", "always down"))
        await eventually(lambda: is_degraded(desk, False))
        assert await answered() == "always down"
        await broker.close()


async def claimed_over_http(desk: HTTPFrontDesk, plane: HTTPControlPlane) -> m.Claimed:
    await desk.submit(a_task(type=TaskType.DOCS))
    await plane.register(m.Registration(id="wrk_one", name="one", worker_type=TaskType.DOCS, version="1"))
    execution_id = new_id("exe", SystemClock().now())
    claimed = await plane.claim(m.ClaimRequest(worker_id="wrk_one", execution_id=execution_id, wait_seconds=5))
    assert claimed is not None
    return claimed


def asked(claimed: m.Claimed) -> m.NewRequest:
    return m.NewRequest(
        token=claimed.lease.token,
        id=new_id("req", SystemClock().now()),
        kind=RequestKind.CLARIFICATION,
        message=ROUND,
    )


async def is_degraded(desk: HTTPFrontDesk, wanted: bool) -> bool:
    return ("policy" in (await desk.health()).degraded) is wanted
