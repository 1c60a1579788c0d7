"""The diff so far: what people see while something is asked, whatever the agent left in its repository."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from agentvine.domain.errors import LeaseLost, Unavailable
from agentvine.kit.process import Completed, run
from agentvine.testing.boxes import boxes_here
from agentvine.testing.git_repository import ENV, GitRepository, git
from agentvine.worker.access import Access
from agentvine.worker.draft import DRAFT, LIMIT, DraftFailed, Drafts, draft
from agentvine.worker.git import Git
from agentvine.worker.mirror import Mirrors
from agentvine.worker.workspace import Workspace


async def workspace(tmp_path: Path) -> Workspace:
    source = await GitRepository.create(
        tmp_path / "source", {"a.txt": "1\n", "b.txt": "b\n", "gone.txt": "x\n", ".gitignore": "*.log\n"}
    )
    base = await source.commit({})
    mirror = Mirrors(Git(tmp_path / "home"), tmp_path / "mirrors").of(f"file://{source.path}")
    await mirror.update()
    return await Workspace.prepare(mirror, base, "work", tmp_path / "repo")


async def outside(argv: Sequence[str], *, cwd: Path, timeout: float) -> Completed:
    """Stands for the box where the box itself is not what is tried."""
    return await run(argv, cwd=cwd, env=ENV, timeout=timeout, output_limit=16_000_000)


async def test_it_shows_all_changes_and_touches_nothing_of_the_agent_s(tmp_path: Path) -> None:
    made = await workspace(tmp_path)
    where = made.path
    (where / "a.txt").write_text("committed\n")
    await git("commit", "-qam", "mine", cwd=where)
    (where / "b.txt").write_text("staged\n")
    await git("add", "b.txt", cwd=where)
    (where / "b.txt").write_text("changed after that\n")
    (where / "new").mkdir()
    (where / "new" / "c.txt").write_text("c\n")
    (where / "gone.txt").unlink()
    (where / "x.log").write_text("ignored\n")
    (where / ".git" / "index.lock").touch()  # the agent's own git is at work
    before, status = (
        (where / ".git" / "index").read_bytes(),
        await git("--no-optional-locks", "status", "--porcelain", cwd=where),
    )
    shown = (await draft(made, made.commit, outside)).decode()
    for words in ("+committed", "+changed after that", "+++ b/new/c.txt", "--- a/gone.txt"):
        assert words in shown
    assert "staged" not in shown and "x.log" not in shown
    assert (where / ".git" / "index").read_bytes() == before
    assert await git("--no-optional-locks", "status", "--porcelain", cwd=where) == status
    assert [path.name for path in (where / ".git").glob("*draft*")] == []
    assert (await draft(made, made.commit, outside)).decode() == shown


async def test_in_the_box_a_hostile_configuration_gets_nothing_out_and_changes_nothing_here(tmp_path: Path) -> None:
    made = await workspace(tmp_path)
    mark = tmp_path / "ran-on-the-host"
    bad = f"touch {mark}"
    (made.path / "a.txt").write_text("2\n")
    (made.path / ".gitattributes").write_text("*.txt diff=evil filter=evil\n")
    for name, value in {
        "diff.external": bad,
        "diff.evil.textconv": bad,
        "diff.evil.command": bad,
        "filter.evil.clean": f"{bad}; cat",
        "core.fsmonitor": bad,
        "core.pager": bad,
    }.items():
        await git("config", name, value, cwd=made.path)
    (tmp_path / "private").mkdir()
    boxes = await boxes_here()
    async with boxes.box(made, tmp_path / "private", Access()) as box:
        shown = (await draft(made, made.commit, box.offline)).decode()
    assert "+2" in shown
    assert not mark.exists()


async def test_what_is_too_long_is_cut_and_says_so(tmp_path: Path) -> None:
    made = await workspace(tmp_path)
    (made.path / "long.txt").write_text("é" * 70 + "\n" + "0123456789\n" * 200_000)
    shown = await draft(made, made.commit, outside)
    assert len(shown) < LIMIT + 100
    assert shown.decode().splitlines()[-1] == f"[cut here: only the first {LIMIT} bytes are kept]"
    assert shown.splitlines()[-2] == b"+0123456789"


async def test_a_repository_that_is_none_any_more_is_said(tmp_path: Path) -> None:
    made = await workspace(tmp_path)
    (made.path / ".git" / "index").unlink()
    with pytest.raises(DraftFailed):
        await draft(made, made.commit, outside)


# ── beside the question ──────────────────────────────────────────────────────────────────────────────────────────


class Kept:
    """Stands for the server's keeping."""

    def __init__(self, error: Exception | None = None) -> None:
        self.artifacts: dict[str, bytes] = {}
        self._error = error

    async def __call__(self, name: str, content: bytes) -> None:
        if self._error is not None:
            raise self._error
        self.artifacts[name] = content


async def stuck(argv: Sequence[str], *, cwd: Path, timeout: float) -> Completed:
    """A box in which nothing ends."""
    return await run(["sleep", "60"], cwd=cwd, env=ENV, timeout=timeout)


async def answered(word: str | None) -> str | None:
    return word


async def test_an_answer_does_not_wait_for_it(tmp_path: Path) -> None:
    made = await workspace(tmp_path)
    async with asyncio.timeout(40):
        assert await Drafts(made, made.commit, stuck, Kept()).while_waiting(answered("yes")) == "yes"


async def test_whoever_waits_without_an_answer_leaves_it_behind(tmp_path: Path) -> None:
    made, kept = await workspace(tmp_path), Kept()
    (made.path / "a.txt").write_text("2\n")
    assert await Drafts(made, made.commit, outside, kept).while_waiting(answered(None)) is None
    assert b"+2" in kept.artifacts[DRAFT]


@pytest.mark.parametrize(
    "error", [Unavailable("away"), LeaseLost("over"), OSError("full")], ids=lambda e: type(e).__name__
)
async def test_a_draft_that_fails_fails_no_question(tmp_path: Path, error: Exception) -> None:
    made = await workspace(tmp_path)
    drafts = Drafts(made, made.commit, outside, Kept(error))
    assert await drafts.while_waiting(answered(None)) is None
    assert await drafts.while_waiting(answered("yes")) == "yes"


async def test_what_the_question_raises_is_raised(tmp_path: Path) -> None:
    async def lost() -> str | None:
        raise LeaseLost("over")

    made = await workspace(tmp_path)
    with pytest.raises(LeaseLost):
        await Drafts(made, made.commit, outside, Kept()).while_waiting(lost())
