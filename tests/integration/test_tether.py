"""A tethered process ends, politely, with the one that started it."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from agentvine.kit.doorbell import pause
from agentvine.kit.process import spawn

CHILD = """
import os, signal, sys, time
from agentvine.kit.tether import tie_to_parent
def leave(*_):
    open(sys.argv[2], "w").write("left")
    os._exit(0)
signal.signal(signal.SIGTERM, leave)
tie_to_parent(int(sys.argv[1]))
open(sys.argv[3], "w").write(str(os.getpid()))
time.sleep(60)
"""

PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid()), *sys.argv[2:]], start_new_session=True)
time.sleep(60)
"""


async def _written(path: Path) -> str:
    async with asyncio.timeout(60):
        while not path.exists() or not path.read_text():
            await pause(0.01)
    return path.read_text()


async def test_a_child_gets_sigterm_when_its_parent_is_killed(tmp_path: Path) -> None:
    left, ready = tmp_path / "left", tmp_path / "ready"
    argv = [sys.executable, "-c", PARENT, CHILD, str(left), str(ready)]
    async with await spawn(argv, cwd=tmp_path, env={"PATH": os.defpath}) as parent:
        child = int(await _written(ready))
        parent.tell(signal.SIGKILL)
        assert await _written(left) == "left"
    async with asyncio.timeout(60):
        while Path(f"/proc/{child}").exists():
            await pause(0.01)


async def test_a_child_whose_parent_is_gone_already_ends_at_once(tmp_path: Path) -> None:
    left, ready = tmp_path / "left", tmp_path / "ready"
    argv = [sys.executable, "-c", CHILD, "1", str(left), str(ready)]
    async with await spawn(argv, cwd=tmp_path, env={"PATH": os.defpath}) as child:
        async with asyncio.timeout(60):
            assert await child.wait() == 0
    assert left.read_text() == "left"
