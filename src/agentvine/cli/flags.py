"""Options that stand for settings: a table of them becomes the parameters of a Typer command."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass(frozen=True, slots=True)
class Flag:
    """One option. What is not given on the command line is None and leaves the setting as it was."""

    setting: str
    """The field's name."""
    option: str
    """Such as `--name`, or `--on/--off` for a choice between two."""
    help: str
    kind: type = str
    metavar: str | None = None

    @property
    def parameter(self) -> inspect.Parameter:
        """The option as Typer reads it from a signature."""
        option = typer.Option(self.option, metavar=self.metavar, help=self.help, show_default=False)
        annotation = Annotated[self.kind | None, option]  # type: ignore[name-defined]  # made at run time, for Typer
        return inspect.Parameter(self.setting, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def flagged(flags: Sequence[Flag]) -> Callable[[Callable[[Mapping[str, object]], None]], Callable[..., None]]:
    """Make a command of a function that takes the settings which were given, by field name."""

    def make(body: Callable[[Mapping[str, object]], None]) -> Callable[..., None]:
        def run(**options: object) -> None:
            body({name: value for name, value in options.items() if value is not None})

        parameters = [flag.parameter for flag in flags]
        run.__name__, run.__module__, run.__doc__ = body.__name__, body.__module__, body.__doc__
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect.signature
        return run

    return make
