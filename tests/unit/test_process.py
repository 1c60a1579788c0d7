"""The door through which processes start: what goes in, what comes out, and that nothing stays behind."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop

import agentvine
from agentvine.kit import guardian
from agentvine.kit.doorbell import pause
from agentvine.kit.process import Completed, ProcessNotFound, ProcessTimeout, guarded_argv, run, spawn

ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
SOON = 60.0

BOTH = pytest.mark.parametrize("guarded", [False, True], ids=["plain", "guarded"])

DAEMON = """
import os, signal
if os.fork() == 0:
    os.setsid()
    daemon = os.fork()
    if daemon == 0:
        signal.pause()
    print("daemon", daemon, flush=True)
    os._exit(0)
os.wait()
print("command", os.getpid(), flush=True)
"""
"""Starts a daemon in the old way (double fork, own session) that keeps the output open, and tells both pids."""


async def sh(script: str, *, guarded: bool = False, timeout: float = SOON, stdin: bytes | None = None) -> Completed:
    return await run(["sh", "-c", script], cwd=None, env=ENV, timeout=timeout, stdin=stdin, guarded=guarded)


async def gone(pid: int) -> None:
    """Return once process `pid` has ended; fail if it does not."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, ended.set)
    try:
        async with asyncio.timeout(SOON):
            await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


