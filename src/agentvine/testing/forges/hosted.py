"""A forge that is played, and the git server whose repository it shows: for its branches they are one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from agentvine.testing.forges.gitea import GiteaServer
from agentvine.testing.forges.world import NAME, OWNER, SECRET, World
from agentvine.testing.git_server import GitServer


class Branches(dict[str, str]):
    """Those of a bare repository, as they are when they are asked for."""

    def __init__(self, remote: Path) -> None:
        super().__init__()
        self._remote = remote

    def _all(self) -> dict[str, str]:
        packed = self._remote / "packed-refs"
        lines = packed.read_text().splitlines() if packed.exists() else []
        found = {name.removeprefix("refs/heads/"): sha for sha, _, name in (line.partition(" ") for line in lines)}
        heads = self._remote / "refs" / "heads"
        loose = {
            str(file.relative_to(heads)): file.read_text().strip()
            for file in heads.rglob("*")
            if file.is_file() and file.suffix != ".lock"
        }
        return found | loose

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        return self._all().get(name, default)


@dataclass(frozen=True, slots=True)
class Hosted:
    """A repository on a forge."""

    forge: GiteaServer
    git: GitServer
    url: str
    """Of the repository, as tasks name it."""

    def file(self) -> str:
        """What an operator writes into the file of forges."""
        at = self.git.url("").rstrip("/")
        return f'[[forge]]\nkind = "gitea"\nurl = "{at}"\napi = "{self.forge.url}/api/v1"\n'


@asynccontextmanager
async def hosted(served: Path, remote: Path) -> AsyncIterator[Hosted]:
    """The bare repository `remote` on a forge, for whoever shows `SECRET`. `served` is a folder for the git server."""
    (served / OWNER).mkdir(parents=True)
    (served / OWNER / f"{NAME}.git").symlink_to(remote)
    world = World()
    world.branches = Branches(remote)
    async with GitServer(served, password=SECRET) as git, GiteaServer(world) as forge:
        yield Hosted(forge, git, git.url(f"{OWNER}/{NAME}.git"))
