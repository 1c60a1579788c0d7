"""How the agent's program is started: what it sees of its surroundings, and what sees to its end."""

import contextlib
import json
import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agentvine.kit import guardian
from agentvine.kit.doorbell import pause
from agentvine.kit.process import SYSTEM_PATH
from agentvine.worker.agent import launch as launch_script
from agentvine.worker.agent.base import Assignment

_LONGEST_COMMAND = 600.0
_SHORTEST_COMMAND = 10.0
_POLL = 0.02


@dataclass(frozen=True, slots=True)
class Launch:
    """A program ready to be started."""

    program: Path
    """Given the agent's arguments, it becomes the agent."""
    seen_at: Path
    """Where the agent sees the workspace."""
    configuration: Path
    """The agent's configuration directory, on this machine."""
    note: Path
    """Where the started process writes its pid and start time."""

    async def end(self, patience: float = guardian.SWEEP_SECONDS) -> bool:
        """End the process and all that descends from it, at once. True when none is left; harmless if none was."""
        waited = 0.0
        while (process := self._process()) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, guardian.AT_ONCE if waited < patience else signal.SIGKILL)
            if waited >= 2 * patience:
                return False
            await pause(_POLL)
            waited += _POLL
        return True

    @property
    def started(self) -> bool:
        """True once the process has come as far as writing its note."""
        return self._noted() is not None

    def _process(self) -> int | None:
        """The process, if it lives: the pid alone may be somebody else's by now."""
        noted = self._noted()
        return noted[0] if noted is not None and guardian.started(noted[0]) == noted[1] else None

    def _noted(self) -> tuple[int, int] | None:
        try:
            pid, started = self.note.read_text("ascii").split()
        except (FileNotFoundError, ValueError):
            return None
        return int(pid), int(started)


class Launcher(Protocol):
    """Makes a program ready; a sandbox plugs in here."""

    def prepare(self, assignment: Assignment, environment: Mapping[str, str]) -> Launch:
        """Write what the start needs into `assignment.private`. Raises OSError."""
        ...


def agent_environment(assignment: Assignment, *, max_retries: int) -> dict[str, str]:
    """The whole environment of the agent, and so of every command that it runs.

    What the assignment adds cannot change what is set here for configuration and privacy. The model's address and key
    are no part of it: the box knows where its model is.
    """
    private = assignment.private
    longest = max(min(_LONGEST_COMMAND, assignment.watchdog.idle - 30), _SHORTEST_COMMAND)
    return {
        "PATH": SYSTEM_PATH,
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "SHELL": "/bin/bash",
        **assignment.environment,
        "HOME": str(private / "home"),
        "TMPDIR": str(private / "tmp"),
        "CLAUDE_CODE_TMPDIR": str(private / "tmp"),
        "CLAUDE_CONFIG_DIR": str(private / "claude"),
        "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
        "CLAUDE_CODE_SDK_READS_SESSION_STATE": "1",
        "CLAUDE_CODE_MAX_RETRIES": str(max_retries),
        "CLAUDE_CODE_PRINT_BG_WAIT_CEILING_MS": str(int(assignment.watchdog.after_result * 1000)),
        "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_AUTOUPDATER": "1",
        "BASH_MAX_TIMEOUT_MS": str(int(longest * 1000)),  # below the watchdog's patience with silence
        "BASH_DEFAULT_TIMEOUT_MS": str(int(min(120.0, longest) * 1000)),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_EDITOR": "true",
    }


def wrapped(command: Sequence[str], environment: Mapping[str, str], place: Path) -> tuple[Path, Path]:
    """A program in the directory `place` that becomes `command`, with this environment only, and its `Launch.note`."""
    specification, note, wrapper = place / "launch.json", place / "process", place / "claude"
    note.unlink(missing_ok=True)
    content = {"command": [*command], "environment": dict(environment), "note": str(note)}
    _write(specification, json.dumps(content), 0o600)
    become = [sys.executable, "-I", "-S", "-B", str(launch_script.__file__), str(specification)]
    _write(wrapper, f'#!/bin/sh\nexec {shlex.join(become)} "$@"\n', 0o700)
    return wrapper, note


def _write(path: Path, content: str, mode: int) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "w") as file:
        file.write(content)
