"""A Docker engine for one test: started by hand in namespaces of its own, and gone with everything that it started.

Its network namespace has no way out, its mount and process namespaces end with their first process: no container, mount
or interface can outlive it. What is left is a folder, and control groups without processes, which are removed.
"""

import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from agentvine.cli.settings import environment
from agentvine.kit.process import run, spawn
from tests.e2e.fleet import until

PATH = environment()["PATH"]
_UNSHARE = "unshare --net --mount --propagation private --pid --fork --kill-child --mount-proc sh -c"
_BEGIN = 'ip link set lo up && mount -t tmpfs tmpfs /run && exec dockerd "$@"'


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answers."""

    folder: Path

    async def __call__(self, *arguments: str, timeout: float = 120) -> str:
        """Run `docker arguments…`; returns what it printed. Fails with its words."""
        variables = {
            "PATH": PATH,
            "HOME": str(self.folder),
            "DOCKER_HOST": f"unix://{self.folder}/docker.sock",
            "DOCKER_BUILDKIT": "0",
        }
        done = await run(["docker", *arguments], cwd=self.folder, env=variables, timeout=timeout)
        assert done.exit_code == 0, f"docker {' '.join(arguments)[:300]}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout.strip() or (done.stderr.strip() if arguments[0] == "logs" else "")

    async def answers(self) -> bool:
        with contextlib.suppress(AssertionError):
            return bool(await self("version", "--format", "{{.Server.Version}}"))
        return False


@asynccontextmanager
async def running_engine() -> AsyncIterator[Engine]:
    """Start one, and leave nothing of it."""
    with TemporaryDirectory(prefix="agentvine-docker-", ignore_cleanup_errors=True) as place:
        folder, group = Path(place), f"agentvine-docker-{os.getpid()}"
        argv = [
            *[*_UNSHARE.split(), _BEGIN, "sh"],
            *["--host", f"unix://{folder}/docker.sock", "--pidfile", f"{folder}/pid"],
            *["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"],
            *["--bridge=none", "--iptables=false", "--ip6tables=false"],
            *["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{group}"],
        ]
        log = folder / "engine.log"
        engine = Engine(folder)
        process = await spawn(argv, cwd=folder, env={"PATH": PATH}, output=log, grace=1, guarded=True)
        try:

            async def ready() -> bool:
                assert process.exit_code is None, f"the engine did not start: {log.read_text()[-3000:]}"
                return await engine.answers()

            await until(ready, "the engine answers", 60)
            yield engine
        finally:
            await process.terminate(10)
            _remove_groups(group)
            shutil.rmtree(folder, ignore_errors=True)


def _remove_groups(name: str) -> None:
    """The engine's control groups, which are empty by now, of every hierarchy."""
    for top in Path("/sys/fs/cgroup").glob(f"**/{name}"):
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


def groups_left() -> list[Path]:
    """Control groups of engines of this process that are still there."""
    return list(Path("/sys/fs/cgroup").glob(f"**/agentvine-docker-{os.getpid()}"))
