"""The schema's history leads to the schema that the code knows, on both databases."""

import asyncio
import json
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, Table, create_engine, inspect, text
from sqlalchemy.exc import DatabaseError

from agentvine.store.history import SchemaUnknown, downgrade, revisions, schema
from agentvine.store.migrate import migrate
from agentvine.store.revision import DatabaseDamaged, DatabaseTooNew, newest
from agentvine.store.tables import metadata
from agentvine.testing.databases import PostgresqlServer
from tests.integration.warm_cli import run_cli


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


async def test_servers_that_start_at_once_migrate_once(empty_url: str) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(asyncio.to_thread(migrate, empty_url))
    assert schema(empty_url) == newest()


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


def test_the_newest_schema_is_known_without_alembic() -> None:
    assert newest() == revisions()[-1]


def version_of(url: str) -> list[str]:
    """The revisions that a database says it is at."""
    engine = create_engine(engine_url(url))
    with engine.connect() as connection:
        found = [row.version_num for row in connection.execute(text("SELECT version_num FROM alembic_version"))]
    engine.dispose()
    return found


def test_migrating_again_changes_nothing(empty_url: str) -> None:
    for _ in range(2):
        migrate(empty_url)
        assert version_of(empty_url) == [newest()]


async def test_several_at_once(empty_url: str) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(asyncio.to_thread(migrate, empty_url))
    assert version_of(empty_url) == [newest()]


def test_a_newer_database_is_left_alone(empty_url: str) -> None:
    migrate(empty_url)
    engine = create_engine(engine_url(empty_url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(DatabaseTooNew, match="9999"):
        migrate(empty_url)


@pytest.mark.parametrize("folder", ["a%20b", "50%", "what?"])
def test_a_folder_may_have_any_name(tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder / "agentvine.db"
    path.parent.mkdir()
    migrate(f"sqlite:///{path}")
    assert newest() == schema(f"sqlite:///{path}")
    assert [path.name] == [one.name for one in path.parent.iterdir() if one.suffix == ".db"]


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    migrate(f"sqlite:///{path}")
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xaa" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(DatabaseDamaged):
        migrate(f"sqlite:///{path}")


# ── down and up again, with something in every table ─────────────────────────────────────────────────────────────

Rows = dict[str, list[dict[str, object]]]
FILLED = 3


def fill(engine: Engine) -> None:
    """A few rows in every table, whose references hold."""
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(table.insert(), [row_of(table, number) for number in range(1, FILLED + 1)])


def row_of(table: Table, number: int) -> dict[str, object]:
    row: dict[str, object] = {}
    for column in table.columns:
        python = column.type.python_type
        row[column.name] = f"{column.name} {number} \u00e4" if python is str else python(number)
        for key in column.foreign_keys:
            row[column.name] = f"{key.column.name} {number} \u00e4"
    return row


def content(engine: Engine) -> Rows:
    """Every row of every table, whatever the code knows of it."""
    with engine.connect() as connection:
        names = set(inspect(connection).get_table_names()) - {"alembic_version"}
        return {
            name: [dict(row._mapping) for row in connection.execute(text(f"SELECT * FROM {name} ORDER BY 1, 2"))]
            for name in names
        }


def kept(before: Rows, after: Rows) -> bool:
    """All that has a place in `after` is there as it was."""
    return all(
        [{name: row[name] for name in then if name in row} for row, then in zip(before[table], rows, strict=True)]
        == [{name: then[name] for name in then if name in row} for row, then in zip(before[table], rows, strict=True)]
        for table, rows in after.items()
        if table in before
    )


def test_every_schema_can_be_left_for_the_one_before_it_and_taken_up_again(empty_url: str) -> None:
    migrate(empty_url)
    engine = create_engine(engine_url(empty_url))
    fill(engine)
    full = content(engine)
    for older in (*revisions()[-2::-1], "base"):
        before = content(engine)
        expected = downgrade(empty_url, older, really=False)
        assert content(engine) == before, "it was only asked what would be gone"
        assert downgrade(empty_url, older, really=True) == expected
        after = content(engine)
        assert kept(before, after)
        tables = {name for name in expected if "." not in name}
        assert set(before) - set(after) == tables
        assert bool(after) == (older != "base")
        migrate(empty_url)  # and back: what still had a place is there, and the schema is the code's
        again = content(engine)
        assert set(again) == set(full)
        assert kept(after, again)
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        downgrade(empty_url, older, really=True)
    engine.dispose()


def test_the_audit_log_is_guarded_again(empty_url: str) -> None:
    migrate(empty_url)
    downgrade(empty_url, "0001", really=True)
    migrate(empty_url)
    engine = create_engine(engine_url(empty_url))
    fill(engine)
    for statement in ("DELETE FROM audit", "UPDATE audit SET actor = 'x'"):
        with pytest.raises(DatabaseError, match="only added to"), engine.begin() as connection:
            connection.execute(text(statement))
    engine.dispose()


def test_there_is_no_going_back_to_what_never_was(empty_url: str) -> None:
    migrate(empty_url)
    downgrade(empty_url, "0002", really=True)
    for wrong in ("0003", "9999", ""):
        with pytest.raises(SchemaUnknown, match="0001"):
            downgrade(empty_url, wrong, really=True)
    assert schema(empty_url) == "0002"


async def test_the_command_says_what_would_be_gone_before_it_is(tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path / 'agentvine.db'}")

    async def said(*arguments: str) -> tuple[int | None, str]:
        command = ("schema", "--data", str(tmp_path), *arguments)
        env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        done = await run_cli(command, cwd=tmp_path, env=env, stdin=None, timeout=240)
        return done.exit_code, done.stdout + done.stderr

    code, text = await said("--to", "0002")
    assert code == 0
    assert "would be gone: comments, errands, evidence.envelope" in text
    assert "nothing was changed" in text
    assert json.loads((await said("--to", "0002", "--yes", "--json"))[1])["schema_now"] == "0002"
