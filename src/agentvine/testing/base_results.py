"""What is known of base commits, for tests that do not care who found it out."""

import atexit
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from agentvine.worker.verification.base_results import BaseResults
from agentvine.worker.verification.found import Commands
from agentvine.worker.verification.runs import TestRun


class SharedBaseResults(BaseResults):
    """By commit and commands alone, wherever the repository lies. For those in which a commit holds the same files
    each time, as in `GitRepository`; not for tests of how a base is judged."""

    def find(self, repository: str, base_sha: str, commands: Commands, surroundings: str) -> TestRun | None:
        """As in `BaseResults`."""
        return super().find("", base_sha, commands, surroundings)

    def keep(self, repository: str, base_sha: str, commands: Commands, surroundings: str, run: TestRun) -> None:
        """As in `BaseResults`."""
        super().keep("", base_sha, commands, surroundings, run)


@cache
def shared_base_results() -> SharedBaseResults:
    """One for this process, which is gone with it."""
    folder = TemporaryDirectory(prefix="agentvine-bases-")
    atexit.register(folder.cleanup)
    return SharedBaseResults(Path(folder.name))
