"""What has to work in a box, and that all of it ends."""

import asyncio
import dataclasses
import os
import shutil
import signal
import sys
from pathlib import Path

import httpx
import pytest

import agentvine
from agentvine.kit.process import ProcessNotFound, run, spawn
from agentvine.worker.sandbox.bubblewrap import BoxFailed, Bubblewrap
from agentvine.worker.sandbox.cgroup import ControlGroups
from agentvine.worker.sandbox.host import Program
from tests.security.boxes import SOON, Place, left_of, place, python, sh, until

PROJECT = {
    "pyproject.toml": "[project]\nname = 'x'\nversion = '1'\n",
    "calc.py": "def add(a, b):\n    return a + b\n",
    "test_calc.py": "from calc import add\ndef test_add(tmp_path):\n    assert add(1, 2) == 3\n",
}
DAEMONS = """
for i in $(seq 20); do setsid sh -c 'trap "" TERM HUP; sleep 900' & done
(sh -c 'sleep 900 & disown' >/dev/null 2>&1 &)
echo ready
"""


@pytest.mark.parametrize(
    ("name", "script", "said"),
    [
        ("pytest", "python -m pytest -q -p no:cacheprovider", "1 passed"),
        ("git", "git init -q . && git add -A && git commit -qm x && git log --oneline | wc -l", "1"),
        ("venv", "python -m venv --without-pip v && v/bin/python -c 'import sys; print(sys.prefix)'", "/workspace/v"),
        (
            "sqlite",
            "python -c \"import sqlite3; c = sqlite3.connect('d'); print(c.execute('select 7').fetchone())\"",
            "7",
        ),
        ("processes", 'python -c "import multiprocessing as m; print(m.Pool(2).map(abs, [-5, 4]))"', "[5, 4]"),
        ("threads", "python -c \"import threading as t; x = t.Thread(target=print, args=('in',)); x.start()\"", "in"),
        ("a terminal", "python -c \"import pty; pty.spawn(['echo', 'seen'])\"", "seen"),
        ("scratch", "mktemp && echo $HOME && touch ~/x /tmp/x /dev/shm/x && echo fine", "fine"),
        ("a pipe", "echo a b c | tr ' ' '\\n' | sort -r | head -1", "c"),
        ("a shell", "bash -c 'cat <(echo from a descriptor)'", "from a descriptor"),
        ("who", "id -un && hostname", "agent\nagentvine"),
    ],
)
async def test_ordinary_work(name: str, script: str, said: str, sandbox: Bubblewrap, tmp_path: Path) -> None:
    where = place(tmp_path)
    for file, content in PROJECT.items():
        (where.workspace / file).write_text(content)
    async with sandbox.box(where.spec()) as box:
        done = await sh(box, where, script)
    assert done.exit_code == 0, done
    assert said in done.stdout, (name, done)


@pytest.mark.parametrize("tool", ["node", "gcc", "make"])
async def test_tools_of_this_host_work_if_it_has_them(tool: str, sandbox: Bubblewrap, tmp_path: Path) -> None:
    try:
        outside = await run([tool, "--version"], cwd=None, env={"PATH": os.defpath}, timeout=SOON)
    except ProcessNotFound:
        return
    where = place(tmp_path)
    async with sandbox.box(where.spec()) as box:
        inside = await box.run([tool, "--version"], cwd=where.workspace, timeout=SOON)
    assert inside.stdout == outside.stdout


async def test_a_server_and_its_client_meet_on_the_boxs_own_loopback(sandbox: Bubblewrap, tmp_path: Path) -> None:
    program = """
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
server.accept()[0].send(b"met")
print(client.recv(3))
"""
    where = place(tmp_path)
    async with sandbox.box(where.spec()) as box:
        done = await python(box, where, program)
    assert "met" in done.stdout


