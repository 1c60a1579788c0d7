import os
from pathlib import Path

import pytest

from agentvine.worker.files import FileKind, kind_of, languages
from agentvine.worker.hostile import Refused, read_beneath


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("tests/test_a.py", FileKind.TEST),
        ("tests/data/a.json", FileKind.TEST),
        ("tests/README.md", FileKind.TEST),
        ("src/pkg/test_a.py", FileKind.TEST),
        ("a_test.go", FileKind.TEST),
        ("conftest.py", FileKind.TEST),
        ("app/tests.py", FileKind.TEST),
        ("web/a.spec.ts", FileKind.TEST),
        ("cypress/a.cy.js", FileKind.TEST),
        ("src/test/java/ATest.java", FileKind.TEST),
        ("A/UserTests.cs", FileKind.TEST),
        ("README.md", FileKind.DOCS),
        ("README", FileKind.DOCS),
        ("docs/openapi.yaml", FileKind.DOCS),
        ("docs/picture.png", FileKind.DOCS),
        ("mkdocs.yml", FileKind.DOCS),
        ("src/guide.rst", FileKind.DOCS),
        ("src/a.py", FileKind.CODE),
        ("docs/conf.py", FileKind.CODE),
        ("docs/requirements.txt", FileKind.CODE),
        ("src/latest.py", FileKind.CODE),
        ("contest.py", FileKind.CODE),
        ("pyproject.toml", FileKind.CODE),
        (".github/workflows/ci.yml", FileKind.CODE),
        ("attestation.py", FileKind.CODE),
        ("picture.png", FileKind.CODE),
    ],
)
def test_a_path_tells_what_a_file_is_for(path: str, kind: FileKind) -> None:
    assert kind_of(path) is kind


def test_languages_come_by_frequency() -> None:
    assert languages(["a.py", "b.py", "c.go", "d.rs", "e.rs", "f.rs", "README"]) == ("Rust", "Python", "Go")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a" / "file").write_bytes(b"content")
    (tmp_path / "secret").write_bytes(b"secret")
    return root


def test_a_regular_file_is_read(root: Path) -> None:
    assert read_beneath(root, "a/file", 7) == b"content"


def test_what_is_not_there_is_said(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_beneath(root, "a/none", 7)


def test_nothing_else_is_read_and_nothing_blocks(root: Path) -> None:
    (root / "link").symlink_to(root.parent / "secret")
    (root / "folder_link").symlink_to(root.parent)
    os.mkfifo(root / "fifo")
    (root / "zero").symlink_to("/dev/zero")
    for path in ("link", "folder_link/secret", "fifo", "zero", "a", "../secret", "/etc/passwd", "", "a/../../secret"):
        with pytest.raises(Refused):
            read_beneath(root, path, 100)
    with pytest.raises(Refused, match="larger than 6 bytes"):
        read_beneath(root, "a/file", 6)
