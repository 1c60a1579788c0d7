"""Removing single files beneath a hostile folder, and whole ones."""

import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentvine.worker.folders import descend, remove_entry, remove_folder
from agentvine.worker.place import place_of, sweep
from agentvine.worker.sandbox.ownership import adopt


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file of the host's, and a folder `hostile` beside it whose link `build` leads there."""
    (tmp_path / "host").mkdir()
    (tmp_path / "hostile").mkdir()
    (tmp_path / "hostile" / "build").symlink_to(tmp_path / "host")
    kept = tmp_path / "host" / "report.xml"
    kept.write_text("kept")
    return kept


@pytest.mark.parametrize("name", ["build/report.xml", "../host/report.xml", "build/../../host/report.xml", "missing/x"])
def test_nothing_outside_is_removed(name: str, outside: Path, tmp_path: Path) -> None:
    remove_entry(tmp_path / "hostile", name)
    remove_entry(tmp_path / "hostile", str(outside))
    assert outside.read_text() == "kept"


def test_a_file_deep_inside_and_a_link_are_removed(outside: Path, tmp_path: Path) -> None:
    place = tmp_path / "hostile" / "out" / "tests"
    place.mkdir(parents=True)
    (place / "report.xml").write_text("gone")
    (place / "link").symlink_to(outside)
    remove_entry(tmp_path / "hostile", "out/tests/report.xml")
    remove_entry(tmp_path / "hostile", "out/tests/link")
    assert list(place.iterdir()) == []
    assert outside.read_text() == "kept"


# Whole folders


DEEP = 2200
"""More directories in one another than a path may name, than a call stack holds, and than a process may open."""


def dig(root: Path, levels: int) -> None:
    """Make directories in one another, as a program does that goes down with each step; each holds a file."""
    place = os.open(root, os.O_DIRECTORY)
    for _ in range(levels):
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=place))
        os.mkdir("a", dir_fd=place)
        below = os.open("a", os.O_DIRECTORY, dir_fd=place)
        os.close(place)
        place = below
    os.close(place)


@contextmanager
def few_descriptors() -> Iterator[None]:
    """As little as 20 more may be opened."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def ours() -> Iterator[Path]:
    """A folder of an ordinary user, which this process is meanwhile: nobody's permissions are passed over."""
    folder = Path(tempfile.mkdtemp(prefix="agentvine-test-"))
    user, nobody = os.geteuid(), 65534
    if user == 0:
        os.chown(folder, nobody, nobody)
        os.seteuid(nobody)
    try:
        yield folder
    finally:
        os.seteuid(user)
        _tidy(folder)


def _tidy(folder: Path) -> None:
    """Whatever a failing test leaves is not deep."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    shutil.rmtree(folder)


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """Directories in one another; what a failing test leaves of them goes, because pytest could not remove it."""
    root = tmp_path / "deep"
    root.mkdir()
    dig(root, DEEP)
    yield root
    while (top := root / "a").is_dir():
        (top / "file").unlink(missing_ok=True)
        if (top / "a").is_dir():
            (top / "a").rename(root / "next")
        top.rmdir()
        if (root / "next").is_dir():
            (root / "next").rename(top)


async def test_a_folder_of_any_depth_is_removed_with_few_descriptors(deep: Path) -> None:
    with few_descriptors():
        await remove_folder(deep)
    assert not deep.exists()


def test_a_folder_of_any_depth_is_adopted_with_few_descriptors(deep: Path, tmp_path: Path) -> None:
    """Files that have names elsewhere become copies: at the end nobody else has a name for what is outside."""
    outside = tmp_path / "outside"
    outside.write_text("kept")

    def share(directory: int) -> list[str]:
        names = os.listdir(directory)
        if "file" in names:
            os.unlink("file", dir_fd=directory)
            os.link(outside, "file", dst_dir_fd=directory)
        return [name for name in names if name == "a"]

    descend(deep, share)
    assert outside.stat().st_nlink > 2
    with few_descriptors():
        adopt(deep, os.geteuid())
    assert outside.stat().st_nlink == 1


async def test_links_are_removed_and_what_they_lead_to_stays(outside: Path, tmp_path: Path) -> None:
    (tmp_path / "hostile" / "sub").mkdir()
    (tmp_path / "hostile" / "sub" / "file").symlink_to(outside)
    (tmp_path / "hostile" / "sub" / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "hostile" / "sub" / "fifo")
    await remove_folder(tmp_path / "hostile")
    await remove_folder(tmp_path / "hostile")  # nothing there any more
    assert outside.read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["host"]


async def test_a_link_in_the_place_of_a_folder_is_not_followed(outside: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(outside.parent)
    with pytest.raises(OSError, match="link"):
        await remove_folder(tmp_path / "link")
    assert outside.read_text() == "kept"


async def test_a_folder_that_was_closed_to_its_owner_is_removed(ours: Path) -> None:
    closed = ours / "place" / "closed" / "more"
    closed.mkdir(parents=True)
    for folder, mode in ((closed, 0o000), (closed.parent, 0o500), (ours / "place", 0o200)):
        (folder / "file").touch()
        folder.chmod(mode)
    await remove_folder(ours / "place")
    assert list(ours.iterdir()) == []


def test_what_is_gone_when_its_turn_comes_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    seen: list[list[str]] = []

    def visit(directory: int) -> list[str]:
        seen.append(sorted(os.listdir(directory)))
        return ["gone", "there"] if len(seen) == 1 else []

    descend(tmp_path, visit)
    assert seen == [["there"], []]


@pytest.mark.parametrize("link", [True, False])
def test_a_folder_that_is_replaced_or_moved_while_it_is_gone_through(link: bool, outside: Path, tmp_path: Path) -> None:
    """The way down leads through no link, the way up to nowhere else."""
    root = tmp_path / "hostile"
    (root / "a" / "b").mkdir(parents=True)
    left: list[str] = []
    visited: list[int] = []

    def visit(directory: int) -> list[str]:
        visited.append(os.fstat(directory).st_ino)
        if link and not (root / "a").is_symlink():
            (root / "a").rename(root / "away")
            (root / "a").symlink_to(outside.parent)
            return ["a"]
        if not link and not os.listdir(directory):
            (root / "a" / "b").rename(tmp_path / "host" / "b")
        return [name for name in os.listdir(directory) if name in {"a", "b"}]

    with pytest.raises(OSError, match="directory"):
        descend(root, visit, lambda _above, name: left.append(name))
    assert left == []
    assert outside.parent.stat().st_ino not in visited


# Places


async def test_a_place_that_resists_is_left_for_the_next_sweep_and_undoes_nothing(tmp_path: Path) -> None:
    async with place_of(tmp_path, "exe_1") as place:
        shutil.rmtree(place.root)
        place.root.write_text("no folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exe_1", "exe_1.lock"]
    (tmp_path / "exe_0.lock").mkdir()
    for name in ("exe_2", "exe_3"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.lock").touch()
    await sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exe_0.lock", "exe_1", "exe_1.lock"]
    place.root.unlink()
    await sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["exe_0.lock"]
