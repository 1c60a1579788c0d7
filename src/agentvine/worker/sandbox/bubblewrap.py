"""Boxes made by bubblewrap, as `profile.py` describes them.

Each command is a chain of processes, every one the parent of the next and gone with it: a guardian, which lets nothing
get away and dies with the worker; front.py, which becomes bwrap; bwrap's own first process inside; launcher.py, which
becomes the command. The guardian has ended only when the namespace of the box is empty.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from agentvine.domain.execution import Usage
from agentvine.kit import process
from agentvine.kit.clock import Clock, SystemClock
from agentvine.kit.process import SYSTEM_PATH, Completed, ProcessNotFound, ProcessTimeout, guarded_argv
from agentvine.worker.sandbox import launcher, profile
from agentvine.worker.sandbox.base import OWN_VARIABLES, Box, BoxSpec, Launch
from agentvine.worker.sandbox.cgroup import ControlGroups, Group
from agentvine.worker.sandbox.egress import Proxy
from agentvine.worker.sandbox.host import (
    Problem,
    Program,
    SandboxUnavailable,
    Users,
    describe,
    explain,
    find_bubblewrap,
    machine,
    make_folders,
)
from agentvine.worker.sandbox.limits import Breach, Enforcement, Limit, LimitExceeded, enforcement
from agentvine.worker.sandbox.model_gateway import ModelGateway
from agentvine.worker.sandbox.ownership import adopt
from agentvine.worker.sandbox.profile import Record, Room, System
from agentvine.worker.sandbox.seccomp import filter_program
from agentvine.worker.sandbox.session import Session
from agentvine.worker.sandbox.targets import AllowList
from agentvine.worker.sandbox.watch import Watch

_CHECK_SECONDS = 30.0


class BoxFailed(OSError):
    """The box could not be made, and the command was never started. The message is what the maker said."""


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """Implements `Sandbox`. `users` matters only to root, who must not run anything inside as himself."""

    program: Program
    system: System
    filter: bytes
    groups: ControlGroups = field(default_factory=lambda: ControlGroups(()))
    users: Users = field(default_factory=Users)
    clock: Clock = field(default_factory=SystemClock)

    @classmethod
    async def on_this_host(
        cls,
        *,
        agent: Path | None = None,
        configured: Path | None = None,
        path: str = SYSTEM_PATH,
        tools: Iterable[Path] = (),
        users: Users | None = None,
    ) -> "Bubblewrap":
        """Look for what is there; `check` tells whether it works.

        `agent` is the agent's program, `configured` a bwrap to take, `path` where git and node are looked for, `tools`
        more directories to show. Raises SandboxUnavailable.
        """
        program = await find_bubblewrap(configured, path)
        try:
            system, program_text = describe(agent, path, tools), filter_program(machine())
        except ValueError as error:
            raise SandboxUnavailable([Problem(str(error), "install it in a directory of its own")]) from error
        return cls(program, system, program_text, ControlGroups.of_this_process(), users or Users())

    @property
    def confinement(self) -> str:
        """As in `Sandbox`."""
        who = "an ordinary user of the box's own" if os.geteuid() == 0 else "the worker's user"
        return f"bubblewrap with system call filter, as {who}; {self.enforcement()}"

    async def check(self) -> list[Problem]:
        """Try it out. Empty if boxes work here; else what is wrong, and what to change."""
        with TemporaryDirectory(prefix="agentvine-check-") as folder:
            workspace, private = make_folders(Path(folder), "workspace", "private")
            command = [str(self.system.interpreter), "-I", "-S", "-c", "open('written', 'w').write('yes')"]
            try:
                async with self.box(BoxSpec(workspace, private)) as box:
                    done = await box.run(command, cwd=workspace, timeout=_CHECK_SECONDS)
            except (BoxFailed, ProcessTimeout) as error:
                return [explain(str(error), self.program.path)]
            return [] if done.exit_code == 0 else [explain(done.stderr, self.program.path)]

    @asynccontextmanager
    async def box(self, spec: BoxSpec) -> AsyncIterator[Box]:
        """As in `Sandbox`. Raises OSError, InvalidTarget (for `spec.hosts`)."""
        group = self.groups.group(spec.limits)
        gateway = None
        if spec.upstream is not None:
            gateway = ModelGateway(spec.upstream, record=spec.record, meter=spec.meter, clock=self.clock)
        user = self.users.of(str(spec.private)) if os.geteuid() == 0 else None
        box = _Box(self, spec, user, group, gateway, Proxy(AllowList(spec.hosts), spec.record, self.clock))
        try:
            await box.adopt()
            yield box
        finally:
            await box.close()
            if gateway is not None:
                await gateway.close()
            if group is not None:
                await group.close()

    def enforcement(self) -> Enforcement:
        """How well limits are kept here."""
        return enforcement(self.groups.controllers, self.groups.means)


class _Box:
    """Implements `Box`."""

    def __init__(
        self,
        host: Bubblewrap,
        spec: BoxSpec,
        user: int | None,
        group: Group | None,
        gateway: ModelGateway | None,
        proxy: Proxy,
    ) -> None:
        self._host = host
        self._spec = spec
        self._user = user
        self._group = group
        self._gateway = gateway
        self._proxy = proxy
        self._open: list[Session] = []
        self._breach: Breach | None = None

    @property
    def breach(self) -> Breach | None:
        seen = [self._breach, *(session.breach for session in self._open)]
        if not any(seen) and self._group is not None:  # the kernel may have counted it in the last moment
            seen.append(self._group.breach(self._spec.limits))
        self._breach = next(filter(None, seen), None)
        return self._breach

    @property
    def usage(self) -> Usage | None:
        return self._gateway.usage if self._gateway is not None else None

    @property
    def seen_at(self) -> Path:
        return Path(profile.WORKSPACE)

    async def adopt(self) -> None:
        await asyncio.to_thread(adopt, self._spec.workspace, self._user)

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
        where = self._inside(cwd)
        room = self._room(env or {}, {}, proxy=network and bool(self._spec.hosts), model=False)
        session = self._session(argv, room, where)
        try:
            done = await process.run(
                session.argv,
                cwd=None,
                env={},
                timeout=timeout,
                output_limit=output_limit,
                guarded=True,
                on_output=_Flood(session, self._spec.limits.output_bytes),
            )
        except ProcessTimeout as error:
            self._raise_breach()
            raise ProcessTimeout(argv, timeout, replace(error.completed, argv=tuple(argv))) from None
        finally:
            await self.end(session)
        self._raise_breach()
        if session.absent is not None:
            raise ProcessNotFound(session.absent, argv)
        if not session.started:
            raise BoxFailed(done.stderr.strip() or f"the box ended with {done.exit_code} before it began")
        return replace(done, argv=tuple(argv))

    def launch(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, kept: Mapping[Path, str] | None = None
    ) -> Launch:
        """As in `Box`."""
        told = {name: value for name, value in (env or {}).items() if name not in OWN_VARIABLES}
        room = self._room(told, kept or {}, proxy=True, model=self._gateway is not None)
        session = self._session(argv, room, profile.WORKSPACE)
        return _Launch(tuple(guarded_argv(session.argv)), session, self)

    async def close(self) -> None:
        """End everything that still runs."""
        for session in [*self._open]:
            await self.end(session)

    async def end(self, session: Session) -> None:
        """End one command, if it has not ended yet."""
        if session in self._open:
            self._breach = self.breach
            self._open.remove(session)
            await session.close()

    def _inside(self, path: Path) -> str:
        relative = path.relative_to(self._spec.workspace)
        if not path.is_dir() or ".." in relative.parts:
            raise NotADirectoryError(str(path))
        return str(Path(profile.WORKSPACE, relative))

    def _room(self, env: Mapping[str, str], kept: Mapping[Path, str], *, proxy: bool, model: bool) -> Room:
        spec = self._spec
        if "PATH" in env:
            env = {**env, "PATH": ":".join([env["PATH"], *self._host.system.programs])}
        return Room(
            workspace=spec.workspace,
            limits=spec.limits,
            writable=spec.writable,
            readable=spec.readable,
            kept=kept,
            environment=env,
            proxy=proxy,
            model=model,
        )

    def _session(self, argv: Sequence[str], room: Room, where: str) -> Session:
        host = self._host
        doors = ((self._proxy, room.proxy), (self._gateway, room.model))
        services = [door for door, wanted in doors if wanted and door is not None]
        writable = [self._spec.workspace] if room.writable else []
        watch = Watch(self._spec.limits, self._group, host.groups.controllers, [*writable, *room.kept])
        session = Session(self._spec.private, watch, services)
        entrances = self._group.entrances if self._group is not None else []
        records: list[Record] = [
            ("bwrap", str(host.program.path)),
            *([] if host.program.libraries is None else [("libraries", str(host.program.libraries))]),
            ("home", str(host.program.home)),
            ("nice", str(_NICE)),
            ("reluctance", str(_RELUCTANCE)),
            *(("group", str(entrance)) for entrance in entrances),
            *([] if self._user is None else [("user", str(self._user))]),
            *(("own", str(path)) for path in room.kept),
            *profile.arguments(host.system, room, _LAUNCHER, session.place("filter"), where),
            *profile.command(host.system, room, argv),
        ]
        session.prepare(records, host.filter)
        self._open.append(session)
        return session

    def _raise_breach(self) -> None:
        if (breach := self.breach) is not None:
            raise LimitExceeded(breach)


@dataclass(frozen=True, slots=True)
class _Launch:
    """Implements `Launch`."""

    argv: Sequence[str]
    session: Session
    box: _Box
    environment: Mapping[str, str] = field(default_factory=dict)

    async def close(self) -> None:
        await self.box.end(self.session)


@dataclass(slots=True)
class _Flood:
    """Ends a box whose command writes without end."""

    session: Session
    left: int

    def __call__(self, size: int) -> None:
        self.left -= size
        if self.left < 0 and self.session.breach is None:
            self.session.end(Breach(Limit.OUTPUT, "it wrote more than it may to its outputs"))


_NICE = 5
_RELUCTANCE = 500
"""oom_score_adj: when the machine runs out of memory, a box goes before the worker does."""
_LAUNCHER = Path(launcher.__file__).read_text(encoding="utf-8")
