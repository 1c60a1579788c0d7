"""What the URL of a database says. Needs no driver, and nothing that is slow to import."""

from pathlib import Path

_SQLITE = "sqlite:///"


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite database, relative unless a fourth slash begins it; None for another kind.

    What follows the slashes is taken as it stands: a '%' or '?' in it is part of a name.
    """
    return Path(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else None


def kind_of(url: str) -> str:
    """sqlite or postgresql."""
    return "postgresql" if sqlite_path(url) is None else "sqlite"
