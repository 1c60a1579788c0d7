import json

import pytest
from pydantic import ValidationError

from agentvine.domain.git_credential import Address, CredentialBook, GitCredential, check_pattern


def token(pattern: str, secret: str = "s") -> GitCredential:
    return GitCredential.model_validate({"pattern": pattern, "secret": secret})


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a/b",
        "HTTPS://Example.ORG/a/b.git",
        "https://example.org:443/a/b/",
        "https://me@example.org/a/b",
    ],
)
def test_spellings_of_one_address_are_equal(url: str) -> None:
    assert Address.of(url) == Address("https", "example.org", "a/b")


@pytest.mark.parametrize(
    "url", ["git@example.org:a/b.git", "ssh://git@example.org/a/b", "ssh://example.org:22/a/b.git"]
)
def test_both_forms_of_ssh_are_one(url: str) -> None:
    assert Address.of(url) == Address("ssh", "example.org", "a/b")


@pytest.mark.parametrize(
    "url",
    [
        *("file:///a/b", "/a/b", "git://example.org/a", "https://x:y@example.org/a", "https://example.org/a?b"),
        *("a", "", "https://example.org/a/../b", "https://example.org/a/%2e%2e/b", "https:///a"),
        *("https://h/a%00b", "https://h/a%0aprotocol=https", "git@h:a%0d", "https://h/\ud800", "https://h/%ff"),
    ],
)
def test_addresses_that_no_credential_is_for(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|Port"):
        Address.of(url)
    assert CredentialBook(credentials=(token("https://example.org/*"),)).best(url) is None


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("https://Example.org/a/b.git", "https://example.org/a/b"),
        ("https://example.org/a/*", "https://example.org/a/*"),
        ("https://example.org", "https://example.org/*"),
        ("https://example.org/", "https://example.org/*"),
        ("git@example.org:a/*", "ssh://example.org/a/*"),
    ],
)
def test_patterns(text: str, normal: str) -> None:
    assert check_pattern(text) == normal
    assert check_pattern(normal) == normal


@pytest.mark.parametrize("text", ["https://*.example.org/a", "https://example.org/a*", "https://example.org/*/b", "*"])
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(ValueError, match=r"'\*' can only|write an address"):
        check_pattern(text)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://example.org/a/b", "exact"),
        ("https://example.org/a/b.git", "exact"),
        ("https://example.org/a/bc", "owner"),
        ("https://example.org/a/b/c", "owner"),
        ("https://example.org/a", "host"),
        ("https://example.org/ab/c", "host"),
        ("http://example.org/a/b", None),
        ("https://example.org:8443/a/b", None),
        ("https://example.org.evil.example/a/b", None),
        ("https://evil.example/example.org/a/b", None),
        ("ssh://example.org/a/b", None),
    ],
)
def test_the_closest_pattern_is_taken_and_no_other_host_s(url: str, found: str | None) -> None:
    book = CredentialBook(
        credentials=(
            token("https://example.org/*", "host"),
            token("https://example.org/a/b", "exact"),
            token("https://example.org/a/*", "owner"),
        )
    )
    best = book.best(url)
    assert (best.secret.get_secret_value() if best and best.secret else None) == found


def test_a_second_one_for_the_same_pattern_replaces_the_first() -> None:
    book = CredentialBook().having(token("https://example.org/a", "old")).having(token("https://example.org/a", "new"))
    assert [one.secret.get_secret_value() for one in book.credentials if one.secret] == ["new"]
    assert book.without("https://example.org/a").credentials == ()
    with pytest.raises(KeyError):
        book.without("https://example.org/b")


def test_a_secret_is_shown_only_where_it_is_sealed() -> None:
    book = CredentialBook(credentials=(token("https://example.org/a", "s3cret"),))
    assert "s3cret" not in f"{book!r} {book} {book.model_dump_json()} {book.model_dump()}"
    assert CredentialBook.model_validate_json(book.plain()) == book
    assert json.loads(book.plain())["credentials"][0]["secret"] == "s3cret"


@pytest.mark.parametrize(
    "fields",
    [
        {"pattern": "https://example.org/a"},
        {"pattern": "https://example.org/a", "secret": "two\nlines"},
        {"pattern": "https://example.org/a", "secret": "s", "username": "a b"},
        {"pattern": "https://example.org/a", "secret": "s", "username": "a\nhost=evil.example"},
        {"pattern": "ssh://example.org/a", "secret": "s"},
        {"pattern": "ssh://example.org/a", "ssh_key": "/k"},
        {"pattern": "ssh://example.org/a", "ssh_key": "/k;id", "known_hosts": "/h"},
        {"pattern": "ssh://example.org/a", "ssh_key": "relative", "known_hosts": "/h"},
        {"pattern": "ssh://example.org/a", "ssh_key": "/k -o ProxyCommand=id", "known_hosts": "/h"},
    ],
)
def test_what_is_no_credential(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        GitCredential.model_validate(fields)
