"""Environments are one if, and only if, everything that makes them is."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentvine.worker.verification.environment import digest_of, inputs
from agentvine.worker.verification.found import SetupCommand

SETUP = SetupCommand(("npm", "ci"), files=("package.json", "package-lock.json"), makes=("node_modules",))
CONTENTS: dict[str, bytes | None] = {"package.json": b"{}", "package-lock.json": b"1"}


def digest(setup: SetupCommand = SETUP, toolchain: str = "t", repository: str = "r", **changed: bytes | None) -> str:
    contents = {**CONTENTS, **{name.replace("_", "-") + ".json": content for name, content in changed.items()}}
    found = digest_of(setup, contents, toolchain=toolchain, repository=repository)
    assert found is not None
    return found


def test_the_same_is_the_same_in_whatever_order() -> None:
    assert digest() == digest()
    assert digest() == digest(replace(SETUP, files=SETUP.files[::-1]))
    assert digest() == digest(replace(SETUP, timeout_seconds=1, source="elsewhere"))
    assert inputs(SETUP) == ("package-lock.json", "package.json")
    assert inputs(None) == ()


def test_whatever_makes_a_difference_is_another() -> None:
    others = [
        digest(),
        digest(package_lock=b"2"),
        digest(package=b""),
        digest(package=None),
        digest(package=b"1", package_lock=b"{}"),
        digest(toolchain="u"),
        digest(repository="s"),
        digest(replace(SETUP, argv=("npm", "install"))),
        digest(replace(SETUP, argv=("npm ci",))),
        digest(replace(SETUP, directory="web")),
        digest(replace(SETUP, makes=("web",))),
    ]
    assert len(set(others)) == len(others)


@given(st.dictionaries(st.sampled_from("abc"), st.binary(max_size=3), min_size=1), st.sampled_from("abc"), st.binary())
def test_every_change_of_a_file_shows(contents: dict[str, bytes], name: str, other: bytes) -> None:
    setup = SetupCommand(("x",), files=tuple(contents), makes=("y",))
    changed = {**contents, name: other} if name in contents else contents
    before, after = (digest_of(setup, files, toolchain="", repository="") for files in (contents, changed))
    assert (before == after) == (contents == changed)


def test_what_does_not_say_what_it_depends_on_is_not_reused() -> None:
    for setup in (None, SetupCommand(("make", "env")), replace(SETUP, makes=()), replace(SETUP, files=())):
        assert digest_of(setup, CONTENTS, toolchain="t", repository="r") is None
    assert digest_of(SETUP, dict.fromkeys(CONTENTS), toolchain="t", repository="r") is None
    with pytest.raises(ValueError, match=r"package\.json"):
        digest_of(SETUP, {"package-lock.json": b""}, toolchain="t", repository="r")
