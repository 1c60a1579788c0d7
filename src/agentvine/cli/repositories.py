"""Repositories: what the server is told of each, and the secrets that it keeps for them."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentvine.cli.call import Call
from agentvine.cli.command import Json, command
from agentvine.cli.repository_options import SETTINGS, cleared, fill, with_settings

if TYPE_CHECKING:
    from agentvine.cli.render import Screen
    from agentvine.domain.repository_settings import NewCredential, Repository, RepositorySettings
    from agentvine.wire.administration import SavedRepository

_WHOLE = 30
_PAGE = 200
_WIDE = 120
"""So many columns have room for what troubles a repository beside it."""

Address = Annotated[str, typer.Argument(metavar="URL", help="Its address, as tasks name it.")]
Which = Annotated[str, typer.Argument(metavar="REPOSITORY", help="Its address or the end of it, or its id.")]
Token = Annotated[bool, typer.Option("--token", help="Keep a token: it is asked for, or read from standard input.")]
Username = Annotated[str, typer.Option("--username", metavar="NAME", help="The user name that goes with a token.")]
From = Annotated[
    str | None,
    typer.Option("--credential-command", metavar="NAME", help="Ask this command of the server's for a token instead."),
]
Webhook = Annotated[bool, typer.Option("--webhook", help="Make a secret for the forge's webhooks; it is shown once.")]


@command(
    "add",
    "agentvine repo add https://github.com/acme/shop.git --token --permission supervised < token.txt",
    "agentvine repo add https://git.example.org/acme/shop.git --forge gitea --branch main --credential-command forge "
    "--label agentvine --user kim --webhook",
    "agentvine repo add file:///srv/shop.git --test 'make test' --protect 'infra/**' --budget-per-day 20 --json",
)
@with_settings
async def add(
    call: Call,
    url: Address,
    token: Token = False,
    username: Username = "git",
    credential_command: From = None,
    webhook: Webhook = False,
    as_json: Json = False,
    *,
    said: dict[str, Any],
) -> None:
    """Tell the server of a repository: how it is worked on, who may ask for work, and what that may cost.

    What is not said is left to the repository, to what is found out, or to the rules for all. A token is kept
    encrypted, never shown again, and given to workers only while they work on the repository.
    """
    from agentvine.wire.administration import NewRepository

    credential = _credential(token, username, credential_command)
    new = NewRepository(settings=_settings({"repository": url, **said}), credential=credential, webhook=webhook)
    _saved(call, await call.desk.add_repository(new), as_json, "added")


@command("list", "agentvine repo list", "agentvine repo list --json")
async def list_repositories(call: Call, as_json: Json = False) -> None:
    """List the repositories that the server was told of."""
    found = [each async for each in _all(call)]
    if as_json:
        call.screen.json(found)
    else:
        list_of(call.screen, found)


@command("show", "agentvine repo show acme/shop", "agentvine repo show https://github.com/acme/shop.git --json")
async def show(call: Call, repository: Which, as_json: Json = False) -> None:
    """Show what the server was told of a repository, and what it has cost today. Secrets are never shown."""
    found = await _meant(call, repository)
    if as_json:
        call.screen.json(found)
    else:
        _draw(call.screen, found)


@command(
    "set",
    "agentvine repo set acme/shop --permission human_required --concurrency 2",
    "agentvine repo set acme/shop --token < token.txt",
    "agentvine repo set acme/shop --clear budget-per-day --clear protect --webhook --json",
)
@with_settings
async def set_repository(
    call: Call,
    repository: Which,
    token: Token = False,
    username: Username = "git",
    credential_command: From = None,
    no_credential: Annotated[bool, typer.Option("--no-credential", help="Keep no credential any more.")] = False,
    webhook: Webhook = False,
    no_webhook: Annotated[bool, typer.Option("--no-webhook", help="Keep no webhook secret any more.")] = False,
    clear: Annotated[
        list[str] | None,
        typer.Option("--clear", metavar="OPTION", help="Take this back to what it is unsaid; may be repeated."),
    ] = None,
    as_json: Json = False,
    *,
    said: dict[str, Any],
) -> None:
    """Say something else of a repository. What is not named stays; a repeatable option replaces its whole list.

    It holds from now on: for tasks that wait and for all that follow; what runs is not disturbed.
    """
    from agentvine.domain.errors import InvalidInput
    from agentvine.wire.administration import RepositoryChanges

    if (no_credential and (token or credential_command)) or (webhook and no_webhook):
        raise typer.BadParameter("either keep one or keep none")
    for place in cleared(clear or [], said):
        fill(said, place, None)
    changes: dict[str, Any] = {"settings": said} if said else {}
    if credential := _credential(token, username, credential_command):
        changes["credential"] = credential
    elif no_credential:
        changes["credential"] = None
    if webhook or no_webhook:
        changes["webhook"] = "make" if webhook else "remove"
    if not changes:
        raise InvalidInput("nothing to change; `agentvine repo set --help` shows what there is")
    found = await _meant(call, repository)
    saved = await call.desk.change_repository(found.id, RepositoryChanges(**changes))
    _saved(call, saved, as_json, "changed")


@command("remove", "agentvine repo remove acme/shop", "agentvine repo remove acme/shop --json")
async def remove(call: Call, repository: Which, as_json: Json = False) -> None:
    """Forget a repository and its secrets. Its tasks stay, and go on by the rules for all."""
    removed = await call.desk.remove_repository((await _meant(call, repository)).id)
    if as_json:
        call.screen.json(removed)
    else:
        call.screen.say("removed ", removed.settings.repository)


def _credential(token: bool, username: str, name: str | None) -> "NewCredential | None":
    from pydantic import ValidationError

    from agentvine.cli.failures import invalid
    from agentvine.cli.secret import ask_secret
    from agentvine.domain.repository_settings import NewCredential

    if token and name is not None:
        raise typer.BadParameter("either --token or --credential-command")
    if not token and name is None:
        return None
    fields = {"token": ask_secret()} if token else {"command": name}
    try:
        return NewCredential.model_validate({"username": username, **fields})
    except ValidationError as error:
        raise invalid(error, "such a credential cannot be kept", "/credential") from None


def _settings(said: dict[str, Any]) -> "RepositorySettings":
    from pydantic import ValidationError

    from agentvine.cli.failures import invalid
    from agentvine.domain.repository_settings import RepositorySettings

    try:
        return RepositorySettings.model_validate(said)
    except ValidationError as error:
        raise invalid(error, "this cannot be said of a repository", "/settings") from None


def _saved(call: Call, saved: "SavedRepository", as_json: bool, done: str) -> None:
    if as_json:
        call.screen.json(saved)
        return
    repository = saved.repository
    call.screen.say(f"{done} ", repository.settings.repository, ("  " + repository.id, "dim"))
    if saved.webhook_secret is not None:
        call.screen.say(saved.webhook_secret)
        call.screen.note(("the secret for the forge's webhooks: it is shown only now", "dim"))


# ── shown ────────────────────────────────────────────────────────────────────────────────────────────────────────


def list_of(screen: "Screen", found: "list[Repository]") -> None:
    """A row for each; addresses go on beneath where they have no room, and troubles stand below a narrow table."""
    from agentvine.cli.render import Column
    from agentvine.cli.text import short_id

    columns = [
        Column("ID"),
        Column("REPOSITORY", wraps=True),
        Column("HIGHEST LEVEL"),
        Column("CREDENTIAL"),
        Column("TODAY", "right"),
        *([Column("TROUBLE", wraps=True)] if (wide := screen.out.width >= _WIDE) else []),
    ]
    rows = [
        (
            short_id(each.id),
            each.settings.repository,
            each.settings.permission_level.value if each.settings.permission_level else "any",
            each.credential or "none",
            _today(each),
            *([each.trouble or ""] if wide else []),
        )
        for each in found
    ]
    screen.table(columns, rows)
    for each in found:
        if each.trouble and not wide:
            screen.say((f"{short_id(each.id)}  ", "dim"), (each.trouble, "yellow"))


def _today(repository: "Repository") -> str:
    from agentvine.cli.text import money

    most, spent = repository.settings.budget_per_day_usd, money(repository.spent_today_usd)
    return spent if most is None else f"{spent} of {money(most)}"


def _draw(screen: "Screen", repository: "Repository") -> None:
    screen.say((repository.settings.repository, "bold"))
    screen.say((repository.id, "dim"))
    facts = [
        ("credential", repository.credential or "none"),
        ("webhook", "a secret is kept" if repository.webhook else "no secret"),
        ("spent today", _today(repository)),
        *([("trouble", repository.trouble)] if repository.trouble else []),
    ]
    values = repository.settings.model_dump(mode="json")
    for setting in SETTINGS:
        value: Any = values
        for name in setting.place.split("/"):
            value = value[name]
        if value not in (None, [], ""):
            facts.append((setting.word, ", ".join(map(str, value)) if isinstance(value, list) else _word(value)))
    for name, text in facts:
        screen.say((f"{name:<16}", "dim"), text)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


# ── found ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _all(call: Call) -> "AsyncIterator[Repository]":
    cursor = None
    while True:
        page = await call.desk.repositories(cursor, _PAGE)
        for each in page.items:
            yield each
        cursor = page.next_cursor
        if cursor is None or not page.items:
            return


async def _meant(call: Call, typed: str) -> "Repository":
    """The repository that `typed` means: its address, the end of it, or its id. Raises `NotFound`, `InvalidInput`."""
    from agentvine.cli.names import fits
    from agentvine.cli.text import shortened
    from agentvine.domain.errors import InvalidInput, NotFound
    from agentvine.domain.repository_settings import address_of

    typed = typed.strip()
    if typed.startswith("rep_") and len(typed) == _WHOLE:
        return await call.desk.repository(typed)
    found = [each async for each in _all(call)] if typed else []
    address = address_of(f"file://{typed}" if typed.startswith("/") else typed)
    end = "/" + typed.strip("/").removesuffix(".git")
    same = [each for each in found if each.settings.address == address]
    same = same or [each for each in found if each.settings.folded == address.lower()]
    same = same or [each for each in found if each.settings.address.removesuffix(".git").endswith(end)]
    same = same or [each for each in found if (each.settings.folded or "").removesuffix(".git").endswith(end.lower())]
    near = same or [each for each in found if fits(each.id, typed)]
    if len(near) == 1:
        return near[0]
    shown = shortened(typed, 60)
    if not near:
        message = f"the server was not told of a repository '{shown}'; `agentvine repo list` lists them"
        raise NotFound(message, kind="repository", id=shown)
    names = [{"pointer": "", "message": f"{each.id}  {each.settings.repository}"} for each in near[:8]]
    raise InvalidInput(f"'{shown}' could be any of {len(near)} repositories; write more of it:", errors=names)
