"""Going back to an older release's schema, for whoever has to go back to that release."""

from agentvine.domain.base import Model
from agentvine.domain.errors import Unavailable
from agentvine.kit.configuration import ConfigurationError
from agentvine.server.settings import ServerSettings
from agentvine.store.address import sqlite_path
from agentvine.store.history import SchemaUnknown, downgrade, revisions, schema
from agentvine.store.revision import DatabaseDamaged, DatabaseTooNew


class Schema(Model):
    """What a database has."""

    schema_now: str | None
    known: tuple[str, ...]
    """What this release can bring it to, oldest first."""
    gone: tuple[str, ...] = ()
    """Tables, and columns as `table.column`, for which the older one has no place."""
    changed: bool = False


def look(settings: ServerSettings) -> Schema:
    """Which schema there is. Raises `ConfigurationError`."""
    _check_there(settings)
    try:
        return Schema(schema_now=schema(settings.database), known=revisions())
    except (DatabaseDamaged, Unavailable) as error:
        raise ConfigurationError(str(error)) from error


def go_back(settings: ServerSettings, to: str, *, really: bool) -> Schema:
    """Bring it to the older one, or only say what would be gone. Raises `ConfigurationError`."""
    _check_there(settings)
    try:
        gone = downgrade(settings.database, to, really=really)
    except (DatabaseDamaged, DatabaseTooNew, SchemaUnknown, Unavailable) as error:
        raise ConfigurationError(str(error)) from error
    now = to if really else schema(settings.database)
    return Schema(schema_now=now, known=revisions(), gone=gone, changed=really)


def _check_there(settings: ServerSettings) -> None:
    """To look for a database must not make one."""
    if (path := sqlite_path(settings.database)) is not None and not path.exists():
        raise ConfigurationError(f"there is no database {path}; name the server's data directory with --data")
