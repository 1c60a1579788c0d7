"""Databases, for whichever test asks for one; which tests are tried, and in which order."""

import gc
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import structlog
from hypothesis import HealthCheck, settings

from agentvine.testing.databases import PostgresqlServer, postgresql_server, sqlite_database

gc.disable()  # until all tests are found: what is made meanwhile stays, and looking for garbage in it finds none
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

LANES = (
    ("e2e/test_demo.py", "e2e/test_demo_forge.py", "e2e/test_faults.py", "proof/test_endings.py"),
    (
        "test_sandbox_as_ordinary_user.py",
        "integration/test_follow_up.py",
        "chaos/test_faults.py",
        "test_secrets_stay_outside.py",
        "test_history.py",
        "test_git_tokens.py",
        "test_waiting.py",
        "test_verify_tools.py",
    ),
)
"""Files of tests that take a quarter of a minute and more: begun first, so that no worker is left alone with one. Those
of a lane go one after the other: beside each other, whole fleets would take the processor from each other."""


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
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    items[:] = _in_lanes(items, len(items) // workers if workers > 1 else 0)


def _in_lanes(items: list[pytest.Item], share: int) -> list[pytest.Item]:
    """The first lane, and the second where the part of the next worker begins: each has `share` tests to begin with."""
    by_path: dict[Path, list[pytest.Item]] = {}
    for item in items:
        by_path.setdefault(item.path, []).append(item)
    first, second = (
        [item for file in lane for path, its in by_path.items() if path.match(file) for item in its] for lane in LANES
    )
    long = {*first, *second}
    rest = [item for item in items if item not in long]
    cut = max(0, share - len(first))
    return [*first, *rest[:cut], *second, *rest[cut:]]


def pytest_collection_finish() -> None:
    """From here on garbage is looked for again, and not in the thousands of modules and tests that stay anyway."""
    gc.freeze()
    gc.enable()


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
