"""Bring a database to the schema of this code."""

from agentvine.store.revision import check_file, is_newest


def migrate(url: str) -> None:
    """Create or upgrade the schema; harmless if there is nothing to do. Blocks; several processes may run it at once.

    Raises `DatabaseTooNew`, `DatabaseDamaged`.
    """
    check_file(url)
    if is_newest(url):
        return  # nearly always: a server that starts again must not wait for Alembic to be imported
    from agentvine.store.history import bring_up  # which looks again, when nobody else is at it

    bring_up(url)
