"""Boxes for tests: the sandbox that a worker has by default."""

from agentvine.worker.box import Boxes
from agentvine.worker.confinement import sandbox_here
from agentvine.worker.sandbox.base import Sandbox
from agentvine.worker.sandbox.limits import Limits
from agentvine.worker.settings import SandboxKind, SandboxSettings
from agentvine.worker.toolchain import Toolchain

_TRIED: dict[SandboxKind, Sandbox] = {}
"""What was found to work here: once is enough for a process."""


async def boxes_here(kind: SandboxKind = SandboxKind.BUBBLEWRAP, limits: Limits | None = None) -> Boxes:
    """Boxes as a worker on this machine makes them. Raises SandboxUnavailable, which says what to change."""
    toolchain = Toolchain.of_this_worker()
    if kind not in _TRIED:
        _TRIED[kind] = await sandbox_here(SandboxSettings.load({}, sandbox=kind), toolchain)
    return Boxes(_TRIED[kind], toolchain.environment(), limits or Limits())
