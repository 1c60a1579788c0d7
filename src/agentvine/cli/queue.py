"""The queues: how much waits, for how long, and what failed for good."""

from typing import TYPE_CHECKING

from agentvine.cli.call import Call
from agentvine.cli.command import Json, command

if TYPE_CHECKING:
    from agentvine.wire.messages import QueueReport


@command("queue", "agentvine queue", "agentvine queue --json")
async def queue(call: Call, as_json: Json = False) -> None:
    """Show what waits, for how long, and what failed.

    Pending orders can be claimed; blocked ones need other tasks first; delayed ones are tried again later; waiting ones
    wait for a person. Held back is what could be claimed and nobody takes, with the reason. Dead letters have failed
    for good.
    """
    report = await call.desk.queue()
    if as_json:
        call.screen.json(report)
    else:
        _draw(call, report)


def _draw(call: Call, report: "QueueReport") -> None:
    from agentvine.cli.render import Column
    from agentvine.cli.text import duration

    totals = [f"{number} {word.value}" for word, number in report.totals.items() if number]
    call.screen.say(", ".join(totals) or "no work orders yet")
    if report.lines:
        numbers = ("PENDING", "BLOCKED", "DELAYED", "RUNNING", "WAITING", "OLDEST")
        columns = [Column("QUEUE"), Column("TYPE"), *(Column(title, "right") for title in numbers)]
        rows = [
            (
                each.queue,
                each.type.value,
                *(_count(number) for number in (each.pending, each.blocked, each.delayed, each.running, each.waiting)),
                "" if each.oldest_pending_seconds is None else duration(each.oldest_pending_seconds),
            )
            for each in report.lines
        ]
        call.screen.table(columns, rows)
    if report.held_back:
        _held_back(call, report)
    if report.limits:
        _limits(call, report)
    if report.dead_letters:
        _dead_letters(call, report)


def _count(number: int) -> str:
    return str(number) if number else "·"


def _held_back(call: Call, report: "QueueReport") -> None:
    from agentvine.cli.render import Column

    columns = [
        Column("ORDERS", "right"),
        Column("TYPE"),
        Column("REPOSITORY", wraps=True),
        Column("WAIT FOR", wraps=True),
    ]
    rows = [
        (str(each.orders), each.type.value, each.repository, "; ".join(one.detail for one in each.waits_for))
        for each in report.held_back
    ]
    call.screen.table(columns, rows, title="held back")


def _limits(call: Call, report: "QueueReport") -> None:
    from agentvine.cli.render import Column
    from agentvine.cli.text import duration, shortened

    now = call.clock.now()
    columns = [Column("ACCOUNT"), Column("UNTIL"), Column("LEFT", "right"), Column("WHY", flexible=True)]
    rows = [
        (
            each.account,
            each.until.astimezone().strftime("%m-%d %H:%M:%S"),
            duration(max((each.until - now).total_seconds(), 0.0)),
            shortened(each.why, 200),
        )
        for each in report.limits
    ]
    call.screen.table(columns, rows, title="model limits")
    call.screen.note(("→ ", "cyan"), ("its workers get no work until then; agentvine lift ACCOUNT ends it now", "dim"))


def _dead_letters(call: Call, report: "QueueReport") -> None:
    from agentvine.cli.render import Column
    from agentvine.cli.text import ago, short_id, shortened

    now = call.clock.now()
    columns = [
        Column("TASK"),
        Column("TYPE"),
        Column("ATTEMPTS", "right"),
        Column("FAILED", "right"),
        Column("REASON"),
        Column("DETAIL", flexible=True),
    ]
    rows = [
        (
            short_id(each.task_id),
            each.type.value,
            str(each.charged),
            ago(each.updated_at, now),
            each.failure.reason.value if each.failure else "",
            shortened(each.failure.detail, 300) if each.failure else "",
        )
        for each in report.dead_letters
    ]
    call.screen.table(columns, rows, title="dead letters")
    call.screen.note(("→ ", "cyan"), ("agentvine show TASK says what to mend; agentvine retry TASK reopens it", "dim"))
