"""Notifications: what people are told, that nothing is lost, and that nobody is held up by who does not listen."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agentvine.domain.request import WorkerRequest
from agentvine.kit.backoff import Backoff
from agentvine.kit.clock import SystemClock
from agentvine.kit.configuration import ConfigurationError
from agentvine.kit.logs import hide
from agentvine.server.notices import Notice
from agentvine.server.notifier import Notifier, Pace, degraded
from agentvine.server.notify_channels import Apprise, Channel, SendFailed, Webhook, channels
from agentvine.server.notify_trial import try_all
from agentvine.server.settings import ServerSettings, What, webhook_key
from agentvine.store import events
from agentvine.testing.cast import Hand, a_task, a_worker
from agentvine.testing.eventually import eventually
from agentvine.testing.receiver import receiver
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.wire import messages as m
from tests.integration.warm_cli import run_cli

PAGE = Path(__file__).parents[2] / "docs" / "notifications.md"
(EXAMPLE,) = re.findall(r"^```json\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
SECRET, OTHER = "whsec_" + "c2VjcmV0" * 6, "whsec_" + "b3RoZXIh" * 6
PACE = Pace(between_looks=0.01, backoff=Backoff(first=0.01, most=0.02), too_old=1e10)
ABOUT = frozenset({What.WAITS, What.FAILED})
CLOCK = SystemClock()


@dataclass(frozen=True)
class World:
    site: InProcessSite
    hand: Hand

    async def asks(self, message: str = "May I?", title: str = "do it") -> WorkerRequest:
        """A task whose worker asks something, and waits."""
        desk = await self.site.front_desk()
        await desk.submit(a_task(title))
        claimed = await self.hand.take_and_start()
        return await self.hand.park(claimed, self.hand.question(claimed, message=message))

    async def fails(self) -> None:
        desk = await self.site.front_desk()
        await desk.submit(a_task("fails", max_attempts=1))
        await self.hand.fail(await self.hand.take_and_start())

    async def is_read(self) -> bool:
        """Whether it is kept that all events were told of."""
        newest = await self.site.database.read(events.newest)
        rows = await self.site.database.read(lambda unit: unit.all("SELECT position FROM readers"))
        return {row["position"] for row in rows} == {newest}

    @asynccontextmanager
    async def notifying(
        self, *told: Channel, about: frozenset[What] = ABOUT, pace: Pace = PACE
    ) -> AsyncIterator[list[Notifier]]:
        """The loops of one server process."""
        made = [Notifier(channel, about, self.site.database, CLOCK, pace) for channel in told]
        running = [asyncio.create_task(each.run(self.site.bells)) for each in made]
        try:
            await eventually(lambda: all(each.reads for each in made))
            yield made
        finally:
            for task in running:
                task.cancel()
            await asyncio.wait(running)


@pytest.fixture
async def world(sqlite_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with in_process_site(sqlite_url, tmp_path) as site:
        yield World(site, await a_worker(site))


@pytest.fixture
async def either(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """As `world`, on each kind of database."""
    async with in_process_site(database_url, tmp_path) as site:
        yield World(site, await a_worker(site))


def webhook(url: str, *secrets: str, seconds: float = 60.0) -> Webhook:
    return Webhook(url, [webhook_key(secret) for secret in secrets or (SECRET,)], CLOCK, seconds=seconds)


def verified(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """As the page tells receivers to do it."""
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    known: dict[str, Any] = {}
    exec(code, known)
    return bool(known["verified"](secret, headers, body))


async def test_a_webhook_says_what_waits_and_is_signed(world: World) -> None:
    hide("hunter2-hunter2")
    async with receiver() as there, world.notifying(webhook(there.url, SECRET, OTHER)):
        request = await world.asks("Is it \x1b[2Jhunter2-hunter2?\n" + "x" * 500, title="Prices \u202elose a cent")
        await eventually(lambda: there.deliveries)
        (delivery,) = there.deliveries
        assert all(verified(secret, delivery.headers, delivery.body) for secret in (SECRET, OTHER))
        assert not verified("whsec_" + "d3Jvbmcx" * 6, delivery.headers, delivery.body)
        assert not verified(SECRET, delivery.headers, delivery.body + b" ")
        assert not verified(SECRET, {**delivery.headers, "webhook-timestamp": "1"}, delivery.body)
        said = delivery.said
        assert (said["version"], said["what"], said["request_id"]) == (1, "waits", request.id)
        assert said["id"] == delivery.headers["webhook-id"]
        assert said["command"] == f"agentvine inbox show {request.id}"
        question = str(said["question"])
        assert "hunter2" not in delivery.body.decode() and question.startswith("Is it") and len(question) == 300
        assert (question + str(said["title"])).isprintable()
        await world.fails()
        await eventually(lambda: len(there.deliveries) == 2)
        assert (there.deliveries[1].said["what"], there.deliveries[1].said["question"]) == ("failed", "")
        assert there.deliveries[1].said["reason"]


def test_the_page_shows_every_field() -> None:
    named = set(re.findall(r'^  "(\w+)":', EXAMPLE, re.MULTILINE))
    assert set(Notice.model_validate_json(EXAMPLE).model_dump()) == named


async def test_only_what_was_asked_for_and_still_waits_is_told(world: World) -> None:
    desk = await world.site.front_desk()
    async with receiver() as there:
        told = webhook(there.url)
        await world.asks("before anybody was to be told")
        async with world.notifying(told):
            pass
        answered = await world.asks("answered at once")
        await desk.respond(answered.id, m.Reply(verdict="answer", message="yes"))
        await world.hand.complete(await world.hand.take_and_start())
        last = await world.asks("still open")
        async with world.notifying(told):
            await eventually(lambda: there.deliveries)
        assert [each.said["request_id"] for each in there.deliveries] == [last.id]


async def test_after_a_restart_it_goes_on_with_what_was_not_taken(world: World) -> None:
    async with receiver("204 No Content", *["503 Busy"] * 1000) as there:
        told = webhook(there.url)
        async with world.notifying(told):
            pass
        first, second = await world.asks("one"), await world.asks("two")  # found together, taken one by one
        async with world.notifying(told) as (before,):
            await eventually(lambda: len(there.deliveries) > 3)
            assert degraded([before])["notifications"].startswith("1 of 1 channels: a notice is not taken")
        third = await world.asks("while nobody was there")
        there.answers.clear()
        mark = len(there.deliveries)
        async with world.notifying(told) as (after,):
            await eventually(lambda: len(there.deliveries) == mark + 2)
            await eventually(lambda: degraded([after]) == {})
        asked = [each.said["request_id"] for each in there.deliveries]
        assert asked[0] == first.id and set(asked[1:mark]) == {second.id} and asked[mark:] == [second.id, third.id]
        ids = [each.headers["webhook-id"] for each in there.deliveries[1 : mark + 1]]
        assert len(set(ids)) == 1, "the same event is the same delivery"


async def test_who_hangs_holds_up_nobody_and_who_takes_nothing_is_given_up(world: World) -> None:
    impatient = replace(PACE, give_up=0.0)
    async with receiver(None) as stuck, receiver("", "") as rude, receiver() as well:
        told = (webhook(stuck.url, seconds=600.0), webhook(rude.url), webhook(well.url))
        async with world.notifying(*told, pace=impatient) as notifiers:
            first, second = await world.asks("one"), await world.asks("two")
            await eventually(lambda: len(well.deliveries) == len(rude.deliveries) == 2 and stuck.deliveries)
            assert [each.said["request_id"] for each in rude.deliveries] == [first.id, second.id], "given up, and on"
            await eventually(lambda: notifiers[1].trouble == "a notice was given up")
            assert len(stuck.deliveries) == 1 and "1 of 3 channels" in degraded(notifiers)["notifications"]


async def test_who_does_not_answer_in_time_has_not_taken_it() -> None:
    async with receiver(None) as there:
        with pytest.raises(SendFailed, match=r"no answer within 0\.05 s"):
            await webhook(there.url, seconds=0.05).send([Notice.model_validate_json(EXAMPLE)])


async def test_what_is_gone_is_told_nothing_more(world: World) -> None:
    async with receiver("429 Slow\r\nRetry-After: 0", "410 Gone") as there, receiver() as well:
        async with world.notifying(webhook(there.url), webhook(well.url)) as notifiers:
            await world.asks()
            await eventually(lambda: notifiers[0].trouble == "it says that it is gone")
            await world.asks()
            await eventually(lambda: len(well.deliveries) == 2)
        assert len(there.deliveries) == 2


async def test_a_redirect_is_not_followed(world: World) -> None:
    async with receiver() as elsewhere, receiver(f"307 There\r\nLocation: {elsewhere.url}") as there:
        async with world.notifying(webhook(there.url)):
            await world.asks()
            await eventually(lambda: len(there.deliveries) == 2)
        assert elsewhere.deliveries == []


async def test_of_two_servers_one_tells_and_the_other_takes_over(either: World) -> None:
    async with receiver() as there:
        pace = replace(PACE, rest=0.05)
        async with either.notifying(webhook(there.url), pace=pace), asyncio.TaskGroup() as group:
            other = Notifier(webhook(there.url), ABOUT, either.site.database, CLOCK, pace)
            second = group.create_task(other.run(either.site.bells))
            asked = [await either.asks() for _ in range(3)]
            await eventually(lambda: len(there.deliveries) >= 3)
            await eventually(either.is_read)  # else the last one may come once more
            assert not other.reads
            second.cancel()
        async with either.notifying(webhook(there.url), pace=pace):
            asked.append(await either.asks())
            await eventually(lambda: len(there.deliveries) >= 4)
        assert [each.said["request_id"] for each in there.deliveries] == [each.id for each in asked]


class People:
    """A channel that people read."""

    name = reader = "people"
    gathers = True

    def __init__(self) -> None:
        self.messages: list[int] = []

    async def send(self, notices: Sequence[Notice]) -> None:
        self.messages.append(len(notices))

    def has_sent(self, messages: int) -> bool:
        return len(self.messages) == messages


async def test_many_at_once_become_one_message_for_people(world: World) -> None:
    people = People()
    pace = replace(PACE, most=2, window=6.0)  # long enough for five questions, also on a busy machine
    async with world.notifying(people, pace=pace):
        for number in (1, 2):
            await world.asks()
            await eventually(partial(people.has_sent, number))
        assert people.messages == [1, 1]
        for _ in range(5):
            await world.asks()
        await eventually(lambda: sum(people.messages) == 7)
    assert len(people.messages) < 6, people.messages


async def test_apprise_sends_one_message_with_the_count_and_calls_nobody(world: World) -> None:
    async with receiver() as there:
        told = Apprise(there.url.replace("http://", "json://"))
        assert "127.0.0.1" not in told.name
        async with world.notifying(told):
            pass
        for _ in range(6):
            await world.asks(title="<!channel> @everyone look")
        async with world.notifying(told):
            await eventually(lambda: there.deliveries, within=240)
        (delivery,) = there.deliveries
        assert delivery.said["title"] == "AgentVine: 6 wait" and "and 1 more" in str(delivery.said["message"])
        assert b"@everyone" not in delivery.body and b"<!channel" not in delivery.body
        there.answers.extend(["500 No"] * 3)
        with pytest.raises(SendFailed):
            await told.send([Notice.model_validate_json(EXAMPLE)])


async def test_mistakes_are_told_at_the_start_without_what_is_secret() -> None:
    def mistakes(**told: str) -> str:
        variables = {f"AGENTVINE_SERVER_{name.upper()}": value for name, value in told.items()}
        with pytest.raises(ConfigurationError) as error:
            ServerSettings.load(variables)
        return str(error.value)

    assert "WEBHOOK_URLS" in mistakes(webhook_urls="ftp://user:hunter2@x.example/", webhook_secret=SECRET)
    assert "WEBHOOK_SECRET" in mistakes(webhook_urls="https://x.example/")
    assert "WEBHOOK_SECRET" in mistakes(webhook_urls="https://x.example/", webhook_secret="hunter2hunter2")
    assert "NOTIFY_ABOUT" in mistakes(notify_about="waits,dances")
    told = ServerSettings.load({"AGENTVINE_SERVER_NOTIFY": "json://a/?to=b,c\nfoo://hunter2@x, mailto://d"})
    assert [each.get_secret_value() for each in told.notify] == ["json://a/?to=b,c", "foo://hunter2@x", "mailto://d"]
    assert "hunter2" not in repr(told)
    only = told.model_copy(update={"notify": told.notify[1:2]})
    with pytest.raises(ConfigurationError, match=r"AGENTVINE_SERVER_NOTIFY: apprise does not understand it \(item 1\)"):
        await channels(only, CLOCK)


async def test_an_operator_can_try_the_channels(tmp_path: Path) -> None:
    async with receiver() as well, receiver("500 No") as badly:
        told = {
            "AGENTVINE_SERVER_WEBHOOK_URLS": f"{well.url},{badly.url}",
            "AGENTVINE_SERVER_WEBHOOK_SECRET": SECRET,
        }
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **told}
        done = await run_cli(["notify", "test"], cwd=tmp_path, env=environment, stdin=None, timeout=240)
        assert done.exit_code == 1, done.stderr
        assert "(127.0.0.1): has taken it" in done.stdout and "(127.0.0.1): HTTP 500" in done.stdout
        assert well.deliveries[0].said["kind"] == "trial"
        assert verified(SECRET, well.deliveries[0].headers, well.deliveries[0].body)
    assert await try_all({}, as_json=False) == 1, "no channel is set up"
