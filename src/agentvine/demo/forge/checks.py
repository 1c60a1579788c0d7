"""The forge's CI: it really runs the repository's tests on what was pushed, more strictly than the workers do."""

import sys
from pathlib import Path

from agentvine.demo.forge.repository import BareRepository
from agentvine.demo.repositories import DemoFailed
from agentvine.kit.process import ProcessTimeout, run

JOB = "tests"
STEP = "pytest, warnings of encodings are errors"
STRICT = ("-X", "warn_default_encoding")
"""Python warns where a file is opened in whatever encoding the machine has; here such a warning is an error."""
_SECONDS = 120.0
_LONGEST_LOG = 20_000


async def tested(repository: BareRepository, sha: str, name: str, search_path: str) -> tuple[bool, str]:
    """Whether the tests pass at a commit, and what they said.

    They run as they are, without a sandbox: a real CI has machines of its own for that.
    """
    try:
        where = await repository.checked_out(sha, name)
    except DemoFailed as error:
        return False, f"{error}\n"
    argv = [sys.executable, *STRICT, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error::EncodingWarning"]
    shown = ["python", *argv[1:]]
    try:
        done = await run(argv, cwd=where, env=_environment(where, search_path), timeout=_SECONDS, guarded=True)
    except ProcessTimeout as late:
        return False, f"$ {' '.join(shown)}\n{late}\n"
    return done.exit_code == 0, f"$ {' '.join(shown)}\n{done.stdout}{done.stderr}"[-_LONGEST_LOG:]


def _environment(where: Path, search_path: str) -> dict[str, str]:
    plain = {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return {"PATH": search_path, "HOME": str(where), "LANG": "C.UTF-8", **plain}
