"""The options that say something of a repository: each stands for a place in its settings."""

import inspect
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from agentvine.domain.permission import PermissionLevel
from agentvine.domain.worker_types import TaskType


@dataclass(frozen=True, slots=True)
class Setting:
    """One option, and the place in the settings that it fills."""

    place: str
    """Field names, with a slash between."""
    option: str
    help: str
    kind: Any = str
    metavar: str | None = None

    @property
    def name(self) -> str:
        """Of the parameter."""
        return self.place.replace("/", "_")

    @property
    def word(self) -> str:
        """By which `--clear` knows it."""
        return self.option.split("/")[0].removeprefix("--")

    @property
    def parameter(self) -> inspect.Parameter:
        """The option as Typer reads it from a signature."""
        option = typer.Option(self.option, metavar=self.metavar, help=self.help, show_default=False)
        annotation = Annotated[self.kind | None, option]  # type: ignore[name-defined]  # made at run time, for Typer
        return inspect.Parameter(self.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


_OTHERWISE = {"token": "--no-credential", "credential": "--no-credential", "webhook": "--no-webhook"}
_MANY = list[str]
SETTINGS = (
    Setting("forge", "--forge", "github, gitlab, gitea, forgejo or none; found by the host if not given.", str, "KIND"),
    Setting("default_branch", "--branch", "Where tasks start that name no branch.", str, "NAME"),
    Setting("setup", "--setup", "How a checkout is set up, instead of what is found out; repeatable.", _MANY, "LINE"),
    Setting("test", "--test", "How it is tested, instead of what is found out; repeatable.", _MANY, "LINE"),
    Setting(
        "protected", "--protect", "Paths that nobody may change, such as 'infra/**'; repeatable.", _MANY, "PATTERN"
    ),
    Setting("hosts", "--host", "What sandboxes may reach, if the worker offers it; repeatable.", _MANY, "HOST:PORT"),
    Setting("permission_level", "--permission", "The highest level that its tasks may have.", PermissionLevel),
    Setting("concurrency", "--concurrency", "How many of its tasks run at once.", int, "NUMBER"),
    Setting("budget_per_day_usd", "--budget-per-day", "What its tasks may cost in a day (UTC).", float, "DOLLARS"),
    Setting("intake/label", "--label", "An open issue with this label becomes a task.", str, "LABEL"),
    Setting("intake/users", "--user", "Whose comments may give work and answers; repeatable.", _MANY, "NAME"),
    Setting("intake/type", "--intake-type", "What an issue becomes that names no type.", TaskType),
    Setting("intake/look_seconds", "--look-every", "How often issues are looked for.", float, "SECONDS"),
    Setting("follow_up/enabled", "--follow-up/--no-follow-up", "Whether pull requests are gone on with.", bool),
    Setting("follow_up/tries", "--tries", "How often one is gone on with by itself.", int, "NUMBER"),
    Setting("follow_up/users", "--reviewer", "Whose review comments are acted on; repeatable.", _MANY, "NAME"),
    Setting(
        "follow_up/look_seconds", "--follow-every", "How often open pull requests are looked at.", float, "SECONDS"
    ),
)
OPTIONS = {f"settings/{setting.place}": setting.option.split("/")[0] for setting in SETTINGS} | {
    "settings/repository": "URL",
    "credential/token": "--token",
    "credential/command": "--credential-command",
    "credential/username": "--username",
}
"""Place in what is sent → the option that fills it."""


def with_settings(body: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Give an async function these options too; it gets what was given as `said`, a merge patch of the settings."""

    async def run(*arguments: object, **options: Any) -> None:
        given = {setting: options.pop(setting.name) for setting in SETTINGS}
        await body(*arguments, said=_patch(given), **options)

    own = [each for each in inspect.signature(body).parameters.values() if each.name != "said"]
    parameters = [*own, *(setting.parameter for setting in SETTINGS)]
    run.__name__, run.__qualname__, run.__module__, run.__doc__ = (
        body.__name__,
        body.__qualname__,
        body.__module__,
        body.__doc__,
    )
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect.signature
    return run


def _patch(given: Mapping[Setting, object]) -> dict[str, Any]:
    patch: dict[str, Any] = {}
    for setting, value in given.items():
        if isinstance(value, float) and not math.isfinite(value):  # JSON would make null of it: no limit at all
            raise typer.BadParameter("write a number", param_hint=setting.option)
        if value is not None and value != []:
            fill(patch, setting.place, value)
    return patch


def fill(patch: dict[str, Any], place: str, value: object) -> None:
    """Put a value into a merge patch."""
    *outer, last = place.split("/")
    for name in outer:
        patch = patch.setdefault(name, {})
    patch[last] = value


def cleared(words: list[str], said: Mapping[str, Any]) -> list[str]:
    """The places that the words of `--clear` mean. Raises a usage error, also for one of which more is `said`."""
    places = {setting.word: setting.place for setting in SETTINGS}
    for word in words:
        if word in _OTHERWISE:
            raise typer.BadParameter(f"{_OTHERWISE[word]} does that", param_hint="--clear")
        if word not in places:
            raise typer.BadParameter(f"'{word}' is none of {', '.join(places)}", param_hint="--clear")
        if _is_said(said, places[word]):
            raise typer.BadParameter(f"either --{word} or --clear {word}", param_hint="--clear")
    return [places[word] for word in words]


def _is_said(said: Mapping[str, Any], place: str) -> bool:
    value: Any = said
    for name in place.split("/"):
        if not isinstance(value, Mapping) or name not in value:
            return False
        value = value[name]
    return True
