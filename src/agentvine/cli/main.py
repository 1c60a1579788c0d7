"""The command line, put together. `app` is complete but for the commands that start something, which `entry` adds."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Annotated, Protocol

import typer
from typer.core import TyperGroup

from agentvine import __version__
from agentvine.cli import (
    audit,
    comment,
    credentials,
    drain,
    events,
    evidence,
    inbox,
    keys,
    logs,
    policy,
    precedents,
    prune,
    queue,
    repositories,
    review,
    submit,
    tasks,
    wait,
    workers,
)
from agentvine.cli.command import Command, epilog

TASKS, PEOPLE, FLEET, START = "Tasks", "What workers ask", "The fleet", "To start something"
PANELS = (START, TASKS, PEOPLE, FLEET)
"""The groups in which `agentvine --help` lists the commands, in this order."""

EXAMPLES = (
    "agentvine up",
    "agentvine submit --type bugfix --repo https://github.com/acme/shop.git --branch main --title 'Prices lose a cent'",
    "agentvine logs -f 7k3m9x2p",
)
_CONTEXT = {"help_option_names": ["-h", "--help"], "default_map": {"help": False}}
"""A default for `--help` itself: without one Typer imports pydantic (0.1 s) to find out that it was not given."""
_COMMANDS = {
    TASKS: (
        submit.submit,
        tasks.tasks,
        tasks.show,
        logs.logs,
        wait.wait,
        tasks.diff,
        evidence.verify,
        tasks.cancel,
        tasks.retry,
    ),
    PEOPLE: (inbox.approve, inbox.deny, inbox.answer, comment.comment),
    FLEET: (workers.workers, drain.drain, queue.queue, prune.lift, prune.prune, events.events),
}
_CREDENTIAL_COMMANDS = (credentials.add, credentials.list_credentials, credentials.remove)
_KEY_COMMANDS = (keys.create, keys.list_keys, keys.rotate, keys.revoke)
_REPOSITORY_COMMANDS = (
    repositories.add,
    repositories.list_repositories,
    repositories.show,
    repositories.set_repository,
    repositories.remove,
)
_AUDIT_COMMANDS = (audit.list_audit, audit.verify)
_EVIDENCE_COMMANDS = (evidence.show, evidence.save, evidence.key, evidence.schema)
_REVIEW_COMMANDS = (review.show, review.save)
_POLICY_COMMANDS = (policy.check, policy.test)
_PRECEDENT_COMMANDS = (precedents.list_precedents, precedents.show, precedents.forget)
_Group = tuple[str, tuple[Command, ...], Command, str, str]
_GROUPS: tuple[_Group, ...] = (
    ("keys", _KEY_COMMANDS, keys.list_keys, "API keys: make, list, rotate and revoke them.", FLEET),
    (
        "repo",
        _REPOSITORY_COMMANDS,
        repositories.add,
        "Repositories: how they are worked on, and what that may cost.",
        FLEET,
    ),
    ("audit", _AUDIT_COMMANDS, audit.verify, "The audit log: list it, verify it.", FLEET),
    (
        "evidence",
        _EVIDENCE_COMMANDS,
        evidence.show,
        "How results were proven: shown, and as signed files.",
        TASKS,
    ),
    ("review", _REVIEW_COMMANDS, review.show, "What reviews found: shown, and as files.", TASKS),
    ("policy", _POLICY_COMMANDS, policy.check, "The rules that settle what workers ask: check them, try them.", PEOPLE),
    (
        "precedents",
        _PRECEDENT_COMMANDS,
        precedents.list_precedents,
        "Answers that settle the like: list them, forget them.",
        PEOPLE,
    ),
    (
        "credentials",
        _CREDENTIAL_COMMANDS,
        credentials.add,
        "Git credentials of this host's workers: stored encrypted.",
        FLEET,
    ),
)
"""Name, commands, the one whose examples stand for all, what it is about, where it is listed."""


class _Formatter(Protocol):
    """What is needed of Click's help formatter."""

    width: int

    def section(self, name: str) -> AbstractContextManager[None]: ...

    def write_dl(self, rows: Sequence[tuple[str, str]]) -> None: ...


class PlainGroup(TyperGroup):
    """Lists its commands by panel, as Typer does with Rich, in plain text: help then takes half the time."""

    def format_commands(self, ctx: object, formatter: _Formatter) -> None:
        shown = {name: command for name, command in self.commands.items() if not command.hidden}
        panels = {name: getattr(command, "rich_help_panel", None) for name, command in shown.items()}
        width = formatter.width - 6 - max(map(len, shown), default=0)
        for panel in dict.fromkeys([*PANELS, *panels.values()]):
            rows = [(name, shown[name].get_short_help_str(width)) for name in shown if panels[name] == panel]
            if rows:
                with formatter.section(panel if isinstance(panel, str) else "Commands"):
                    formatter.write_dl(rows)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"agentvine {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Runs a fleet of Claude Code workers against your git repositories.

    A task is named by its id or by enough of the id's beginning or end. The server is the one that `agentvine up`
    started here, or the one that AGENTVINE_URL and AGENTVINE_API_KEY name.

    Exit codes: 0 done; 1 refused or failed; 2 the command line makes no sense. `agentvine wait` has its own.
    """


def group(
    name: str, examples: tuple[str, ...], description: str | None = None, *, runs_alone: bool = False
) -> typer.Typer:
    """A group of commands in our style. `runs_alone`: without a command its callback does the work, instead of help."""
    return typer.Typer(
        name=name,
        help=description,
        epilog=epilog(examples),
        cls=PlainGroup,
        rich_markup_mode=None,
        no_args_is_help=not runs_alone,
        invoke_without_command=runs_alone,
        context_settings=_CONTEXT,
        pretty_exceptions_enable=False,
        add_completion=False,  # its options cost every command the import of pydantic, help included
    )


def _assembled() -> typer.Typer:
    main = group("agentvine", EXAMPLES)
    main.callback()(_root)
    for panel, commands in _COMMANDS.items():
        for command in commands:
            command.add_to(main, panel)
    inbox_app = group("inbox", inbox.inbox.examples, inbox.ABOUT, runs_alone=True)
    inbox.inbox.lead(inbox_app)
    inbox.show.add_to(inbox_app)
    main.add_typer(inbox_app, rich_help_panel=PEOPLE)
    for name, commands, leading, about, panel in _GROUPS:
        inner = group(name, leading.examples, about)
        for command in commands:
            command.add_to(inner)
        main.add_typer(inner, rich_help_panel=panel)
    return main


app = _assembled()
