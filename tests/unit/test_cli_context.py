"""Which server a command talks to, and with which key."""

import stat
from pathlib import Path

import pytest

from agentvine.cli.context import (
    Context,
    ContextUnusable,
    connection,
    context_path,
    read_context,
    remove_context,
    write_context,
)
from agentvine.cli.settings import Surroundings, surroundings

SECRET = "av_0123456789_secret"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "context.json"


@pytest.fixture
def here(tmp_path: Path) -> Context:
    return Context("http://127.0.0.1:8420", SECRET, tmp_path / "data")


def test_what_was_written_is_read_and_only_its_owner_may(path: Path, here: Context) -> None:
    write_context(here, path)
    assert read_context(path) == here
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["context.json"]


def test_writing_replaces_an_open_file_by_a_closed_one(path: Path, here: Context) -> None:
    path.parent.mkdir()
    path.write_text("{}")
    path.chmod(0o644)
    write_context(here, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_file_that_others_may_read_is_refused_with_how_to_mend_it(path: Path, here: Context, mode: int) -> None:
    write_context(here, path)
    path.chmod(mode)
    with pytest.raises(ContextUnusable, match=rf"chmod 600 {path}") as refused:
        connection(None, None, Surroundings(context=path))
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "content", ["", "not json", "[]", "{}", '{"url": "http://h", "key": "k"}', '{"url": 1, "key": "k", "data": "/d"}']
)
def test_a_file_that_is_no_context_is_refused(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(ContextUnusable, match="agentvine up"):
        read_context(path)


def test_a_file_that_cannot_be_read_is_no_traceback(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(ContextUnusable, match="cannot be read"):
        read_context(path)


def test_only_the_own_context_is_removed(path: Path, here: Context) -> None:
    remove_context(here, path)
    write_context(here, path)
    remove_context(Context("http://127.0.0.1:9999", SECRET, here.data), path)
    assert read_context(path) == here
    remove_context(here, path)
    assert read_context(path) is None


def test_options_go_before_the_environment_and_that_before_the_file(path: Path, here: Context) -> None:
    write_context(here, path)
    in_file = Surroundings(context=path)
    assert connection(None, None, in_file) == (here.url, here.key)
    in_environment = Surroundings("http://env:1/", "av_env", path)
    assert connection(None, None, in_environment) == ("http://env:1", "av_env")
    assert connection("http://opt:1", "av_opt", in_environment) == ("http://opt:1", "av_opt")
    assert connection(None, "av_opt", in_environment) == ("http://env:1", "av_opt")
    assert connection(None, "av_opt", in_file) == (here.url, "av_opt")
    assert connection(f"{here.url}/", None, in_file) == (here.url, here.key)


def test_the_key_in_the_file_never_goes_to_another_server(path: Path, here: Context) -> None:
    write_context(here, path)
    with pytest.raises(ContextUnusable, match="belongs to"):
        connection("http://elsewhere:1", None, Surroundings(context=path))


def test_nothing_known_says_what_to_start(path: Path) -> None:
    with pytest.raises(ContextUnusable, match="agentvine up"):
        connection(None, None, Surroundings(context=path))
    with pytest.raises(ContextUnusable, match="AGENTVINE_API_KEY"):
        connection("http://h:1", None, Surroundings(context=path))


@pytest.mark.parametrize("url", ["h:1", "ftp://h", "http://", "//h", "  "])
def test_an_address_that_is_none_is_refused(url: str, path: Path) -> None:
    with pytest.raises(ContextUnusable, match="write it like"):
        connection(url, "k", Surroundings(context=path))


def test_empty_variables_count_as_not_set() -> None:
    assert surroundings({"AGENTVINE_URL": "", "AGENTVINE_API_KEY": "", "AGENTVINE_CONTEXT": ""}) == Surroundings()
    everything = {"AGENTVINE_URL": "http://h", "AGENTVINE_API_KEY": "k", "AGENTVINE_CONTEXT": "/c"}
    assert surroundings(everything) == Surroundings("http://h", "k", Path("/c"))


def test_no_secret_shows_in_what_might_be_logged(here: Context) -> None:
    assert SECRET not in repr(here) + repr(Surroundings(api_key=SECRET))


def test_without_a_choice_the_file_is_in_the_users_configuration_directory() -> None:
    path = context_path(Surroundings())
    assert path.name == "context.json" and path.parent.name == "agentvine"
