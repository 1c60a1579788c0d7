"""A repository with intake on, a worker that brings back what a test has it see, and one that works."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agentvine.domain.errand import ErrandResult, LookForWork, Say, WorkSeen
from agentvine.domain.forge import ForgeComment, IssueSeen, Said
from agentvine.domain.repository_settings import IntakeRules, RepositorySettings
from agentvine.domain.task import Task
from agentvine.domain.worker_types import TaskType
from agentvine.server.intake_teller import IntakeTeller
from agentvine.testing.cast import REPOSITORY, Hand, a_worker
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.wire.administration import NewRepository
from agentvine.wire.errands import ErrandClaim, GivenErrand
from agentvine.wire.front_desk import FrontDesk

RULES = IntakeRules(label="Agent", users=("Ann", "bob"), type=TaskType.TEST)
SETTINGS = RepositorySettings(repository=REPOSITORY, default_branch="main", intake=RULES)


@dataclass
class Stand:
    """A repository with intake on, a worker that brings back what the test has it see, and one that works."""

    site: InProcessSite
    desk: FrontDesk
    hand: Hand
    repository_id: str
    teller: IntakeTeller
    comments: list[ForgeComment] = field(default_factory=list)

    def comment(self, body: str, author: str = "ann", number: int = 0, **more: object) -> ForgeComment:
        values = {"id": f"c-{number or len(self.comments) + 1}", "author": author, "body": body}
        one = ForgeComment.model_validate({**values, "at": self.site.clock.now(), **more})
        self.comments.append(one)
        return one

    def issue(self, number: int = 7, **more: object) -> IssueSeen:
        values: dict[str, object] = {
            "number": number,
            "url": f"https://git.example/team/project/issues/{number}",
            "title": "Totals are wrong",
            "body": "They are off by one.",
            "author": "mallory",
            "at": self.site.clock.now(),
            "comments": tuple(self.comments),
        }
        return IssueSeen.model_validate({**values, **more})

    async def claim(self) -> GivenErrand | None:
        return await self.hand.plane.claim_errand(ErrandClaim(worker_id=self.hand.id))

    async def end(self, given: GivenErrand, **result: object) -> None:
        values = {"worker_id": self.hand.id, **result}
        await self.hand.plane.end_errand(given.id, ErrandResult.model_validate(values))

    async def look(self, *issues: IssueSeen) -> LookForWork:
        """The next look for work shows these; what else is due is said before."""
        self.site.clock.advance(400)
        while True:
            given = await self.claim()
            assert given is not None, "nobody looks for work"
            if isinstance(given.errand, LookForWork):
                await self.end(given, work=WorkSeen(issues=issues))
                return given.errand
            await self.end(given, said=Said(id="s-1", at=self.site.clock.now()))

    async def says(self) -> str:
        """What the status comment is to say anew; it is said then."""
        await self.teller.tell()
        told = ""
        while (given := await self.claim()) is not None and isinstance(given.errand, Say):
            told += given.errand.text
            await self.end(given, said=Said(id="s-1", at=self.site.clock.now()))
        return told

    async def tasks(self) -> list[Task]:
        return sorted((await self.desk.tasks()).items, key=lambda task: task.id)


@asynccontextmanager
async def standing(database_url: str, folder: Path) -> AsyncIterator[Stand]:
    """A `Stand` on a fresh database."""
    async with in_process_site(database_url, folder) as site:
        desk, hand = await site.front_desk(), await a_worker(site)
        added = await desk.add_repository(NewRepository(settings=SETTINGS))
        teller = IntakeTeller(site.control.intake, site.database, site.clock)
        await teller.tell()
        yield Stand(site, desk, hand, added.repository.id, teller)
