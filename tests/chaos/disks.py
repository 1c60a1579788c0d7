"""Small disks for a server and for a host's workers, which can be filled up and freed.

They are tmpfs mounts, made in a mount namespace that the whole run has for itself: nobody else sees them, and they end
with it. That takes root; without it a run has no such faults, and says so.
"""

import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from agentvine.kit.doorbell import pause
from agentvine.kit.process import run

FLAG = "--in-own-mounts"
"""What a run is told that has its own mount namespace already."""
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_CHUNK = 1 << 20


def have_own_mounts(module: str, arguments: Sequence[str]) -> bool:
    """Begin again in a mount namespace of one's own, if that can be had. True if this is one."""
    if FLAG in arguments:
        return True
    if os.geteuid() != 0:
        return False
    argv = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", module, *arguments, FLAG]
    with suppress(FileNotFoundError):
        os.execvp(argv[0], argv)
    return False


@asynccontextmanager
async def disks(where: Sequence[Path], megabytes: int = 64) -> AsyncIterator[None]:
    """One at each of these directories, which are made. Raises ProcessError."""
    mounted: list[Path] = []
    try:
        for disk in where:
            disk.mkdir(parents=True, exist_ok=True)
            await _carried_out("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(disk))
            mounted.append(disk)
        yield
    finally:
        for disk in mounted:
            await _carried_out("umount", "--lazy", str(disk))


async def fill(disk: Path, seconds: float) -> None:
    """No byte is free on it for so long."""
    filler = disk / "filler"
    try:
        with filler.open("ab", buffering=0) as file, suppress(OSError):
            for size in (_CHUNK, 512):
                with suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass
        await pause(seconds)
    finally:
        filler.unlink(missing_ok=True)


async def _carried_out(*argv: str) -> None:
    done = await run(list(argv), cwd=None, env=_ENVIRONMENT, timeout=20)
    assert done.exit_code == 0, done.stderr
