"""The rules for results that need no repository to be judged."""

from collections.abc import Callable

import pytest

from agentvine.worker.admission import (
    Change,
    ResultRefused,
    check_link,
    check_mode,
    check_path,
    open_bundle,
    read_changes,
)

SHA = "a" * 40


def refusal_of(check: Callable[..., None], *about: object) -> str:
    """Why a check refuses what it is asked about; empty if it does not."""
    try:
        check(*about)
    except ResultRefused as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "src/a.py",
        ".github/workflows/ci.yml",
        ".gitignore",
        "a b/ü.txt",
        "...",
        "git",
        "x.git/y",
        "a" * 255,
        "gitmodules",
        "x~1",
        "a/" * 200 + "b",
    ],
)
def test_paths_inside_the_repository_are_taken(path: str) -> None:
    assert refusal_of(check_path, path) == ""


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a/./b",
        "a//b",
        "",
        ".git/config",
        "sub/.git/hooks/pre-commit",
        ".GIT/config",
        ".git./x",
        ".git /x",
        "git~1/x",
        ".git::$INDEX_ALLOCATION/config",
        ".g\u200cit/config",
        "a\\..\\..\\b",
        "a\\.git\\config",
        ".gitmodules",
        ".GitModules",
        "sub/.gitmodules",
        ".gitmodules .",
        ".gitmodules:x",
        ".git\u200cmodules",
        "gitmod~1",
        "GI7EBA~1",
        "a" * 256,
        "a/" * 2001 + "b",
        "a/" * 201 + "b",
        "ü" * 128,
    ],
)
def test_paths_that_lead_elsewhere_or_mean_something_to_git_are_refused(path: str) -> None:
    with pytest.raises(ResultRefused):
        check_path(path)


@pytest.mark.parametrize(
    ("path", "target"),
    [("a", "b"), ("a", "dir/b"), ("dir/a", "../b"), ("x/y/a", "../../b/c"), ("a", "./b"), ("dir/a", "..")],
)
def test_links_inside_the_repository_are_taken(path: str, target: str) -> None:
    assert refusal_of(check_link, path, target) == ""


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("a", "/etc/passwd"),
        ("a", "../x"),
        ("dir/a", "../../x"),
        ("a", "link/../../x"),
        ("a", "deep/link/.."),
        ("a", ".git/config"),
        ("dir/a", "../.GIT/hooks"),
        ("a", "b\0c"),
    ],
)
def test_links_that_lead_out_of_the_repository_are_refused(path: str, target: str) -> None:
    with pytest.raises(ResultRefused):
        check_link(path, target)


@pytest.mark.parametrize(
    ("old", "new", "good"),
    [
        ("000000", "100644", True),
        ("100644", "100755", True),
        ("100644", "000000", True),
        ("000000", "120000", True),
        ("000000", "160000", False),
        ("160000", "160000", False),
        ("160000", "000000", False),
        ("000000", "100664", False),
    ],
)
def test_only_files_folders_and_links_are_taken(old: str, new: str, good: bool) -> None:
    assert (refusal_of(check_mode, Change(old, new, SHA, "x")) == "") == good


def test_raw_changes_are_read_also_with_strange_names() -> None:
    raw = f":100644 100755 {SHA} {SHA} M\0a b\n\0:000000 100644 {'0' * 40} {SHA} A\0:x\0"
    assert [(change.old_mode, change.new_mode, change.path) for change in read_changes(raw)] == [
        ("100644", "100755", "a b\n"),
        ("000000", "100644", ":x"),
    ]


def header(*lines: str, version: int = 2) -> bytes:
    return "\n".join([f"# v{version} git bundle", *lines, "", "PACK"]).encode()


def test_a_bundle_of_one_head() -> None:
    assert open_bundle(header(f"-{'b' * 40} a message", f"{SHA} HEAD")) == (SHA, b"PACK")
    assert open_bundle(header(f"{'c' * 64} HEAD"))[0] == "c" * 64


@pytest.mark.parametrize(
    "bundle",
    [
        b"",
        b"PACK",
        header(),
        header(f"{SHA} refs/heads/main"),
        header(f"{SHA} HEAD", f"{SHA} refs/heads/main"),
        header(f"{SHA} HEAD", f"{SHA} HEAD"),
        header("@filter=blob:none", f"{SHA} HEAD", version=3),
        header(f"{SHA} HEAD", version=3),
        header("short HEAD"),
    ],
)
def test_other_bundles_are_refused(bundle: bytes) -> None:
    with pytest.raises(ResultRefused):
        open_bundle(bundle)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x", ".git/config", "sub/.GIT/hooks/pre-commit", "git~1/x", "a" * 256]
)
def test_a_checkpoint_has_no_dangerous_paths_either(path: str) -> None:
    with pytest.raises(ResultRefused):
        check_path(path, checkpoint=True)


def test_a_checkpoint_may_hold_submodules_but_no_unknown_kind_of_file() -> None:
    check_path(".gitmodules", checkpoint=True)
    check_mode(Change("000000", "160000", SHA, "sub"), checkpoint=True)
    with pytest.raises(ResultRefused):
        check_mode(Change("000000", "100600", SHA, "a"), checkpoint=True)
