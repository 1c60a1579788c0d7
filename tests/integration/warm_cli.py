"""The CLI in a process of its own that need not start: forked from an interpreter that has loaded it already.

Starting Python and loading what a command needs takes longer than most commands do. What a command sees is the same as
after `python -m agentvine`: its arguments, its environment, its directory and its three streams are its own.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from pkgutil import iter_modules
from tempfile import TemporaryDirectory
from typing import Literal

from agentvine import cli, entry
from agentvine.kit.process import Completed

for _found in iter_modules(cli.__path__, "agentvine.cli."):
    import_module(_found.name)
import_module("agentvine.client.admin")
import_module("rich.table")

_STREAMS = ("stdin", "stdout", "stderr")
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


async def run_cli(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: bytes | None, timeout: int
) -> Completed:
    """`agentvine arguments…` to its end; killed after `timeout` seconds, which shows in its exit code (142)."""
    return await asyncio.to_thread(_ended, list(arguments), cwd, dict(env), stdin or b"", timeout)


def _ended(arguments: list[str], cwd: Path, env: Mapping[str, str], stdin: bytes, timeout: int) -> Completed:
    with TemporaryDirectory(prefix="agentvine-cli-") as folder:
        Path(folder, "stdin").write_bytes(stdin)
        began = time.monotonic()
        child = _context.Process(target=_child, args=(arguments, cwd, env, folder, timeout), daemon=True)
        child.start()
        child.join()
        code = child.exitcode or 0
        raw, errors = (Path(folder, name).read_bytes() for name in ("stdout", "stderr"))
    return Completed(
        argv=("agentvine", *arguments),
        exit_code=code if code >= 0 else 128 - code,
        stdout=raw.decode("utf-8", "replace"),
        stderr=errors.decode("utf-8", "replace"),
        seconds=time.monotonic() - began,
        truncated=False,
        raw=raw,
    )


def _child(arguments: list[str], cwd: Path, env: Mapping[str, str], folder: str, timeout: int) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.alarm(timeout)
    for number, name in enumerate(_STREAMS):
        file = os.open(Path(folder, name), os.O_RDONLY if name == "stdin" else os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = _text(0, "rb", "surrogateescape")
    sys.stdout = _text(1, "wb", "surrogateescape")
    sys.stderr = _text(2, "wb", "backslashreplace")
    os.chdir(cwd)
    os.environ.clear()  # noqa: TID251  what a fresh process is given
    os.environ.update(env)  # noqa: TID251
    sys.argv = ["agentvine", *arguments]
    try:
        entry.main()
    finally:
        sys.stdout.flush()


def _text(descriptor: int, mode: Literal["rb", "wb"], errors: str) -> TextIOWrapper:
    """A stream as Python makes it at its start in the locale C.UTF-8."""
    return TextIOWrapper(os.fdopen(descriptor, mode, closefd=False), "utf-8", errors, line_buffering=descriptor == 2)
