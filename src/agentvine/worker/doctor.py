"""Whether this machine can run workers."""

import asyncio
import importlib.util
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from agentvine.kit.configuration import ConfigurationError
from agentvine.kit.diagnosis import Diagnosis, Verdict, version_of
from agentvine.kit.process import ProcessError, run
from agentvine.worker.agent.base import ModelAccess
from agentvine.worker.confinement import WITHOUT, sandbox_here
from agentvine.worker.examination import model_refuses
from agentvine.worker.sandbox.host import SandboxUnavailable
from agentvine.worker.settings import SandboxKind, SandboxSettings, WorkerConfig
from agentvine.worker.toolchain import Toolchain

OLDEST_GIT = (2, 38)
"""The first with `safe.bareRepository` (git-config(1)), which the worker sets for every command."""
LEAST_FREE_GB = 2.0
_SECONDS = 20.0


async def examine(environment: Mapping[str, str], workspace_dir: Path | None = None) -> list[Diagnosis]:
    """Look at what a worker needs. `environment` is what it would be started with."""
    default = WorkerConfig.model_fields["workspace_dir"].default
    place = workspace_dir or Path(environment.get(WorkerConfig.variable("workspace_dir")) or default)
    return [
        await _git(environment),
        await _claude(environment),
        *await _sandbox(environment),
        await asyncio.to_thread(_workspace, place),
        await _model(environment),
        _pytest(),
    ]


async def _says(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """What a program prints; empty if it cannot be run."""
    try:
        path = environment.get("PATH", os.defpath)
        done = await run(argv, cwd=None, env={"PATH": path, "HOME": "/nonexistent"}, timeout=_SECONDS)
    except ProcessError:
        return ""
    return done.stdout.strip() if done.exit_code == 0 else ""


async def _git(environment: Mapping[str, str]) -> Diagnosis:
    said = await _says(["git", "--version"], environment)
    if not said:
        return Diagnosis("git", Verdict.MISSING, "not found", "install it: sudo apt-get install git")
    if version_of(said) < OLDEST_GIT:
        return Diagnosis("git", Verdict.MISSING, said, "it is too old; version 2.38 or newer is needed")
    return Diagnosis("git", Verdict.OK, said)


async def _claude(environment: Mapping[str, str]) -> Diagnosis:
    spec = importlib.util.find_spec("claude_agent_sdk")
    binary = Path(spec.origin).parent / "_bundled" / "claude" if spec and spec.origin else None
    if binary is None or not binary.exists():
        return Diagnosis(
            "Claude Code", Verdict.MISSING, "not found", "reinstall: pip install --force-reinstall claude-agent-sdk"
        )
    said = await _says([str(binary), "--version"], environment)
    if not said:
        return Diagnosis("Claude Code", Verdict.MISSING, f"{binary} does not run", "it needs glibc on x86-64 or arm64")
    return Diagnosis("Claude Code", Verdict.OK, said)


async def _sandbox(environment: Mapping[str, str]) -> list[Diagnosis]:
    """Make a box and run something in it."""
    try:
        wanted = SandboxSettings.load(environment)
        sandbox = await sandbox_here(wanted, Toolchain.of_this_worker(environment.get("TOOL_PATH")))
    except ConfigurationError as error:
        return [Diagnosis("sandbox", Verdict.MISSING, mistake, WITHOUT) for mistake in error.mistakes]
    except SandboxUnavailable as unavailable:
        return [Diagnosis("sandbox", Verdict.MISSING, one.what, one.mend) for one in unavailable.problems]
    verdict, mend = Verdict.OK, ""
    if wanted.sandbox is SandboxKind.NONE:
        verdict, mend = Verdict.WARNING, "take SANDBOX=none out of the environment"
    return [Diagnosis("sandbox", verdict, sandbox.confinement, mend)]


def _workspace(directory: Path) -> Diagnosis:
    place = next(one for one in (directory, *directory.parents) if one.exists())
    free = shutil.disk_usage(place).free / 1e9
    found = f"{directory}: {free:.0f} GB free"
    if not os.access(place, os.W_OK):
        return Diagnosis(
            "workspaces", Verdict.MISSING, f"{place} cannot be written", "set WORKSPACE_DIR to another place"
        )
    if free < LEAST_FREE_GB:
        return Diagnosis("workspaces", Verdict.WARNING, found, "free some space, or set WORKSPACE_DIR to another place")
    return Diagnosis("workspaces", Verdict.OK, found)


async def _model(environment: Mapping[str, str]) -> Diagnosis:
    key, url = environment.get("ANTHROPIC_API_KEY"), environment.get("ANTHROPIC_BASE_URL")
    if key and await model_refuses(ModelAccess(url, key)):
        return Diagnosis(
            "model", Verdict.MISSING, "it refuses the key", "check ANTHROPIC_API_KEY and ANTHROPIC_BASE_URL"
        )
    if key or environment.get("ANTHROPIC_API_KEY_FILE"):
        return Diagnosis("model", Verdict.OK, (url or "the default address") + ", with a key")
    return Diagnosis("model", Verdict.WARNING, "ANTHROPIC_API_KEY is not set", "set it where workers are started")


def _pytest() -> Diagnosis:
    if importlib.util.find_spec("pytest") is None:
        return Diagnosis("pytest", Verdict.WARNING, "not installed beside the worker", "pip install pytest")
    return Diagnosis("pytest", Verdict.OK, "installed beside the worker")
