"""The one door through which processes start.

What goes through it has an environment built from nothing, a session of its own, an output that is always read and
never kept beyond a limit, and an end: when `run` returns or raises, what it started is gone. Two strengths of "gone":

- *unguarded*: the process, its process group, and at a forced end also whatever can be found to descend from it. A
  program that daemonises on purpose (double fork, setsid) and then ends by itself gets away. For git and the like.
- *guarded*: run beneath `guardian.py`: nothing gets away, and all of it ends even if this process dies by SIGKILL.

Start processes from the event loop's thread: a guardian's tie to its parent is a tie to the thread that started it.
"""

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

from agentvine.kit import guardian
from agentvine.kit.capture import LineSink, Output, OutputCount
from agentvine.kit.doorbell import pause

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
"""A PATH with what the system brings, and nothing of the environment that this process was started in."""
_LAST_WORDS = 2.0  # seconds that an output may stay open, held by a runaway, after the process itself has ended
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Completed:
    """A process that has ended."""

    argv: tuple[str, ...]
    exit_code: int
    """128 + n if signal n ended it."""
    stdout: str
    """Decoded as UTF-8; what is none becomes U+FFFD. Where the middle was dropped, a line says how many bytes."""
    stderr: str
    seconds: float
    truncated: bool
    """True if any output was dropped."""
    raw: bytes = b""
    """`stdout` before decoding."""


class ProcessError(Exception):
    """Base of what this module raises. `argv` is the command."""

    def __init__(self, message: str, argv: Sequence[str]) -> None:
        super().__init__(message)
        self.argv = tuple(argv)


class ProcessNotFound(ProcessError):
    """There is no such program, or it cannot be executed."""


class ProcessTimeout(ProcessError):
    """It ran longer than `timeout` seconds and was killed. `completed` holds what it had said."""

    def __init__(self, argv: Sequence[str], timeout: float, completed: Completed) -> None:
        super().__init__(f"{argv[0]} was killed after {timeout:g} s", argv)
        self.timeout = timeout
        self.completed = completed


async def run(
    argv: Sequence[str],
    *,
    cwd: Path | None,
    env: Mapping[str, str],
    timeout: float,
    stdin: bytes | None = None,
    output_limit: int = 1_000_000,
    grace: float = 2.0,
    guarded: bool = False,
    pass_fds: Collection[int] = (),
    on_line: LineSink | None = None,
    on_output: OutputCount | None = None,
) -> Completed:
    """Run a command to its end.

    `env` is its whole environment; the program is looked for in its PATH. `stdin` None: nothing to read. Of each output
    at most `output_limit` bytes are kept, the first and the last half. After `timeout` seconds, or when the caller is
    cancelled, it is asked to end (SIGTERM), killed with all its descendants after `grace` seconds, and waited for.

    Raises ProcessNotFound, NotADirectoryError (for `cwd`), ProcessTimeout. A non-zero exit code is a result, no error.
    """
    started = time.monotonic()
    outputs = {name: Output(name, output_limit, on_line, on_output) for name in ("stdout", "stderr")}
    running = _start(argv, cwd, env, stdin, outputs, guarded, grace, pass_fds)
    try:
        async with asyncio.timeout(timeout):
            code = await running.wait()
    except TimeoutError:
        code = await uninterrupted(running.terminate(grace))
        raise ProcessTimeout(argv, timeout, _completed(argv, code, outputs, started)) from None
    except BaseException:
        await uninterrupted(running.terminate(grace))
        raise
    return _completed(argv, code, outputs, started)


async def at_terminal(argv: Sequence[str], *, env: Mapping[str, str]) -> int:
    """Run a command for whoever sits at the terminal, such as an editor: it has this process's own input and outputs.

    Returns its exit code, 128 + n if signal n ended it. Raises ProcessNotFound.
    """
    process = _start_attached(argv, env)
    try:
        return _shell_code(await asyncio.to_thread(process.wait))
    finally:
        if process.poll() is None:
            process.terminate()


