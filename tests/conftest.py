"""Databases, for whichever test asks for one."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import structlog
from hypothesis import HealthCheck, settings

from agentvine.testing.databases import PostgresqlServer, postgresql_server, sqlite_database

structlog.configure(  # its own way to show an error takes seconds of a server that a test waits for
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

_PATIENT = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("anew", _PATIENT)
settings.register_profile("steady", _PATIENT, derandomize=True)
settings.load_profile("steady")
"""Examples are the same each time, and may take as long as they do; `--every-case` makes up others."""

LONG = (
    "test_sandbox_as_ordinary_user.py",
    "test_demo.py",
    "test_demo_forge.py",
    "test_faults.py",
    "test_history.py",
    "test_secrets_stay_outside.py",
    "test_git_tokens.py",
    "test_follow_up.py",
    "test_endings.py",
    "test_waiting.py",
    "test_verify_tools.py",
)
"""Files of tests that take a quarter of a minute and more: begun first, so that no worker is left alone with one."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("proof")
    group.addoption("--every-case", action="store_true", help="try every case of the corpora, not a share of them")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "every_case: tried with `--every-case` alone; says what stands for it otherwise")
    if config.getoption("--every-case"):
        settings.load_profile("anew")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--every-case"):
        left = [item for item in items if item.get_closest_marker("every_case")]
        if left:
            config.hook.pytest_deselected(items=left)
            items[:] = [item for item in items if item not in left]
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """A server for the whole session. Not below pytest's own folder: run by root it serves as another user, from whom
    pytest closes that folder."""
    with TemporaryDirectory(prefix="agentvine-pg-") as folder, postgresql_server(Path(folder) / "data") as server:
        yield server


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A fresh SQLite database with the schema."""
    return sqlite_database(tmp_path)


@pytest.fixture
def postgresql_url(postgresql: PostgresqlServer) -> str:
    """A fresh PostgreSQL database with the schema."""
    return postgresql.fresh_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh database with the schema, of each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
