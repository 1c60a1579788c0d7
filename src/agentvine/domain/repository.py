"""Which addresses and branch names reach git. They arrive from strangers and end up in an argument list."""

import re
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, StringConstraints

_SCHEMES = frozenset({"https", "http", "ssh", "git", "file"})
_SCP_LIKE = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[^:\s][^\s]*$")
_HOST = re.compile(r"^[0-9A-Za-z_:][0-9A-Za-z_.:-]*$")
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\\"'`$;&|<>(){}*?!\u2028\u2029]")
_BAD_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\]\\\"'`$;&|<>(){}!#%=,]|\.\.|@\{|//|\.lock(/|$)|(^|/)\.|\.(/|$)")
_UNSEEN = re.compile(r"[\s\x80-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
"""White space of any script, controls, what has no width, and what changes the direction of reading."""


def check_repository(url: str) -> str:
    """`url`, if it is one that git may be given; a bare absolute path becomes a `file://` URL.

    Raises ValueError, with what to write instead, for options (`--upload-pack=…`), transports that run commands
    (`ext::…`, gitremote-helpers(7)), credentials in the address, and anything with white space or shell characters.
    """
    if url.startswith("-"):
        raise ValueError("a repository cannot start with '-'; write its URL, such as https://host/owner/name.git")
    if _UNSAFE.search(url) or not url.isprintable():
        raise ValueError("a repository URL cannot hold white space, quotes, control or shell characters")
    if {".", ".."} & set(re.split(r"[/:]", check_unquoted(url))):
        raise ValueError("write the address of a repository without the components '.' and '..'")
    if url.startswith("/"):
        url = f"file://{url}"
    if _SCP_LIKE.match(url):
        return url
    return _check_url(url)


def check_unquoted(url: str) -> str:
    """What `url` says without its `%..`, in which line breaks or a NUL may have been hidden. Raises ValueError for
    anything that cannot be shown."""
    try:
        plain = unquote(url, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("what '%' encodes in an address has to be UTF-8") from None
    if not plain.isprintable():
        raise ValueError("an address cannot hold control characters, and none that '%' encodes")
    return plain


def _check_url(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise ValueError(
            f"write the repository as a URL that starts with one of {', '.join(sorted(_SCHEMES))}, or as user@host:path"
        )
    parts = urlsplit(url)
    if parts.password is not None or (parts.username and scheme not in {"ssh", "git"}):
        raise ValueError("no credentials in a repository URL: they would end up in logs and commits")
    if parts.query or parts.fragment:
        raise ValueError("a repository URL has no query and no fragment")
    if scheme == "file":
        if parts.netloc or not parts.path.startswith("/"):
            raise ValueError("a file URL is file:///absolute/path")
        return url
    if not parts.hostname or not _HOST.match(parts.hostname):
        raise ValueError("the repository URL names no host")
    if parts.path in {"", "/"}:
        raise ValueError("the repository URL names a host, but no repository on it")
    _ = parts.port  # raises ValueError for a port that is no number
    return url


def check_branch(name: str) -> str:
    """`name`, if git-check-ref-format(1) takes it and it is free of shell characters and of what nobody sees, which git
    itself allows.

    Raises ValueError for anything else.
    """
    if not name or name.startswith(("-", "/")) or name.endswith("/") or name == "@" or name == "HEAD":
        raise ValueError("this is no branch name; write it without 'refs/heads/', such as main or feature/login")
    if name.startswith("refs/"):
        raise ValueError("write the branch without 'refs/heads/'")
    if _BAD_REF.search(name) or _UNSEEN.search(name):
        raise ValueError(
            "a branch name cannot hold white space, what nobody sees, '..', '//', a component that starts or ends with "
            "'.', or one of ~^:?*[]\\ and shell characters"
        )
    return name


RepositoryUrl = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000), AfterValidator(check_repository)
]
BranchName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(check_branch)
]
Sha = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]
"""A full git object name, SHA-1 or SHA-256."""
