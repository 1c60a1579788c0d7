"""What a review found: to look at, and as a file for people, programs and code hosts."""

from typing import TYPE_CHECKING, Annotated

import typer

from agentvine.cli.call import Call
from agentvine.cli.command import Json, TaskArgument, command

if TYPE_CHECKING:
    from agentvine.domain.evidence import Evidence

Sarif = Annotated[bool, typer.Option("--sarif", help="SARIF 2.1.0, as code hosts and editors read it.")]


@command("show", "agentvine review show 7k3m9x2p", "agentvine review show 7k3m9x2p --json")
async def show(call: Call, task: TaskArgument, as_json: Json = False) -> None:
    """Show what a review found, the gravest first: where, why it matters, how to mend it, and who found it."""
    found = await _evidence(call, task)
    if as_json:
        call.screen.json(list(found.findings))
    else:
        _print(call, found)


@command(
    "save",
    "agentvine review save 7k3m9x2p > review.md",
    "agentvine review save 7k3m9x2p --sarif > review.sarif",
    "agentvine review save 7k3m9x2p --json > findings.json",
)
async def save(call: Call, task: TaskArgument, sarif: Sarif = False, as_json: Json = False) -> None:
    """Print a review as a file: Markdown, or with a flag SARIF or JSON."""
    from agentvine.domain.errors import InvalidInput
    from agentvine.domain.review_report import in_markdown
    from agentvine.domain.sarif import sarif_text

    if sarif and as_json:
        raise InvalidInput("--sarif and --json exclude each other")
    found = await _evidence(call, task)
    if as_json:
        call.screen.json(list(found.findings))
    elif sarif:
        call.screen.out.file.write(sarif_text(found))
    else:
        detail = await call.desk.task(found.task_id)
        call.screen.out.file.write(in_markdown(detail.task.asked.title, detail.summary, found))


async def _evidence(call: Call, task: str) -> "Evidence":
    """The evidence of a review. Raises InvalidInput if the task is none."""
    from agentvine.cli.results import latest
    from agentvine.domain.errors import InvalidInput
    from agentvine.domain.worker_types import TaskType

    found = await latest(call.desk, task, "review", call.desk.evidence)
    if found.type is not TaskType.REVIEW:
        raise InvalidInput(f"task {found.task_id} is no review; see `agentvine evidence show {task}`")
    return found


def _print(call: Call, evidence: "Evidence") -> None:
    from agentvine.cli.render import block
    from agentvine.domain.review_report import counted, gravest_first, sources

    screen = call.screen
    since = f"{evidence.reviewed_since[:12]} \u2192 " if evidence.reviewed_since else ""
    screen.say(("review ", "bold"), f"{since}{evidence.base_sha[:12]}  findings: {counted(evidence)}")
    for one in gravest_first(evidence):
        screen.say((f"{one.severity} ", "bold"), f"{one.file}:{one.line}  {one.title}", (f"  {sources(one)}", "dim"))
        screen.show(block(one.why, indent=2))
        if one.fix:
            screen.show(block(f"fix: {one.fix}", indent=2))
    for check in evidence.checks:
        screen.say((f"{check.outcome.value.replace('_', ' '):<14}", "dim"), f"{check.name}  {check.why}".rstrip())
    for gap in evidence.not_checked:
        screen.say(("not checked   ", "yellow"), gap)
