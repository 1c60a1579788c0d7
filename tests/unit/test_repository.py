"""What reaches git: addresses and branch names that cannot be read as anything else."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from agentvine.domain.repository import BranchName, RepositoryUrl, Sha, check_repository

URL: TypeAdapter[str] = TypeAdapter(RepositoryUrl)
BRANCH: TypeAdapter[str] = TypeAdapter(BranchName)
WORD = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
NASTY = st.text(st.sampled_from("-:/@.~^$(){}[]*?!;&|<> '\"`\\\0\n\t\u2028aZ0%#=,+_"), max_size=30)


@given(scheme=st.sampled_from(["https", "http", "ssh", "git"]), host=WORD, path=st.lists(WORD, min_size=1, max_size=4))
def test_ordinary_urls_are_taken_as_they_are(scheme: str, host: str, path: list[str]) -> None:
    url = f"{scheme}://{host}.example/{'/'.join(path)}.git"
    assert URL.validate_python(url) == url
    assert URL.validate_python(f"  {url}\n") == url


@pytest.mark.parametrize(
    "url",
    [
        "git@github.com:team/project.git",
        "ssh://git@host.example:2222/team/project",
        "https://host.example:8443/a",
        "file:///srv/git/a.git",
        "http://[::1]:3000/a/b.git",
        "https://host.example/My%20Project/ümlaut%c3%bc",
    ],
)
def test_other_good_ones(url: str) -> None:
    assert URL.validate_python(url) == url


def test_a_path_becomes_a_url() -> None:
    assert URL.validate_python("/srv/git/a.git") == "file:///srv/git/a.git"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "--upload-pack=touch /tmp/x",
        "-oProxyCommand=x",
        "ext::sh -c id",
        "ext::sh%20-c%20id",
        "fd::17",
        "https://user:secret@host/a",
        "https://token@host/a",
        "https://host/a?x=1",
        "https://host/a#x",
        "https://host",
        "https://host/../a",
        "https://host/a/%2e%2e/b",
        "git@host:../a",
        "file:///srv/./a.git",
        "https://host/",
        "https:///a",
        "https://-host/a",
        "https://host:port/a",
        "file://host/a",
        "file:///a/../b",
        "file:relative",
        "relative/path",
        "../up",
        "git@host:",
        "git@-host:a",
        "https://host/a b",
        "https://host/$(id)",
        "https://host/`id`",
        "https://host/a\0b",
        "https://host/a\nb",
        "https://host/a\ud800",
        "u@host:a\ud800",
        "file:///a/\udfff",
        "https://host/a\x85b",
        "https://host/a\u202eb",
        "https://host/a%00b",
        "https://host/a%0ab",
        "u@host:a%0Ab",
        "file:///a%0db",
        "https://host/a%7fb",
        "https://host/a%c2%85b",
        "https://host/a%e2%80%a8b",
        "https://host/a%ffb",
        "https://host/a%ed%a0%80b",
        "javascript://host/a",
        "HTTPS://host/a",
        "x" * 1001,
    ],
)
def test_bad_addresses_are_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        URL.validate_python(url)
    with pytest.raises(ValueError, match=r".") as refused:
        check_repository(url)
    assert str(refused.value).isprintable()


@given(NASTY)
@example("-x")
@example("ext::a")
def test_no_address_is_an_option_or_a_command(text: str) -> None:
    try:
        url = URL.validate_python(text)
    except ValidationError:
        return
    assert not url.startswith("-")
    assert "::" not in url.split("/")[0]
    assert not set(url) & set("\0\n\t '\"`\\$;&|<>(){}*?!")
    assert URL.validate_python(url) == url


@pytest.mark.parametrize(
    "name", ["main", "feature/login", "release-1.2", "a/b/c", "agentvine/test/01k-x", "ümlaut", "v1_2"]
)
def test_good_branches(name: str) -> None:
    assert BRANCH.validate_python(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-x",
        "/x",
        "x/",
        "@",
        "HEAD",
        "refs/heads/main",
        "a..b",
        "a//b",
        ".a",
        "a/.b",
        "a.",
        "a./b",
        "a.lock",
        "a.lock/b",
        "a b",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "a[b",
        "a\\b",
        "a@{1}",
        "a\x7fb",
        "$(id)",
        "a;b",
        "a" * 201,
        "a\u00a0b",
        "a\u3000b",
        "a\x85b",
        "a\u200bb",
        "a\u200eb",
        "a\u202eb",
        "a\u2066b",
        "\ufeffa",
    ],
)
def test_bad_branches(name: str) -> None:
    with pytest.raises(ValidationError):
        BRANCH.validate_python(name)


@given(NASTY)
def test_no_branch_is_an_option_or_a_range(text: str) -> None:
    try:
        name = BRANCH.validate_python(text)
    except ValidationError:
        return
    assert not name.startswith("-")
    assert ".." not in name
    assert not set(name) & set("\0\n\t ~^:?*[\\$;&|<>`'\"")


@pytest.mark.parametrize(
    ("text", "good"), [("a" * 40, True), ("0" * 64, True), ("a" * 41, False), ("A" * 40, False), ("", False)]
)
def test_object_names(text: str, good: bool) -> None:
    adapter: TypeAdapter[str] = TypeAdapter(Sha)
    if good:
        assert adapter.validate_python(text) == text
    else:
        with pytest.raises(ValidationError):
            adapter.validate_python(text)
