"""The same attempts and the same work, once more as a user without rights: what most workers are."""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from agentvine.kit.process import Completed, run
from tests.security import become

USER = 59_123
HERE = Path(__file__).parent
SUITES = {
    "attempts and limits": ("test_sandbox.py", "test_sandbox_limits.py", "test_sandbox_work.py"),
    "whole executions": ("test_sandboxed_claude.py", "test_probes_in_executions.py"),
}
"""One process each: most of a short suite is its start."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Both with `--every-case`, else the first."""
    tried = tuple(SUITES) if metafunc.config.getoption("--every-case") else tuple(SUITES)[:1]
    metafunc.parametrize("name", tried)


@pytest.mark.timeout(1200)
async def test_the_suites_pass_as_an_ordinary_user_too(name: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("boxes were made by an ordinary user alone; those that root makes need a run as root")
    with TemporaryDirectory(prefix="av-") as folder:  # short: the suite makes sockets in it
        os.chown(folder, USER, USER)
        done = await _tried(SUITES[name], Path(folder))
    assert done.exit_code == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    told = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert all("may not make control groups" in line for line in told), told


async def _tried(suites: tuple[str, ...], home: Path) -> Completed:
    root = HERE.parents[1]
    python = str(Path(sys.prefix, "bin", "python"))
    ways = [str(path) for path in (root, Path(sys.prefix), Path(sys.base_prefix), home)]
    tests = [
        python,
        "-B",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--basetemp={home / 'tmp'}",
        *(str(HERE / suite) for suite in suites),
    ]
    return await run(
        [sys.executable, "-B", become.__file__, str(USER), *ways, "--", *tests],
        cwd=root,
        env={"PATH": os.defpath, "HOME": str(home), "TMPDIR": str(home)},
        timeout=1100,
        guarded=True,
    )
