"""Which sandbox a worker has: the one that was asked for, or none at all and a reason. Never a weaker one instead."""

from agentvine.kit.logs import logger
from agentvine.worker.agent.claude import bundled_cli
from agentvine.worker.sandbox.base import Sandbox
from agentvine.worker.sandbox.bubblewrap import Bubblewrap
from agentvine.worker.sandbox.host import SandboxUnavailable, Users
from agentvine.worker.sandbox.unconfined import Unconfined
from agentvine.worker.settings import SandboxKind, SandboxSettings
from agentvine.worker.toolchain import Toolchain

WITHOUT = "agents run without a sandbox only where that is written out: --sandbox none, or SANDBOX=none"

_log = logger("sandbox")


async def sandbox_here(wanted: SandboxSettings, toolchain: Toolchain) -> Sandbox:
    """The sandbox of this host, tried out. Raises SandboxUnavailable, which says what to change."""
    if wanted.sandbox is SandboxKind.NONE:
        _log.warning("agents run without a sandbox, as this worker's user, with its files and its network")
        return Unconfined(toolchain.path)
    made = await Bubblewrap.on_this_host(
        agent=bundled_cli(),
        configured=wanted.sandbox_program,
        path=toolchain.path,
        tools=toolchain.directories,
        users=Users(first=wanted.sandbox_first_user),
    )
    if problems := await made.check():
        raise SandboxUnavailable(problems)
    return made
