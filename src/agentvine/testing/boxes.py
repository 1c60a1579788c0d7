"""Boxes for tests: the sandbox that a worker has by default."""

from agentvine.worker.box import Boxes
from agentvine.worker.confinement import sandbox_here
from agentvine.worker.sandbox.limits import Limits
from agentvine.worker.settings import SandboxKind, SandboxSettings
from agentvine.worker.toolchain import Toolchain


async def boxes_here(kind: SandboxKind = SandboxKind.BUBBLEWRAP, limits: Limits | None = None) -> Boxes:
    """Boxes as a worker on this machine makes them. Raises SandboxUnavailable, which says what to change."""
    toolchain = Toolchain.of_this_worker()
    sandbox = await sandbox_here(SandboxSettings.load({}, sandbox=kind), toolchain)
    return Boxes(sandbox, toolchain.environment(), limits or Limits())
