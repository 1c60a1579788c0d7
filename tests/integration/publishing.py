"""A remote, an agent's clone of it that makes results, and a publisher between the two."""

from pathlib import Path

import pytest

from agentvine.domain.retry import FailureReason
from agentvine.testing.git_repository import GitRepository, git
from agentvine.worker.admission import Limits, ResultRefused
from agentvine.worker.git import Git
from agentvine.worker.mirror import Mirrors
from agentvine.worker.publisher import (
    Publisher,
)

LIMITS = Limits(bundle_bytes=1_000_000, file_bytes=10_000, commits=5, changes_bytes=100_000, memory_bytes=400_000_000)
EXECUTION = "exe_1"


class World:
    """A remote, an agent's clone of it that makes results, and a publisher."""

    def __init__(self, tmp_path: Path, agent: GitRepository, remote: Path, url: str, base: str) -> None:
        self.tmp_path = tmp_path
        self.agent = agent
        self.remote = remote
        self.base = base
        self.git = Git(tmp_path / "home")
        self.mirror = Mirrors(self.git, tmp_path / "mirrors").of(url)
        self.publisher = Publisher(self.git, tmp_path / "publisher", self.mirror, LIMITS)

    async def bundle(self, *revisions: str) -> bytes:
        """A bundle of the agent's commits after the base, or of what is asked for."""
        await self.agent.git("bundle", "create", "--quiet", "../b", *(revisions or (f"{self.base}..HEAD",)))
        return (self.tmp_path / "b").read_bytes()

    async def admit(self) -> str:
        return await self.publisher.admit(await self.bundle(), self.base, EXECUTION)

    async def signed(self) -> str:
        return await self.publisher.sign_off(
            await self.admit(), self.base, task_id="tsk_1", execution_id=EXECUTION, prefix="fix"
        )

    async def refusal(self) -> str:
        """Why the agent's present result is refused, which leaves nothing behind. Fails if it is taken in."""
        with pytest.raises(ResultRefused) as caught:
            await self.admit()
        assert caught.value.reason is FailureReason.RESULT_REFUSED
        assert await git("for-each-ref", cwd=self.publisher.repository.path) == ""
        assert not list((self.publisher.repository.path / "objects" / "pack").iterdir())
        return str(caught.value)

    async def look(self, *args: str) -> str:
        """Run git in the publisher's repository."""
        return (await git(f"--git-dir={self.publisher.repository.path}", *args, cwd=self.tmp_path)).strip()

    async def at_remote(self, branch: str) -> str:
        return (await git("rev-parse", f"refs/heads/{branch}", cwd=self.remote)).strip()

    async def pushed_by_others(self, files: dict[str, str | bytes | None], branch: str = "main") -> str:
        """A person's commit on top of the base, pushed to `branch` and fetched by the mirror."""
        person = GitRepository(self.tmp_path / f"person-{branch.replace('/', '-')}")
        await git("clone", "--quiet", str(self.remote), str(person.path), cwd=self.tmp_path)
        commit = await person.commit(files, "feat: meanwhile")
        await person.git("push", "--quiet", "--force", "origin", f"HEAD:{branch}")
        await self.mirror.update()
        return commit

    async def refs_of_remote(self) -> dict[str, str]:
        lines = (await git("for-each-ref", "--format=%(refname) %(objectname)", cwd=self.remote)).splitlines()
        return dict(line.split(" ") for line in lines)

    def hook(self, name: str, script: str) -> None:
        hook = self.remote / "hooks" / name
        hook.write_text(f"#!/bin/sh\n{script}\n")
        hook.chmod(0o755)


async def make_world(tmp_path: Path, url: str) -> World:
    agent = await GitRepository.create(tmp_path / "agent", {"a.txt": "1\n2\n3\n4\n5\n", "b.txt": "b\n"})
    base = await agent.commit({"a.txt": "one\n2\n3\n4\n5\n"}, "feat: second")
    remote = await agent.bare_copy(tmp_path / "remotes" / "app.git")
    world = World(tmp_path, agent, remote, url, base)
    await world.mirror.update()
    return world
