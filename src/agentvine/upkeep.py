"""Commands that work on a server's data itself: copies of everything, and putting them back."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentvine.cli.command import epilog

if TYPE_CHECKING:
    from agentvine.server.backup import Copied
    from agentvine.server.settings import ServerSettings

INCOMPLETE = 3
_MISCONFIGURED = 78  # EX_CONFIG of sysexits.h

_Target = Annotated[Path, typer.Argument(metavar="TARGET", help="A folder, or a file that ends in .tar or .tar.gz.")]
_Source = Annotated[Path, typer.Argument(metavar="SOURCE", help="What was written: a folder or a .tar file.")]
_Data = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="The server's data directory.", show_default=False)
]
_Url = Annotated[
    str | None, typer.Option("--database-url", metavar="URL", help="sqlite:///path or postgresql://user@host/name.")
]
_Check = Annotated[bool, typer.Option("--check", help="Only say whether it is whole and could be taken.")]
_Json = Annotated[bool, typer.Option("--json", help="Print a JSON object.")]


def add_commands(app: typer.Typer, panel: str) -> None:
    """Make them commands of `app`, listed under `panel` in its help."""
    for run, examples in _COMMANDS:
        name = run.__name__.rstrip("_")
        app.command(name, epilog=epilog(examples), rich_help_panel=panel)(run)


def backup(target: _Target, data: _Data = None, database_url: _Url = None, as_json: _Json = False) -> None:
    """Write a backup of everything; the server may run.

    It holds the database as it is at one moment, all artifacts, the signing key and the keys of `agentvine up`: keep it
    where nobody else can read it. It does not hold `secrets.key`, which opens the secrets of repositories: keep that
    apart from it. Run it on the server's machine, with the settings of the server.

    Exit code: 0 written, 1 not written, 3 written, but the data directory lacks artifacts that the database names.
    """
    from agentvine.server.backup import back_up

    _act(lambda settings: back_up(settings, target), data, database_url, "written to", as_json=as_json)


def restore(
    source: _Source, data: _Data = None, database_url: _Url = None, check: _Check = False, as_json: _Json = False
) -> None:
    """Put a backup into an empty place, after checking all of it.

    What ran when it was made is pending again, with no attempt charged. Put `secrets.key` back beside it, or give each
    repository its secrets anew. Start the server afterwards.

    Exit code: 0 done, 1 refused: the backup is damaged or newer, or the place is not empty; nothing has changed then.
    """
    from agentvine.server.backup import restore as put_back

    did = "can be taken:" if check else "restored to"
    _act(lambda settings: put_back(settings, source, only_check=check), data, database_url, did, as_json=as_json)


def export(target: _Target, data: _Data = None, database_url: _Url = None, as_json: _Json = False) -> None:
    """Write everything in plain formats, for SQLite and PostgreSQL alike; the server may run.

    Rows become JSON Lines, a file for each table (docs/operations.md); artifacts and the server's files come along. It
    holds secrets, as a backup does.

    Exit code: as `agentvine backup`.
    """
    from agentvine.server.backup import export as write

    _act(lambda settings: write(settings, target), data, database_url, "written to", as_json=as_json)


def import_(
    source: _Source, data: _Data = None, database_url: _Url = None, check: _Check = False, as_json: _Json = False
) -> None:
    """Put an export into an empty place, also of the other kind of database.

    What ran when it was made is pending again, with no attempt charged. Start the server afterwards.

    Exit code: as `agentvine restore`.
    """
    from agentvine.server.backup import take_in

    did = "can be taken:" if check else "imported to"
    _act(lambda settings: take_in(settings, source, only_check=check), data, database_url, did, as_json=as_json)


def schema(
    to: Annotated[
        str | None, typer.Option("--to", metavar="NUMBER", help="An older schema.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else it is only said what would be gone.")] = False,
    data: _Data = None,
    database_url: _Url = None,
    as_json: _Json = False,
) -> None:
    """Say which schema the database has, or bring it back to that of an older release.

    A server brings it up to date by itself when it starts. To go back to an older release stop all servers, make a
    backup, and run this with the newer release, which alone knows the way back (docs/deployment.md).

    Exit code: 0 done, 78 refused, and nothing has changed.
    """
    from agentvine.cli.render import screen
    from agentvine.cli.settings import environment
    from agentvine.kit.configuration import ConfigurationError
    from agentvine.server.schema import go_back, look

    settings, outputs = _settings(environment(), data, database_url), screen()
    try:
        found = look(settings) if to is None else go_back(settings, to, really=yes)
    except ConfigurationError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_MISCONFIGURED) from None
    if as_json:
        outputs.json(found)
    else:
        outputs.say(f"the database has schema {found.schema_now}; this release knows {', '.join(found.known)}")
        if found.gone:
            outputs.say(f"{'gone' if found.changed else 'would be gone'}: {', '.join(found.gone)}")
        if to is not None and not found.changed:
            outputs.say("nothing was changed; --yes does it")
    outputs.flush()


_COMMANDS: tuple[tuple[Callable[..., None], tuple[str, ...]], ...] = (
    (backup, ("agentvine backup /backups/monday.tar.gz", "agentvine backup /backups/monday --data /srv/agentvine")),
    (
        restore,
        (
            "agentvine restore /backups/monday.tar.gz --check",
            "agentvine restore /backups/monday.tar.gz --data /srv/agentvine",
        ),
    ),
    (export, ("agentvine export /tmp/everything.tar.gz --data /srv/agentvine",)),
    (
        import_,
        (
            "agentvine import /tmp/everything.tar.gz --data /srv/new",
            "agentvine import /tmp/everything.tar.gz --data /srv/new --database-url postgresql://agentvine@db/agentvine",
        ),
    ),
    (schema, ("agentvine schema --data /srv/agentvine", "agentvine schema --data /srv/agentvine --to 0003 --yes")),
)


def _act(
    do: "Callable[[ServerSettings], Copied]", data: Path | None, url: str | None, did: str, *, as_json: bool
) -> None:
    from agentvine.cli.render import screen
    from agentvine.cli.settings import environment
    from agentvine.store.archive import ArchiveError

    outputs = screen()
    settings = _settings(environment(), data, url)
    try:
        copied = do(settings)
    except ArchiveError as error:
        outputs.err.print(f"error: {error}", soft_wrap=True, markup=False, highlight=False)
        raise typer.Exit(1) from None
    if as_json:
        outputs.json(copied)
    else:
        _tell(copied, did)
    outputs.flush()
    if copied.missing_artifacts:
        many = len(copied.missing_artifacts)
        outputs.err.print(f"{many} artifacts that the database names are missing from {settings.data / 'artifacts'}")
        raise typer.Exit(INCOMPLETE)


def _tell(copied: "Copied", did: str) -> None:
    from agentvine.cli.render import screen

    shown = screen()
    rows = sum(copied.rows.values())
    shown.say(
        f"{did} {copied.where}: {rows} rows, {copied.artifacts} artifacts, {', '.join(copied.files) or 'no files'}"
    )
    if copied.given_back:
        shown.say(f"{copied.given_back} orders that ran are pending again; no attempt was charged")
    if "policy.toml" in copied.files and did.split()[0] in {"restored", "imported"}:
        shown.say(f"set AGENTVINE_SERVER_POLICY={copied.where / 'policy.toml'} for the server")
    shown.flush()


def _settings(around: Mapping[str, str], data: Path | None, url: str | None) -> "ServerSettings":
    from agentvine.kit.configuration import ConfigurationError
    from agentvine.server.settings import ServerSettings

    try:
        return ServerSettings.load(around, data_dir=data, database_url=url)
    except ConfigurationError as error:
        for mistake in error.mistakes:
            typer.echo(mistake, err=True)
        raise typer.Exit(_MISCONFIGURED) from None
