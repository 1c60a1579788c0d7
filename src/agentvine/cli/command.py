"""How a command is made: an async function becomes a Typer command with a connection, examples and exit codes.

Exit codes: 0 done; 1 refused or failed, with the reason on standard error; 2 the command line makes no sense; 130
interrupted. `agentvine wait` says more with its own.

Nothing here imports what a command needs to run (HTTP, pydantic, Rich): `--help` has to be there at once.
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

import typer

from agentvine.cli.context import ContextUnusable
from agentvine.domain.errors import AgentVineError

REFUSED = 1
INTERRUPTED = 130

Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="The server, if not the one that is known.")]
Key = Annotated[
    str | None, typer.Option("--key", metavar="KEY", help="The API key; AGENTVINE_API_KEY keeps it out of `ps`.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, as it travels on the wire.")]
TaskArgument = Annotated[
    str, typer.Argument(metavar="TASK", help="A task's id, or enough of its beginning or end to name one.")
]


@dataclass(frozen=True, slots=True)
class Command:
    """A command, ready to be added to an app."""

    name: str
    run: Callable[..., None]
    examples: tuple[str, ...]
    """Whole command lines, each starting with `agentvine`."""

    def add_to(self, app: typer.Typer, panel: str | None = None) -> None:
        """Make it a command of `app`, listed under `panel` in its help."""
        app.command(self.name, epilog=epilog(self.examples), rich_help_panel=panel)(self.run)

    def lead(self, app: typer.Typer) -> None:
        """Make it what the group `app` does without a subcommand; the group has been told that it runs alone."""

        def run(context: typer.Context, **options: object) -> None:
            if context.invoked_subcommand is None:
                self.run(**options)

        context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        parameters = [context, *inspect.signature(self.run).parameters.values()]
        run.__doc__ = self.run.__doc__
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect.signature
        app.callback()(run)


def epilog(examples: tuple[str, ...]) -> str:
    """The examples as a help page shows them; `\\b` keeps each on its own line (Click, "Preventing Rewrapping")."""
    return "\b\nExamples:\n" + "\n".join(f"  {example}" for example in examples)


def command(name: str, *examples: str) -> Callable[[Callable[..., Awaitable[None]]], Command]:
    """Make a command out of `async def f(call: Call, …)`.

    Its other parameters become the options and arguments, together with `--url` and `--key`. Its first docstring line
    is what the list of commands says of it.
    """

    def make(body: Callable[..., Awaitable[None]]) -> Command:
        own = list(inspect.signature(body).parameters.values())[1:]
        keyword = inspect.Parameter.KEYWORD_ONLY
        added = [
            inspect.Parameter(option, keyword, default=None, annotation=kind)
            for option, kind in (("server_url", Url), ("api_key", Key))
        ]
        parameters = [parameter.replace(kind=keyword) for parameter in own] + added

        def run(*, server_url: str | None, api_key: str | None, **options: object) -> None:
            _run(body, server_url, api_key, options)

        run.__name__, run.__qualname__, run.__module__, run.__doc__ = (
            body.__name__,
            body.__qualname__,
            body.__module__,
            body.__doc__,
        )
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect.signature
        return Command(name, run, examples)

    return make


def _run(body: Callable[..., Awaitable[None]], url: str | None, key: str | None, options: dict[str, object]) -> None:
    import asyncio

    from agentvine.cli.connection import open_call
    from agentvine.cli.failures import tell
    from agentvine.cli.render import screen

    outputs = screen()

    async def call() -> None:
        async with open_call(url, key, outputs) as opened:
            await body(opened, **options)

    try:
        asyncio.run(call())
        outputs.flush()
    except (AgentVineError, ContextUnusable) as error:
        tell(outputs, error)
        raise typer.Exit(REFUSED) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
