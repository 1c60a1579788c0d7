"""The whole forge: its repository over HTTP, its API, and what happens there."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentvine.demo.forge.access import Access
from agentvine.demo.forge.activity import Activity
from agentvine.demo.forge.api import API
from agentvine.demo.forge.record import NAME, OWNER, Record
from agentvine.demo.forge.repository import BareRepository, GitOverHTTP
from agentvine.demo.forge.shapes import Shapes
from agentvine.demo.forge.webhooks import Webhooks
from agentvine.demo.repositories import Git
from agentvine.demo.serving import serving
from agentvine.kit.clock import SystemClock


@dataclass(frozen=True, slots=True)
class Forge:
    """A forge that runs at `url`. What people do there is done through `activity`."""

    url: str
    activity: Activity
    webhooks: Webhooks
    access: Access
    token: str = field(repr=False)

    @property
    def record(self) -> Record:
        """What it keeps."""
        return self.activity.record

    @property
    def repository_url(self) -> str:
        """The repository's address, as tasks and people name it."""
        return f"{self.url}/{OWNER}/{NAME}.git"

    def written(self) -> str:
        """All that stands there, as JSON: issues and pull requests, jobs, and how each webhook was answered."""
        shapes, record = self.activity.shapes, self.record
        told = {
            "issues": [shapes.whole(issue) for issue in record.issues.values()],
            "jobs": [shapes.job(job) for job in record.jobs],
            "webhooks": self.webhooks.delivered,
        }
        return json.dumps(told, indent=2)


@asynccontextmanager
async def running_forge(bare: Path, where: Path, git: Git, token: str) -> AsyncIterator[Forge]:
    """Serve the bare repository `bare` as `acme/purse` until the block ends; everything else is kept in `where`.

    Its checks are broken off when the block ends. What stood on the forge then is in `where`/record.json.
    """
    root, scratch = where / "repositories", where / "checks"
    (root / OWNER).mkdir(parents=True)
    scratch.mkdir()
    (root / OWNER / f"{NAME}.git").symlink_to(bare)
    access, webhooks = Access(token), Webhooks()
    activity = Activity(BareRepository(bare, scratch, git), webhooks, SystemClock(), git.search_path)
    app = _application(activity, GitOverHTTP(root, git.search_path, access, activity.pushed), access)
    async with serving(app) as url:
        activity.shapes = Shapes(url, activity.record)
        forge = Forge(url, activity, webhooks, access, token)
        try:
            yield forge
        finally:
            await activity.break_off()
            (where / "record.json").write_text(forge.written(), encoding="utf-8")


def _application(activity: Activity, git: GitOverHTTP, access: Access) -> Starlette:
    async def handle(request: Request) -> Response:
        return await git(request)

    repository = f"/{OWNER}/{NAME}.git/{{rest:path}}"
    return Starlette(routes=[*API(activity, access).routes(), Route(repository, handle, methods=["GET", "POST"])])