async def spawn(
    argv: Sequence[str],
    *,
    cwd: Path | None,
    env: Mapping[str, str],
    output: Path | LineSink | None = None,
    grace: float = 2.0,
    guarded: bool = False,
    pass_fds: Collection[int] = (),
) -> "Running":
    """Start a command that lives on. Both its outputs are appended to a file, given to a sink line by line, or dropped.

    Use the result as an async context manager, or see to it that `terminate` or `kill_tree` is awaited.
    Raises ProcessNotFound, NotADirectoryError (for `cwd`).
    """
    with contextlib.ExitStack() as stack:
        target: IO[bytes] | dict[str, Output]
        if isinstance(output, Path):
            log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            target = stack.enter_context(os.fdopen(log, "ab", 0))
        else:
            target = {name: Output(name, 0, output) for name in ("stdout", "stderr")}
        return _start(argv, cwd, env, None, target, guarded, grace, pass_fds)


def guarded_argv(argv: Sequence[str], *, grace: float = 2.0, parent: int | None = None) -> list[str]:
    """`argv`, to be run beneath a guardian (see guardian.py) by this very process, or by the process `parent`.

    Told to stop, the guardian passes it on and waits `grace` seconds before it kills everything.
    """
    script = str(Path(guardian.__file__))
    options = ["--grace", f"{grace:g}", "--parent", str(os.getpid() if parent is None else parent)]
    return [sys.executable, "-I", "-S", "-B", script, *options, "--", *argv]


class Running:
    """A started process. Made by `spawn`."""

    def __init__(
        self, argv: Sequence[str], process: subprocess.Popen[bytes], outputs: Collection[Output], guarded: bool
    ) -> None:
        self.argv = tuple(argv)
        self.pid = process.pid
        self._process = process
        self._outputs = outputs
        self._guarded = guarded
        self._settled = False
        self._started = guardian.started(self.pid)
        self._known: dict[int, int] = {}
        """Descendants seen so far, pid to start time: a death in the middle of the family hides those beneath it."""
        self._ended = asyncio.Event()
        self._handle = os.pidfd_open(self.pid)
        asyncio.get_running_loop().add_reader(self._handle, self._reap)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; 128 + n if signal n ended it."""
        code = self._process.returncode
        return None if code is None else _shell_code(code)

    async def wait(self) -> int:
        """Wait until it has ended, kill what is left of its process group, read its output. Returns the exit code."""
        await self._ended.wait()
        if not self._guarded and not self._settled:  # once: later the number may be somebody else's
            self._signal_group(signal.SIGKILL)
        self._settled = True
        await self._last_words()
        for output in self._outputs:
            output.close()
        return _shell_code(self._process.returncode)

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to the process itself (to its guardian, if it has one). Harmless if it has ended."""
        self._signal(number)

    async def terminate(self, grace: float = 2.0) -> int:
        """Ask it to end, give it `grace` seconds, then kill the tree. Harmless if it has ended."""
        if self.exit_code is None:
            self._remember()
            if self._guarded:
                self._signal(signal.SIGTERM)
            else:
                self._signal_group(signal.SIGTERM)
            await self._ended_within(grace)
        return await self.kill_tree()

    async def kill_tree(self) -> int:
        """Kill it and everything beneath it, and wait until all are gone. Returns the exit code."""
        if self.exit_code is None and self._guarded:
            self._signal(guardian.AT_ONCE)
            await self._ended_within(guardian.SWEEP_SECONDS + 1)
        if self.exit_code is None or not self._guarded:
            await self._destroy()
        return await self.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await uninterrupted(self.kill_tree())

    async def _last_words(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                for output in self._outputs:
                    await output.closed.wait()

    async def _ended_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True

    async def _destroy(self) -> None:
        deadline = time.monotonic() + guardian.SWEEP_SECONDS
        while self._remember() and time.monotonic() < deadline:
            for pid in self._known:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            await pause(0.01)

    def _remember(self) -> bool:
        """Bring the list of living descendants up to date; False when the process and all of them are gone."""
        table = {pid: entry for pid, entry in guardian.processes().items() if entry.state not in "ZX"}
        known = {pid for pid, started in self._known.items() if pid in table and table[pid].started == started}
        if self.pid not in table or table[self.pid].started == self._started:
            known |= {pid for pid, entry in table.items() if entry.session == self.pid}
            known |= guardian.descendants({self.pid}, table)
        known |= guardian.descendants(known, table)
        self._known = {pid: table[pid].started for pid in known}
        return bool(known)

    def _reap(self) -> None:
        if self._process.poll() is not None:
            asyncio.get_running_loop().remove_reader(self._handle)
            os.close(self._handle)
            self._ended.set()

    def _signal(self, number: int) -> None:
        if not self._ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def _shell_code(code: int) -> int:
    return code if code >= 0 else 128 - code


def _completed(argv: Sequence[str], code: int, outputs: Mapping[str, Output], started: float) -> Completed:
    raw, errors = outputs["stdout"].content(), outputs["stderr"].content()
    return Completed(
        argv=tuple(argv),
        exit_code=code,
        stdout=raw.decode("utf-8", "replace"),
        stderr=errors.decode("utf-8", "replace"),
        seconds=time.monotonic() - started,
        truncated=any(output.dropped for output in outputs.values()),
        raw=raw,
    )


def _start(
    argv: Sequence[str],
    cwd: Path | None,
    env: Mapping[str, str],
    stdin: bytes | None,
    outputs: IO[bytes] | Mapping[str, Output],
    guarded: bool,
    grace: float,
    pass_fds: Collection[int],
) -> Running:
    """Start it. Nothing is awaited here, so that no cancellation can come between a process and its keeper."""
    _look_for(argv, cwd, env)
    command = guarded_argv(argv, grace=grace) if guarded else list(argv)
    sinks: Collection[Output] = outputs.values() if isinstance(outputs, Mapping) else ()
    with contextlib.ExitStack() as stack:
        ends = [sink.listen(stack) for sink in sinks] if isinstance(outputs, Mapping) else [outputs.fileno()] * 2
        try:
            # Not asyncio's way of starting it: uvloop's hands on descriptors that nobody asked for.
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL if stdin is None else _memory(stack, stdin),
                stdout=ends[0],
                stderr=ends[1],
                start_new_session=True,
                pass_fds=tuple(pass_fds),
            )
        except BaseException as error:
            for sink in sinks:
                sink.close()
            if isinstance(error, OSError) and error.errno in {errno.ENOENT, errno.EACCES, errno.ENOEXEC}:
                raise ProcessNotFound(f"cannot start {argv[0]}: {error.strerror}", argv) from error
            raise
        try:
            return Running(argv, process, sinks, guarded)
        except BaseException:  # no descriptor left to watch it by
            process.kill()
            process.wait()
            raise


