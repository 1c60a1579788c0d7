"""The same attempts and the same work, once more as a user without rights: what most workers are."""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from agentvine.kit.process import run
from tests.security import become

USER = 59_123
HERE = Path(__file__).parent
SUITES = ("test_sandbox.py", "test_sandbox_limits.py", "test_sandbox_work.py", "test_sandboxed_claude.py")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("suite", SUITES)
async def test_the_suite_passes_as_an_ordinary_user_too(suite: str) -> None:
    if os.geteuid() != 0:
        return  # it has just run as one
    with TemporaryDirectory(prefix="av-") as folder:  # short: the suite makes sockets in it
        os.chown(folder, USER, USER)
        await _passes(suite, Path(folder))


async def _passes(suite: str, home: Path) -> None:
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
        str(HERE / suite),
    ]
    done = await run(
        [sys.executable, "-B", become.__file__, str(USER), *ways, "--", *tests],
        cwd=root,
        env={"PATH": os.defpath, "HOME": str(home), "TMPDIR": str(home)},
        timeout=800,
        guarded=True,
    )
    assert done.exit_code == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
