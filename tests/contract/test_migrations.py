"""The schema's history leads to the schema that the code knows, on both databases."""

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from agentvine.store.migrate import DatabaseDamaged, DatabaseTooNew, migrate
from agentvine.store.tables import metadata
from agentvine.testing.databases import PostgresqlServer


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'a.db'}"
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return server.empty_database()


def engine_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


def test_migrations_and_metadata_agree(empty_url: str) -> None:
    migrate(empty_url)
    engine = create_engine(engine_url(empty_url))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        there = inspect(connection)
        for table in metadata.sorted_tables:
            found = {index["name"] for index in there.get_indexes(table.name) if not index["unique"]}
            assert found == {index.name for index in table.indexes}
    engine.dispose()


def test_partial_indexes_are_partial(empty_url: str) -> None:
    migrate(empty_url)
    engine = create_engine(engine_url(empty_url))
    query = (
        "SELECT name, sql FROM sqlite_master WHERE type = 'index'"
        if empty_url.startswith("sqlite")
        else "SELECT indexname AS name, indexdef AS sql FROM pg_indexes"
    )
    with engine.connect() as connection:
        definitions = {row.name: row.sql for row in connection.execute(text(query))}
    engine.dispose()
    for table in metadata.sorted_tables:
        for index in table.indexes:
            partial = index.dialect_options["postgresql"]["where"] is not None
            assert (" WHERE " in definitions[index.name]) == partial


def test_migrating_again_changes_nothing(empty_url: str) -> None:
    migrate(empty_url)
    migrate(empty_url)


async def test_several_at_once(empty_url: str) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(asyncio.to_thread(migrate, empty_url))


def test_a_newer_database_is_left_alone(empty_url: str) -> None:
    migrate(empty_url)
    engine = create_engine(engine_url(empty_url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(DatabaseTooNew, match="9999"):
        migrate(empty_url)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    migrate(f"sqlite:///{path}")
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xaa" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(DatabaseDamaged):
        migrate(f"sqlite:///{path}")
