"""The port: a box in which commands of one execution run, and what has to be said to get one.

`Sandbox.box` opens a box for one workspace; leaving it ends everything that ran there. `Box.run` runs a command to its
end, `Box.launch` makes the agent's own process ready, which somebody else will start. Two implementations:
`bubblewrap.Bubblewrap`, and `unconfined.Unconfined`, which confines nothing and says so.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from agentvine.domain.execution import Usage
from agentvine.kit.process import Completed
from agentvine.worker.sandbox.limits import Breach, Limits


class Way(StrEnum):
    """The two ways out of a box."""

    PROXY = "proxy"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class EgressRecord:
    """One attempt to reach something outside, and what became of it."""

    at: datetime
    way: Way
    target: str
    """host:port for the proxy, method and path for the model; as asked for, control characters escaped."""
    allowed: bool
    reason: str = ""
    """Why it was refused, or why an allowed one failed."""
    bytes_out: int = 0
    bytes_in: int = 0


MODEL_URL = "https://api.anthropic.com"
"""The Messages API of Anthropic, and Claude Code's default."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """The model behind the gateway. The key never goes inside."""

    base_url: str = MODEL_URL
    api_key: str | None = field(default=None, repr=False)
    budget_usd: float = 5.0
    """What all runs in the box may spend together."""
    server_tools: bool = False
    """True: let the model's side fetch from the internet (web search and the like) on the agent's behalf."""


OWN_VARIABLES = frozenset({"HOME", "TMPDIR", "CLAUDE_CODE_TMPDIR", "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"})
"""What a box sets for the agent itself, whatever `Box.launch` is given."""


def ignore_record(record: EgressRecord) -> None:
    """The default: nobody wants to know."""


def ignore_usage(usage: Usage) -> None:
    """The default: nobody wants to know."""


@dataclass(frozen=True, slots=True)
class BoxSpec:
    """What one execution needs of its box.

    `workspace` and `private` are directories of this execution alone; `private` is the worker's, mode 0700, and never
    seen inside. `record` and `meter` are called in the event loop and must not raise.
    """

    workspace: Path
    private: Path
    limits: Limits = field(default_factory=Limits)
    writable: bool = True
    """Whether the workspace may be written to."""
    readable: tuple[Path, ...] = ()
    """More of the host that is seen inside, at its own path, read-only (a mirror, a prepared environment)."""
    hosts: tuple[str, ...] = ()
    """Allowed destinations as `host:port`; a host may begin with `*.`. See targets.py."""
    upstream: Upstream | None = None
    record: Callable[[EgressRecord], None] = ignore_record
    meter: Callable[[Usage], None] = ignore_usage
    """Told the total of the box so far, whenever it grows."""


class Launch(Protocol):
    """A process of the agent in the box, to be started once, by anybody, from the event loop's thread."""

    @property
    def argv(self) -> Sequence[str]:
        """What is started; it runs beneath a guardian, whose parent has to be this process. Words may be added.

        Its standard streams have to be pipes: a file would be open to whatever runs inside.
        """
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """The whole environment that `argv` is started with."""
        ...

    async def close(self) -> None:
        """End the process if it still runs, and serve it no longer."""
        ...


class Box(Protocol):
    """One execution's place to run things. No process outlives a `run`, a `launch` or the box."""

    @property
    def breach(self) -> Breach | None:
        """The limit that was gone over, for which what ran here was ended; look at it when a launched process ends."""
        ...

    @property
    def usage(self) -> Usage | None:
        """What the gateway has metered so far; None if there is no gateway."""
        ...

    @property
    def seen_at(self) -> Path:
        """Where the workspace is seen inside."""
        ...

    async def adopt(self) -> None:
        """Hand what the worker has written into the workspace over to the box; call it while nothing runs there."""
        ...

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        timeout: float,
        env: Mapping[str, str] | None = None,
        network: bool = False,
        output_limit: int = 1_000_000,
    ) -> Completed:
        """Run a command in `cwd`, a directory of the workspace as the host names it, and wait for its end.

        `env` is added to the box's own; a PATH in it goes in front of the box's. `network` True: the allowed hosts can
        be reached through the proxy; the model never. HOME is empty at each run. Raises ValueError if `cwd` is
        elsewhere, LimitExceeded, and what kit.process.run raises.
        """
        ...

    def launch(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, kept: Mapping[Path, str] | None = None
    ) -> Launch:
        """Make ready to run `argv`, the agent, in the workspace, with proxy and model. Raises OSError.

        `env` is added as in `run`, but for what belongs to the box: HOME, TMPDIR, the model's address and key. `kept`
        are directories of the host that it can write to, and where they are seen. Leaving the box closes what was
        launched in it.
        """
        ...


class Sandbox(Protocol):
    """Opens boxes on this host."""

    @property
    def confinement(self) -> str:
        """How what runs in its boxes is confined, in one line, for the evidence."""
        ...

    def box(self, spec: BoxSpec) -> AbstractAsyncContextManager[Box]:
        """A box for one execution. Raises OSError if it cannot be made."""
        ...