def _start_attached(argv: Sequence[str], env: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    _look_for(argv, None, env)
    try:
        return subprocess.Popen(list(argv), env=dict(env))
    except OSError as error:
        raise ProcessNotFound(f"cannot start {argv[0]}: {error.strerror}", argv) from error


def _memory(stack: contextlib.ExitStack, content: bytes) -> int:
    """An anonymous file that holds `content`: unlike a pipe it needs nobody to feed it."""
    file = stack.enter_context(os.fdopen(os.memfd_create("stdin"), "w+b", 0))
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]
    file.seek(0)
    return file.fileno()


def _look_for(argv: Sequence[str], cwd: Path | None, env: Mapping[str, str]) -> None:
    """Raise ProcessNotFound if the program is not there, with or without a guardian in front of it."""
    if cwd is not None and not cwd.is_dir():
        raise NotADirectoryError(str(cwd))
    name = argv[0]
    if "/" in name:
        path = (cwd or Path()) / name
        if path.is_file() and os.access(path, os.X_OK):
            return
    elif shutil.which(name, path=env.get("PATH", os.defpath)) is not None:
        return
    raise ProcessNotFound(f"cannot start {name}: not found, or not executable", argv)


async def uninterrupted(work: Awaitable[_T]) -> _T:
    """Await `work` to its end even if this task is cancelled meanwhile; the cancellation is raised afterwards."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
    return task.result()
