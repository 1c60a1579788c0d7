"""Whether what executions need is there: the model and its key, the disk, the sandbox, Claude Code."""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

import httpx

from agentvine.worker.agent.base import ModelAccess
from agentvine.worker.agent.claude import bundled_cli
from agentvine.worker.confinement import sandbox_here
from agentvine.worker.sandbox.host import SandboxUnavailable
from agentvine.worker.settings import SandboxSettings
from agentvine.worker.toolchain import Toolchain

LEAST_FREE = 256 * 1024 * 1024
"""Bytes; with less no repository of any size can be checked out."""
_TRIED = 64 * 1024
_DEFAULT_URL = "https://api.anthropic.com"
_ANY_MODEL = "claude-sonnet-4-5"
_SECONDS = 10.0


async def examine(root: Path, model: ModelAccess, wanted: SandboxSettings, toolchain: Toolchain) -> str | None:
    """The first thing that is broken, and how to mend it; None if nothing is."""
    if full := await asyncio.to_thread(disk_full, root):
        return full
    cli = bundled_cli()
    if not os.access(cli, os.X_OK):
        return f"Claude Code is not at {cli}; reinstall it: pip install --force-reinstall claude-agent-sdk"
    try:
        await sandbox_here(wanted, toolchain)
    except SandboxUnavailable as unavailable:
        return "sandbox: " + "; ".join(map(str, unavailable.problems))
    return await model_refuses(model)


def disk_full(root: Path) -> str | None:
    """Why nothing can be written below `root`, if so."""
    try:
        free = shutil.disk_usage(root).free
        with tempfile.TemporaryFile(dir=root) as file:
            file.write(b"\0" * _TRIED)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"disk_full: {root}: {error.strerror or error}; free some space there"
    if free < LEAST_FREE:
        return f"disk_full: {root} has {free >> 20} MiB left; free some space there"
    return None


async def model_refuses(model: ModelAccess) -> str | None:
    """Why the model does not take the key, if it says so. Counting tokens costs nothing.

    No answer is no refusal: an execution that finds none is tried again later by rules of its own.
    """
    if model.api_key is None:
        return None
    url = (model.base_url or _DEFAULT_URL).rstrip("/") + "/v1/messages/count_tokens"
    body = {"model": model.model or _ANY_MODEL, "messages": [{"role": "user", "content": "?"}]}
    headers = {"x-api-key": model.api_key, "anthropic-version": "2023-06-01"}
    try:
        async with httpx.AsyncClient(timeout=_SECONDS, follow_redirects=False) as client:
            answer = await client.post(url, json=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
    if answer.status_code not in {401, 403}:
        return None
    return f"model_auth_failed: the model answers {answer.status_code}; check ANTHROPIC_API_KEY and ANTHROPIC_BASE_URL"