async def test_it_starts_where_it_is_told_with_what_it_is_given(sandbox: Bubblewrap, tmp_path: Path) -> None:
    where = place(tmp_path)
    (where.workspace / "web").mkdir()
    async with sandbox.box(where.spec()) as box:
        argv = ["sh", "-c", 'pwd; echo "$GIVEN"; echo "$1"', "sh", "a word; with $strange 'marks'"]
        done = await box.run(argv, cwd=where.workspace / "web", timeout=SOON, env={"GIVEN": "two\nlines"})
        assert done.stdout == "/workspace/web\ntwo\nlines\na word; with $strange 'marks'\n"
        assert list(done.argv) == argv
        for outside in (tmp_path, where.workspace / ".." / "private"):
            with pytest.raises((ValueError, NotADirectoryError)):
                await box.run(argv, cwd=outside, timeout=SOON)


async def test_nothing_is_open_but_the_standard_streams(sandbox: Bubblewrap, tmp_path: Path) -> None:
    where = place(tmp_path)
    async with sandbox.box(where.spec()) as box:
        done = await python(box, where, "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])")
    assert done.stdout == "[0, 1, 2]\n"


async def test_exit_codes_and_missing_programs(sandbox: Bubblewrap, tmp_path: Path) -> None:
    where = place(tmp_path)
    async with sandbox.box(where.spec()) as box:
        assert (await sh(box, where, "echo no >&2; exit 3")).exit_code == 3
        assert (await sh(box, where, "kill -TERM $$")).exit_code == 128 + signal.SIGTERM
        with pytest.raises(ProcessNotFound, match="no-such-program"):
            await box.run(["no-such-program"], cwd=where.workspace, timeout=SOON)
        (where.workspace / "plain").write_text("not a program")
        with pytest.raises(ProcessNotFound, match="plain"):
            await box.run(["./plain"], cwd=where.workspace, timeout=SOON)


async def test_nothing_is_remembered_between_two_commands_but_the_workspace(
    sandbox: Bubblewrap, tmp_path: Path
) -> None:
    where = place(tmp_path)
    async with sandbox.box(where.spec()) as box:
        await sh(box, where, "touch kept ~/.gitconfig ~/planted /tmp/planted /dev/shm/planted")
        done = await sh(box, where, "find . ~ /tmp /dev/shm -xdev -type f")
    assert done.stdout.split() == ["./kept"]


async def test_a_workspace_can_be_shown_without_being_writable(sandbox: Bubblewrap, tmp_path: Path) -> None:
    where = place(tmp_path)
    (where.workspace / "code.py").write_text("x = 1\n")
    async with sandbox.box(where.spec(writable=False)) as box:
        done = await sh(box, where, "cat code.py; touch new || echo closed")
    assert done.stdout == "x = 1\nclosed\n"


async def test_more_of_the_host_can_be_shown_but_not_written(sandbox: Bubblewrap, tmp_path: Path) -> None:
    where, lent = place(tmp_path), tmp_path / "lent"
    lent.mkdir()
    (lent / "object").write_text("lent")
    for path in (lent, lent / "object"):  # anybody could write there, were it not closed
        path.chmod(0o777)
    async with sandbox.box(where.spec(readable=(lent,))) as box:
        done = await sh(box, where, f"cd {lent}; cat object; touch new || echo >> object || chmod 0 . || echo closed")
    assert done.stdout == "lentclosed\n"
    assert (lent / "object").read_text() == "lent"


async def test_a_file_with_a_second_name_outside_becomes_a_copy(sandbox: Bubblewrap, tmp_path: Path) -> None:
    where, mirrored = place(tmp_path), tmp_path / "object"
    mirrored.write_text("the mirror's")
    (where.workspace / "object").hardlink_to(mirrored)
    async with sandbox.box(where.spec()) as box:
        await sh(box, where, "chmod u+w object; echo spoiled > object")
    assert mirrored.read_text() == "the mirror's"
    assert (where.workspace / "object").read_text() == "spoiled\n"


async def test_daemons_end_with_the_command(sandbox: Bubblewrap, tmp_path: Path) -> None:
    where = place(tmp_path)
    async with sandbox.box(where.spec()) as box:
        done = await sh(box, where, DAEMONS)
        assert done.stdout == "ready\n"
        assert not left_of(where)


