"""Removing single files beneath a hostile folder."""

from pathlib import Path

import pytest

from agentvine.worker.folders import remove_entry


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
