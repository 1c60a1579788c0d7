"""Whether documentation holds together: links lead somewhere, fenced code can be read. Markdown, read as CommonMark.

Only what a change brings in counts. What is on other hosts is not looked at, and code is read, never run.
"""

import ast
import doctest
import json
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from posixpath import normpath
from textwrap import dedent
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from markdown_it.token import Token

_SUFFIXES = frozenset({".md", ".markdown"})
_MOST_MARKS = 3000
"""Of one kind in one block: to read it takes time that grows with their square."""
_NOT_IN_SLUGS = re.compile(r"[^\w\- ]")
_ID = re.compile(r"""(?:id|name)\s*=\s*["']([^"']+)["']""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a document that does not hold."""

    kind: str
    """`link` or `code`."""
    line: int
    what: str


def is_document(path: str) -> bool:
    """Whether `problems` reads files like this."""
    return PurePosixPath(path).suffix.lower() in _SUFFIXES


def is_readable(text: str) -> bool:
    """Whether reading this takes a bounded time."""
    blocks = text.replace("\r", "").split("\n\n")
    return all(block.count(mark) <= _MOST_MARKS for block in blocks for mark in "[]`*_<&!|>")


class Tree:
    """What the documents of a commit can point to: paths, and the anchors of documents, read when they are needed."""

    def __init__(self, paths: Collection[str], texts: Mapping[str, str]) -> None:
        """`texts`: documents whose anchors are known; a link to an anchor of another is taken to be right."""
        self._paths = frozenset(paths)
        self._texts = texts
        self._anchors: dict[str, frozenset[str]] = {}

    @cached_property
    def _folders(self) -> frozenset[str]:
        return frozenset(str(parent) for path in self._paths for parent in PurePosixPath(path).parents)

    def has(self, path: str) -> bool:
        return path in self._paths or path in self._folders

    def has_anchor(self, path: str, anchor: str) -> bool:
        if path not in self._texts:
            return True
        if path not in self._anchors:
            self._anchors[path] = frozenset(_anchors(self._texts[path]))
        return anchor in self._anchors[path]


def problems(path: str, before: str | None, after: str, tree: Tree) -> tuple[Problem, ...]:
    """What does not hold in a document and was not there before. `tree` is the commit that `after` stands in."""
    known = {(one.kind, one.what) for one in _problems(path, before, tree)} if before is not None else set()
    return tuple(one for one in _problems(path, after, tree) if (one.kind, one.what) not in known)


def _problems(path: str, text: str, tree: Tree) -> Iterator[Problem]:
    for token in _parsed(text):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "fence":
            if why := _unreadable(token.info.split(" ")[0].strip("{}.").lower(), token.content):
                yield Problem("code", line, why)
        elif token.type == "inline":
            for target in _targets(token):
                if why := _dangling(path, target, tree):
                    yield Problem("link", line, why)


def _parsed(text: str) -> "list[Token]":
    from markdown_it import MarkdownIt  # not before there is a document

    try:
        return MarkdownIt("commonmark").enable("table").parse(text)
    except RecursionError:
        return []


def _targets(token: "Token") -> Iterator[str]:
    for child in token.children or ():
        target = child.attrGet("href" if child.type == "link_open" else "src")
        if child.type in {"link_open", "image"} and isinstance(target, str):
            yield target


def _dangling(path: str, target: str, tree: Tree) -> str:
    """Why a link leads nowhere; empty if it leads somewhere, or out of the repository."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return f"`{target[:200]}` is no link"
    if parts.scheme or parts.netloc or target.startswith("//"):
        return ""
    named, anchor = unquote(parts.path), unquote(parts.fragment)
    if not named:
        there = path
    elif named.startswith("/"):
        there = normpath(named.lstrip("/"))
    else:
        there = normpath(str(PurePosixPath(path).parent / named))
    if there.startswith(".."):
        return ""  # the web page of a repository has more than the repository
    if not tree.has(there):
        return f"`{target[:200]}` leads to no file of the repository"
    if anchor and is_document(there) and not tree.has_anchor(there, anchor):
        return f"`{target[:200]}`: {there} has no heading of that name"
    return ""


def _anchors(text: str) -> Iterator[str]:
    """The names under which headings can be linked to, as the forges make them; and those given in HTML."""
    seen: dict[str, int] = {}
    tokens = _parsed(text)
    for place, token in enumerate(tokens):
        if token.type == "heading_open" and place + 1 < len(tokens):
            slug = _slug(tokens[place + 1])
            count = seen.get(slug, 0)
            seen[slug] = count + 1
            yield f"{slug}-{count}" if count else slug
        elif token.type in {"html_block", "inline"}:
            yield from _ID.findall(token.content)


def _slug(heading: "Token") -> str:
    said = "".join(child.content for child in heading.children or () if child.type in {"text", "code_inline"})
    return _NOT_IN_SLUGS.sub("", said.strip().lower()).replace(" ", "-")


def _unreadable(language: str, code: str) -> str:
    """Why a fenced block is not what it says it is; empty if it can be read, or nobody here can tell."""
    read = _READERS.get(language)
    if read is None or not code.strip():
        return ""
    try:
        read(dedent(code))
    except SyntaxError as error:
        return f"the {language} code cannot be read: {error.msg}, at `{(error.text or '').strip()[:100]}`"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"the {language} code cannot be read: {str(error)[:200]}"
    return ""


def _python(code: str) -> None:
    if code.lstrip().startswith(">>>"):
        _session(code)
    else:
        compile(code, "<fence>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def _session(code: str) -> None:
    for example in doctest.DocTestParser().get_examples(code):
        _python(example.source)


_READERS: Mapping[str, Callable[[str], object]] = {
    **dict.fromkeys(("python", "py", "python3"), _python),
    **dict.fromkeys(("pycon", "doctest"), _session),
    "json": json.loads,
    "toml": tomllib.loads,
}
