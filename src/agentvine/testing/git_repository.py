"""Real git repositories for tests: made in a few lines, the same each time (fixed dates and names)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from agentvine.kit.process import SYSTEM_PATH, run

ENV = {
    "PATH": SYSTEM_PATH,
    "HOME": "/nonexistent",
    "LANG": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_AUTHOR_DATE": "1700000000 +0100",
    "GIT_COMMITTER_NAME": "Carl",
    "GIT_COMMITTER_EMAIL": "carl@example.org",
    "GIT_COMMITTER_DATE": "1700000100 +0100",
}


class GitRepository:
    """A repository with a work tree at `path`, on branch `main`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    async def create(cls, path: Path, files: Mapping[str, str | bytes] | None = None) -> Self:
        """A new one, with `files` as its first commit; without files it is empty."""
        made = cls(path)
        _folder(path)
        await made.git("init", "--quiet", "--initial-branch=main")
        if files:
            await made.commit(files, "feat: begin")
        return made

    async def git(self, *args: str, stdin: bytes | None = None) -> str:
        """Run git there; its output without white space around it. Raises AssertionError if it fails."""
        return (await git(*args, cwd=self.path, stdin=stdin)).strip()

    async def commit(self, files: Mapping[str, str | bytes | None], message: str = "feat: change") -> str:
        """Write (None: remove) files and commit everything. Returns the new commit."""
        for name, content in files.items():
            _write(self.path / name, content)
        await self.git("add", "--all")
        await self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return await self.head()

    async def head(self) -> str:
        """The current commit."""
        return await self.git("rev-parse", "HEAD")

    async def bare_copy(self, path: Path) -> Path:
        """A bare clone of it at `path`, to serve as a remote."""
        await git("clone", "--quiet", "--bare", str(self.path), str(path), cwd=self.path)
        return path


def _folder(path: Path) -> None:
    path.mkdir(parents=True)


def _write(path: Path, content: str | bytes | None) -> None:
    if content is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


async def git(*args: str, cwd: Path, stdin: bytes | None = None) -> str:
    """Run git in a folder; its output. Raises AssertionError, with what it said, if it fails."""
    done = await run(["git", *args], cwd=cwd, env=ENV, stdin=stdin, timeout=60)
    if done.exit_code != 0:
        raise AssertionError(f"git {' '.join(args)}: {done.stderr}")
    return done.stdout
