"""Makes the demo's repository: a small Python package with a history, a bug, missing tests and hardly any docs."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from agentvine.kit.process import run

BRANCH = "main"
_GIT_SECONDS = 30.0


class DemoFailed(Exception):
    """The demo could not go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Git:
    """git with an environment of its own: no configuration, hook or credential of the user's comes in.

    `search_path` is the PATH in which git is found; `home` an existing, empty directory.
    """

    search_path: str
    home: Path

    async def __call__(self, *arguments: str, cwd: Path, more: Mapping[str, str] | None = None) -> str:
        """Run `git arguments…` in `cwd`; returns what it printed. Raises DemoFailed with its words."""
        environment = {
            "PATH": self.search_path,
            "HOME": str(self.home),
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "LANG": "C.UTF-8",
            **(more or {}),
        }
        done = await run(["git", *arguments], cwd=cwd, env=environment, timeout=_GIT_SECONDS)
        if done.exit_code:
            raise DemoFailed(f"git {arguments[0]} failed: {done.stderr.strip()[-500:]}")
        return done.stdout


async def make_remote(where: Path, git: Git) -> str:
    """Make the bare repository `where`/purse.git, with all commits of `data/repository.toml` on `main`.

    Returns its `file://` URL. The commits' shas are the same every time.
    """
    tree, remote = where / "purse", where / "purse.git"
    tree.mkdir(parents=True)
    await git("init", "--quiet", f"--initial-branch={BRANCH}", cwd=tree)
    story = tomllib.loads(files("agentvine.demo").joinpath("data/repository.toml").read_text(encoding="utf-8"))
    for commit in story["commit"]:
        await _commit(tree, commit, git)
    await git("clone", "--quiet", "--bare", "--", str(tree), str(remote), cwd=where)
    return remote.as_uri()


async def _commit(tree: Path, commit: Mapping[str, object], git: Git) -> None:
    contents = commit["files"]
    assert isinstance(contents, dict)  # noqa: S101 - our own data file
    for name, content in contents.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    name, _, address = str(commit["author"]).rstrip(">").partition(" <")
    date = str(commit["date"])
    who = {
        f"GIT_{role}_{part}": value
        for role in ("AUTHOR", "COMMITTER")
        for part, value in (("NAME", name), ("EMAIL", address), ("DATE", date))
    }
    await git("add", "--all", cwd=tree)
    await git("commit", "--quiet", "--no-gpg-sign", "-m", str(commit["message"]), cwd=tree, more=who)
