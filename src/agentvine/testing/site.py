"""A server to test against: all its parts but HTTP, with a clock that stands still."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

from agentvine.domain.key import Role, Scope
from agentvine.server.bells import Bells
from agentvine.server.controller import PolicyInForce
from agentvine.server.front_desk import FrontDeskService
from agentvine.server.keyring import KeyRing
from agentvine.server.reaper import Reaper
from agentvine.server.terms import Terms
from agentvine.server.worker_desk import ControlPlaneService
from agentvine.store.artifacts import ArtifactFolder
from agentvine.store.database import Database
from agentvine.store.engine import open_database
from agentvine.testing.clock import ManualClock
from agentvine.wire import administration as adm
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.front_desk import FrontDesk

WORKER = Scope(role=Role.WORKER)
ADMIN = Scope(role=Role.ADMIN)
_LONG = 60.0
"""Seconds from which on time passes in as few rounds of the reaper as are no pause of the server."""


class Site(Protocol):
    """What the conformance suite needs of a server, however it is spoken to."""

    @property
    def clock(self) -> ManualClock:
        """The server's clock."""
        ...

    @property
    def terms(self) -> Terms:
        """The server's terms."""
        ...

    async def worker_plane(self, scope: Scope = WORKER) -> ControlPlane:
        """The worker's side, with a new key of this scope."""
        ...

    async def worker_planes(self, number: int) -> Sequence[ControlPlane]:
        """The worker's side so many times, all with the same new key."""
        ...

    async def front_desk(self, scope: Scope = ADMIN) -> FrontDesk:
        """The people's side, with a new key of this scope."""
        ...

    async def pass_time(self, seconds: float) -> None:
        """Let time pass as it does for a server that runs: the reaper makes its rounds meanwhile."""
        ...


@dataclass(frozen=True)
class InProcessSite:
    """A `Site` that is called directly. Its parts are there for whoever builds on them."""

    clock: ManualClock
    terms: Terms
    database: Database
    bells: Bells
    keyring: KeyRing
    control: ControlPlaneService
    desk: FrontDeskService
    reaper: Reaper
    policy: PolicyInForce

    async def secret(self, scope: Scope) -> str:
        """The secret of a new key."""
        created = await self.keyring.create(adm.NewKey(name=f"test {scope.role}", scope=scope), "server")
        return created.secret

    async def worker_plane(self, scope: Scope = WORKER) -> ControlPlane:
        return self.control.acting_as(await self.keyring.identify(await self.secret(scope)))

    async def worker_planes(self, number: int) -> Sequence[ControlPlane]:
        key = await self.keyring.identify(await self.secret(WORKER))
        return [self.control.acting_as(key) for _ in range(number)]

    async def front_desk(self, scope: Scope = ADMIN) -> FrontDesk:
        return self.desk.acting_as(await self.keyring.identify(await self.secret(scope)))

    async def pass_time(self, seconds: float) -> None:
        left, apart = seconds, self.terms.reaper_interval
        if seconds > _LONG:
            apart = max(apart, self.terms.trusted_pause)
        while left > 0:
            step = min(left, apart)
            self.clock.advance(step)
            await self.reaper.sweep()
            left -= step


@asynccontextmanager
async def in_process_site(
    url: str, folder: Path, terms: Terms = Terms(), clock: ManualClock | None = None, policy: Path | None = None
) -> AsyncIterator[InProcessSite]:
    """A server on the database at `url`, which was migrated, with artifacts in `folder`. No loop of it runs."""
    clock = clock or ManualClock()
    database = open_database(url)
    try:
        bells = Bells()
        keyring = KeyRing(database, clock)
        in_force = PolicyInForce(policy)
        control = ControlPlaneService(
            database=database,
            clock=clock,
            bells=bells,
            terms=terms,
            artifacts=ArtifactFolder(folder / "artifacts"),
            random=Random(7),  # jitter, the same each time
            policy=in_force,
        )
        desk = FrontDeskService(control, keyring)
        site = InProcessSite(clock, terms, database, bells, keyring, control, desk, Reaper(control), in_force)
        await site.reaper.sweep()
        yield site
    finally:
        await database.close()