class Heard:
    """A sink that lets a test wait for a line."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._news = asyncio.Event()

    def __call__(self, stream: str, line: str) -> None:
        self.lines.append(line)
        self._news.set()

    async def line(self, start: str) -> str:
        """The rest of the first line that starts with `start`."""
        async with asyncio.timeout(SOON):
            while True:
                for line in self.lines:
                    if line.startswith(start):
                        return line.removeprefix(start).strip()
                self._news.clear()
                await self._news.wait()


@contextlib.asynccontextmanager
async def cancelled_run(script: str, heard: Heard, guarded: bool) -> AsyncIterator[None]:
    """Run a shell script for the length of the block, then cancel it and wait until the cancellation is through."""
    work = run(["sh", "-c", script], cwd=None, env=ENV, timeout=60, guarded=guarded, on_line=heard)
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@BOTH
async def test_the_environment_is_built_from_nothing(guarded: bool) -> None:
    done = await run(["env"], cwd=None, env={**ENV, "ONLY": "this"}, timeout=SOON, guarded=guarded)
    assert set(done.stdout.split()) == {"ONLY=this", f"PATH={ENV['PATH']}"}


@BOTH
async def test_it_runs_where_it_is_told_and_reads_what_it_is_given(guarded: bool, tmp_path: Path) -> None:
    text = b"0123456789" * 300_000
    done = await run(["sh", "-c", "pwd; wc -c"], cwd=tmp_path, env=ENV, timeout=SOON, stdin=text, guarded=guarded)
    assert done.stdout.split() == [str(tmp_path), str(len(text))]


@BOTH
async def test_exit_codes_and_both_outputs_come_back(guarded: bool) -> None:
    done = await sh("echo out; echo err >&2; exit 3", guarded=guarded)
    assert (done.exit_code, done.stdout, done.stderr, done.raw) == (3, "out\n", "err\n", b"out\n")
    assert not done.truncated
    assert (await sh("kill -TERM $$", guarded=guarded)).exit_code == 128 + signal.SIGTERM


async def test_bytes_that_are_no_utf8_are_replaced_and_kept_raw() -> None:
    done = await sh(r"printf 'a\377b'")
    assert (done.stdout, done.raw) == ("a\ufffdb", b"a\xffb")


async def test_of_a_long_output_head_and_tail_are_kept() -> None:
    script = "echo first; yes | head -c 3000000; echo last; yes no | head -c 3000000 >&2"
    done = await run(["sh", "-c", script], cwd=None, env=ENV, timeout=SOON, output_limit=1000)
    assert done.truncated
    assert done.exit_code == 0
    assert done.stdout.startswith("first\n")
    assert done.stdout.endswith("last\n")
    assert f"[... {6 + 3_000_000 + 5 - 1000} bytes dropped ...]" in done.stdout
    assert len(done.stdout) < 1100
    assert len(done.stderr) < 1100


async def test_an_output_of_just_the_limit_is_whole() -> None:
    done = await run(["printf", "%s", "x" * 100], cwd=None, env=ENV, timeout=SOON, output_limit=100)
    assert (done.stdout, done.truncated) == ("x" * 100, False)


async def test_lines_are_handed_on_as_they_arrive() -> None:
    heard = Heard()
    async with cancelled_run(r"printf 'one\r\ntw'; echo err >&2; echo 'o and three'; sleep 60", heard, guarded=False):
        assert await heard.line("one") == ""
        assert await heard.line("two") == "and three"
        assert await heard.line("err") == ""


async def test_a_line_without_end_is_cut_and_the_last_needs_no_newline() -> None:
    heard = Heard()
    script = "head -c 200000 /dev/zero | tr '\\0' x; printf y"
    await run(["sh", "-c", script], cwd=None, env=ENV, timeout=SOON, on_line=heard)
    assert "".join(heard.lines) == "x" * 200_000 + "y"
    assert max(map(len, heard.lines)) == 65_536


@BOTH
async def test_what_cannot_be_started_is_said(guarded: bool, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    for name in ("no-such-program-anywhere", str(tmp_path / "absent"), str(plain)):
        with pytest.raises(ProcessNotFound) as caught:
            await run([name, "x"], cwd=None, env=ENV, timeout=SOON, guarded=guarded)
        assert caught.value.argv == (name, "x")
    with pytest.raises(NotADirectoryError):
        await run(["true"], cwd=tmp_path / "absent", env=ENV, timeout=SOON, guarded=guarded)


@BOTH
async def test_a_program_is_found_on_the_path_of_its_own_environment(guarded: bool, tmp_path: Path) -> None:
    program = tmp_path / "mine"
    program.write_text("#!/bin/sh\necho mine\n")
    program.chmod(0o755)
    done = await run(["mine"], cwd=None, env={"PATH": str(tmp_path)}, timeout=SOON, guarded=guarded)
    assert done.stdout == "mine\n"


@BOTH
async def test_a_timeout_kills_the_tree_and_keeps_what_was_said(guarded: bool) -> None:
    script = "trap '' TERM; sleep 300 & setsid sleep 300 & echo $$ $!; sleep 300; sleep 300"
    said, seconds = "", 0.5
    while not said and seconds < 60:  # on a busy machine it may have said nothing by then
        with pytest.raises(ProcessTimeout) as caught:
            await run(["sh", "-c", script], cwd=None, env=ENV, timeout=seconds, grace=0.1, guarded=guarded)
        assert caught.value.timeout == seconds
        said, seconds = caught.value.completed.stdout, seconds * 8
    shell, in_own_session = map(int, said.split())
    for pid in (shell, in_own_session):
        assert pid not in living()


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def living() -> set[int]:
    return {pid for pid, entry in guardian.processes().items() if entry.state not in "ZX"}


@BOTH
async def test_when_a_cancellation_is_through_nothing_is_left(guarded: bool) -> None:
    heard = Heard()
    async with cancelled_run("setsid sleep 60 & echo pids $$ $!; wait", heard, guarded):
        pids = set(map(int, (await heard.line("pids")).split()))
        assert pids <= living()
    assert not pids & living()


@BOTH
async def test_cancelled_at_any_moment_of_its_start_nothing_is_left(guarded: bool) -> None:
    before = open_descriptors()
    for turns in range(12):
        work = run(["sleep", "61.5"], cwd=None, env=ENV, timeout=60, guarded=guarded, stdin=b"x")
        task = asyncio.create_task(work)
        for _ in range(turns):
            await pause(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not [pid for pid in living() if "61.5" in command_line(pid)]
    assert open_descriptors() == before


@BOTH
async def test_told_to_end_it_may_say_goodbye(guarded: bool) -> None:
    heard = Heard()
    script = "trap 'echo goodbye; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    async with await spawn(
        ["sh", "-c", script], cwd=None, env=ENV, output=heard, guarded=guarded, grace=SOON
    ) as running:
        await heard.line("ready")
        assert running.exit_code is None
        assert await running.terminate(SOON) == 7
    assert "goodbye" in heard.lines


@BOTH
async def test_who_does_not_listen_is_killed_after_the_grace(guarded: bool) -> None:
    heard = Heard()
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    running = await spawn(["sh", "-c", script], cwd=None, env=ENV, output=heard, guarded=guarded, grace=60)
    await heard.line("ready")
    assert await running.terminate(0.1) == 128 + signal.SIGKILL
    assert running.exit_code == 128 + signal.SIGKILL
    assert await running.kill_tree() == 128 + signal.SIGKILL


async def test_an_output_that_a_daemon_holds_open_holds_up_nobody() -> None:
    done = await run([sys.executable, "-c", DAEMON], cwd=None, env=ENV, timeout=SOON)
    daemon = int(done.stdout.split()[1])
    assert daemon in living()  # the plain strength promises no more
    os.kill(daemon, signal.SIGKILL)
    await gone(daemon)


async def test_a_guarded_daemon_is_gone_when_the_command_is() -> None:
    done = await run([sys.executable, "-c", DAEMON], cwd=None, env=ENV, timeout=SOON, guarded=True)
    assert done.exit_code == 0
    assert int(done.stdout.split()[1]) not in living()


async def test_nothing_outlives_a_worker_that_is_killed() -> None:
    worker = f"""
