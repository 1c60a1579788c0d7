"""One forge that is played, the worker's side of it, and what is asked of both."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from pydantic import SecretStr

from agentvine.domain.forge import ForgeKind
from agentvine.domain.git_credential import GitCredential
from agentvine.kit.backoff import Backoff
from agentvine.kit.clock import SystemClock
from agentvine.testing.forges.server import ForgeServer
from agentvine.testing.forges.world import NAME, OWNER, SECRET
from agentvine.worker.forge.base import Forge, Lookout, Proposal, Remark, Review
from agentvine.worker.forge.choice import Forges, Manner
from agentvine.worker.forge.sites import ForgeSite

_AT_ONCE = Backoff(first=0.001, most=0.2, factor=6)
HURRIED = Manner(patience=30.0, read_seconds=20.0, backoff=_AT_ONCE)
"""Tries again at once. The times are for a machine that is busy with other tests."""
IMPATIENT = replace(HURRIED, patience=0.1)
"""For what never comes to anything."""
DEAF = replace(HURRIED, read_seconds=0.3)
"""For answers that never come."""
BRANCH, HEAD = "agentvine/feature/0123-area", "a" * 40
ORDER = "wo_0123456789"


class OneToken:
    """Implements `Credentials`: the same token for everything."""

    async def of(self, url: str) -> GitCredential | None:
        return GitCredential(pattern=f"{url.rsplit('/', 1)[0]}/*", secret=SecretStr(SECRET))


@dataclass(frozen=True, slots=True)
class Played:
    """A kind of forge and how one is made."""

    kind: ForgeKind
    make: Callable[[], ForgeServer]

    @asynccontextmanager
    async def running(self, manner: Manner = HURRIED) -> AsyncIterator[tuple[ForgeServer, Forge]]:
        """A fresh server with our branch pushed, and the worker's side of it."""
        async with self.make() as server:
            server.world.branches[BRANCH] = HEAD
            yield server, await self.forge(server, manner)

    @asynccontextmanager
    async def watched(self, manner: Manner = HURRIED) -> AsyncIterator[tuple[ForgeServer, Lookout]]:
        """A fresh server with our branch pushed, and a lookout there."""
        async with self.make() as server:
            server.world.branches[BRANCH] = HEAD
            yield server, await self.lookout(server, manner)

    async def lookout(self, server: ForgeServer, manner: Manner = HURRIED, name: str = NAME) -> Lookout:
        """One for the repository called `name`."""
        site = ForgeSite(kind=self.kind, url=server.url, labels=())
        forges = Forges([site], OneToken(), SystemClock(), manner)
        lookout = await forges.lookout(f"{server.url}/{OWNER}/{name}.git")
        assert lookout is not None
        return lookout

    async def forge(self, server: ForgeServer, manner: Manner = HURRIED) -> Forge:
        """The worker's side."""
        site = ForgeSite(kind=self.kind, url=server.url, labels=())
        return await Forges([site], OneToken(), SystemClock(), manner).of(f"{server.url}/{OWNER}/{NAME}.git")


def a_proposal(**changes: object) -> Proposal:
    made = Proposal(
        repository=f"{OWNER}/{NAME}",
        branch=BRANCH,
        target="main",
        title="Area of a circle",
        text="It is computed with math.pi.",
        head_sha=HEAD,
        order=ORDER,
        labels=("agentvine",),
        reviewers=("mira",),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def a_review(**changes: object) -> Review:
    made = Review(
        repository=f"{OWNER}/{NAME}",
        branch=BRANCH,
        head_sha=HEAD,
        text="Some remarks.",
        remarks=(
            Remark("calc.py", 5, "Is this the end?"),
            Remark("doc/ä b.txt", 2, "Two is more than one."),
            Remark("calc.py", 99, "This line is not in the diff."),
            Remark("other.py", 1, "Nor is this file."),
        ),
        order=ORDER,
    )
    return replace(made, **changes)  # type: ignore[arg-type]