async def test_everything_ends_when_the_caller_is_cancelled(sandbox: Bubblewrap, tmp_path: Path) -> None:
    where = place(tmp_path)
    async with sandbox.box(where.spec()) as box:
        task = asyncio.create_task(sh(box, where, DAEMONS + "touch running; sleep 900"))
        await until((where.workspace / "running").exists)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not left_of(where)
    assert not list(where.private.iterdir())


WORKER = """
import asyncio, sys
from pathlib import Path
from agentvine.worker.sandbox.base import BoxSpec
from agentvine.worker.sandbox.bubblewrap import Bubblewrap

async def main(workspace, private):
    sandbox = await Bubblewrap.on_this_host()
    async with sandbox.box(BoxSpec(workspace, private)) as box:
        await box.run(["sh", "-c", "setsid sleep 900 & touch running; sleep 900"], cwd=workspace, timeout=900)

asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
"""


async def test_nothing_survives_a_worker_that_is_killed(tmp_path: Path) -> None:
    where = place(tmp_path)
    argv = [sys.executable, "-c", WORKER, str(where.workspace), str(where.private)]
    async with await spawn(argv, cwd=None, env={"PATH": os.defpath}) as worker:
        await until((where.workspace / "running").exists)
        assert left_of(where)
        os.kill(worker.pid, signal.SIGKILL)
        await until(lambda: not left_of(where))
    ControlGroups.of_this_process()  # the next worker on this host clears up
    assert not list(Path("/sys/fs/cgroup").glob(f"**/agentvine-{worker.pid}-*"))


async def test_a_box_that_cannot_be_made_says_why(sandbox: Bubblewrap, tmp_path: Path) -> None:
    where = place(tmp_path)
    async with sandbox.box(where.spec(readable=(tmp_path / "missing",))) as box:
        with pytest.raises(BoxFailed, match="missing"):
            await sh(box, where, "true")


CHECK = """
import asyncio, sys
sys.path[:0] = PATHS
from agentvine.worker.sandbox.bubblewrap import Bubblewrap

async def main():
    sandbox = await Bubblewrap.on_this_host()
    print(*await sandbox.check(), sep="\\n")

asyncio.run(main())
"""


async def test_where_no_box_can_be_made_the_check_says_what_to_change(sandbox: Bubblewrap, tmp_path: Path) -> None:
    """A box is such a place."""
    where, source = place(tmp_path), Path(agentvine.__file__).parents[1]
    packages = Path(httpx.__file__).parents[1]
    program = CHECK.replace("PATHS", repr([str(source), str(packages)]))
    async with sandbox.box(where.spec(readable=(source, packages))) as box:
        done = await python(box, where, program)
    assert "namespace" in done.stdout, done
    assert "max_user_namespaces" in done.stdout


async def test_boxes_stand_beside_one_another(sandbox: Bubblewrap, tmp_path: Path) -> None:
    places = [place(tmp_path, name) for name in ("one", "two", "three")]
    async with asyncio.TaskGroup() as tasks:
        for where in places:
            tasks.create_task(_writes_its_name(sandbox, where))
    assert [(where.workspace / "name").read_text() for where in places] == ["one\n", "two\n", "three\n"]


async def _writes_its_name(sandbox: Bubblewrap, where: Place) -> None:
    async with sandbox.box(where.spec()) as box:
        await sh(box, where, f"echo {where.workspace.parent.name} > name")


async def test_the_program_that_makes_boxes_cannot_be_changed_through_its_process(
    sandbox: Bubblewrap, tmp_path: Path
) -> None:
    """Its file may belong to the very user whom it confines."""
    where, home = place(tmp_path), tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    if sandbox.program.libraries is not None:
        shutil.copytree(sandbox.program.libraries, home / "libraries")
    libraries = home / "libraries" if sandbox.program.libraries is not None else None
    own = Program(Path(shutil.copy(sandbox.program.path, home / "bin")), home, libraries)
    before = own.path.stat()
    async with dataclasses.replace(sandbox, program=own).box(where.spec()) as box:
        done = await python(box, where, "import os\nos.chmod('/proc/1/exe', 0o4777)\nopen('/proc/1/exe', 'r+b')")
    after = own.path.stat()
    assert done.exit_code != 0
    assert (after.st_mode, after.st_ctime_ns) == (before.st_mode, before.st_ctime_ns)