import asyncio, sys
from agentvine.kit.process import run
script = {DAEMON!r} + "signal.pause()"
say = lambda stream, line: print(line, flush=True)
asyncio.run(run([sys.executable, "-c", script], cwd=None, env={{}}, timeout=60, guarded=True, on_line=say))
"""
    heard = Heard()
    env = {**ENV, "PYTHONPATH": str(Path(agentvine.__file__).parents[1])}
    running = await spawn([sys.executable, "-c", worker], cwd=None, env=env, output=heard)
    daemon, command = int(await heard.line("daemon")), int(await heard.line("command"))
    table = guardian.processes()
    watcher = table[command].parent
    assert table[watcher].parent == running.pid
    assert table[daemon].parent == watcher  # not init: the guardian is the reaper
    os.kill(running.pid, signal.SIGKILL)
    for pid in (daemon, command, watcher):
        await gone(pid)
    assert await running.wait() == 128 + signal.SIGKILL


async def test_a_command_that_shoots_at_its_own_group_does_not_hit_its_guardian() -> None:
    done = await sh("setsid sleep 60 & echo $!; kill -KILL 0", guarded=True)
    assert done.exit_code == 128 + signal.SIGKILL
    assert int(done.stdout) not in living()


async def test_a_command_dies_with_its_guardian() -> None:
    heard = Heard()
    async with await spawn(
        ["sh", "-c", "echo pid $$; exec sleep 60"], cwd=None, env=ENV, output=heard, guarded=True
    ) as it:
        command = int(await heard.line("pid"))
        os.kill(it.pid, signal.SIGKILL)
        await gone(command)
        assert command not in living()


async def test_a_guardian_whose_parent_is_dead_already_starts_nothing(tmp_path: Path) -> None:
    done = await run(guarded_argv(["touch", str(tmp_path / "made")], parent=1), cwd=None, env=ENV, timeout=SOON)
    assert done.exit_code == 128 + signal.SIGTERM
    assert not (tmp_path / "made").exists()


async def test_a_guardian_says_what_it_could_not_start() -> None:
    for name, code in (("no-such-program-anywhere", 127), ("/", 126)):
        done = await run(guarded_argv([name]), cwd=None, env=ENV, timeout=SOON)
        assert done.exit_code == code
        assert done.stderr.startswith(name)
    assert (await run([*guarded_argv([])], cwd=None, env=ENV, timeout=SOON)).exit_code == 125


@BOTH
async def test_descriptors_are_passed_on_and_others_are_not(guarded: bool) -> None:
    reading, writing = os.pipe()
    other = os.dup(writing)
    os.set_inheritable(other, True)
    try:
        script = f"echo through >&{writing}; echo leak 2>/dev/null >&{other} || echo closed"
        done = await run(["bash", "-c", script], cwd=None, env=ENV, timeout=SOON, guarded=guarded, pass_fds=[writing])
        assert done.stdout == "closed\n"
        assert os.read(reading, 100) == b"through\n"
    finally:
        for descriptor in (reading, writing, other):
            os.close(descriptor)


@BOTH
def test_all_of_it_holds_under_uvloop_too(guarded: bool) -> None:
    """Its subprocesses leak descriptors and its pipes close twice, so nothing here may lean on an event loop's own."""

    async def scenario() -> str:
        await test_exit_codes_and_both_outputs_come_back(guarded)
        await test_a_timeout_kills_the_tree_and_keeps_what_was_said(guarded)
        await test_cancelled_at_any_moment_of_its_start_nothing_is_left(guarded)
        await test_told_to_end_it_may_say_goodbye(guarded)
        await test_descriptors_are_passed_on_and_others_are_not(guarded)
        return type(asyncio.get_running_loop()).__module__

    assert uvloop.run(scenario()) == "uvloop"


async def test_a_long_lived_process_appends_to_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for word in ("one", "two"):
        async with await spawn(["sh", "-c", f"echo {word}; echo err >&2"], cwd=None, env=ENV, output=log) as running:
            assert await running.wait() == 0
    assert log.read_text() == "one\nerr\ntwo\nerr\n"
    assert log.stat().st_mode & 0o777 == 0o600


async def test_leaving_the_block_ends_a_long_lived_process() -> None:
    async with await spawn(["sleep", "60"], cwd=None, env=ENV) as running:
        assert running.pid in living()
    assert running.pid not in living()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_no_descriptor_is_left_open() -> None:
    await sh("true")
    before = open_descriptors()
    await sh("true", stdin=b"x")
    await sh("true", guarded=True)
    with pytest.raises(ProcessNotFound):
        await run(["no-such-program-anywhere"], cwd=None, env=ENV, timeout=SOON)
    assert open_descriptors() == before
