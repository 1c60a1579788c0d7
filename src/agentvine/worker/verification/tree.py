"""A repository's files as detection sees them: paths, and the contents of a few. Hostile, so nothing here raises.

What could not be read is remembered, and said.
"""

import json
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

LARGEST = 1024 * 1024
"""Bytes of a file that are looked at."""
_LARGEST_TOML = 256 * 1024
_MOST_DOTS = 100
_LONGEST_NAME = 200
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def printable(text: str) -> str:
    """`text`, fit for a sentence: one line, of bounded length, without control characters."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text[:_LONGEST_NAME])


@dataclass(slots=True)
class Remarks:
    """Sentences for people about what was not read or not taken, each once, in the order in which they came up."""

    said: dict[str, None] = field(default_factory=dict)

    def add(self, sentence: str) -> None:
        if len(self.said) < 100:
            self.said.setdefault(sentence)


@dataclass(frozen=True, slots=True)
class Tree:
    """The files beneath `folder` ('' for the root) by their paths from there; `texts` holds those that were read."""

    paths: frozenset[str]
    texts: Mapping[str, str]
    remarks: Remarks
    folder: str = ""

    @classmethod
    def of(cls, paths: Collection[str], contents: Mapping[str, bytes], wanted: Collection[str]) -> "Tree":
        """The whole repository. Of `wanted`, what is not in `contents` could not be read."""
        tree = cls(frozenset(paths), dict(_texts(contents)), Remarks())
        for path in sorted(set(wanted) - tree.texts.keys()):
            tree.remarks.add(f"{printable(path)} was not read: it is no file, or larger than {LARGEST} bytes")
        return tree

    def below(self, folder: str) -> "Tree":
        """The files beneath `folder`, as a tree of their own."""
        start = f"{folder}/"
        paths = frozenset(path[len(start) :] for path in self.paths if path.startswith(start))
        texts = {path[len(start) :]: text for path, text in self.texts.items() if path.startswith(start)}
        return Tree(paths, texts, self.remarks, f"{self.folder}/{folder}" if self.folder else folder)

    def has(self, name: str) -> bool:
        return name in self.paths

    def first(self, *names: str) -> str | None:
        """The first of `names` that is there."""
        return next((name for name in names if name in self.paths), None)

    def text(self, name: str) -> str:
        """The file's text; empty if there is none."""
        return self.texts.get(name, "")

    def find(self, name: str, pattern: str) -> str | None:
        """Where `pattern` (its `^` a line's start) stands in the file, as `file:line text`; None: nowhere."""
        text = self.text(name)
        match = re.search(pattern, text, re.MULTILINE)
        if match is None:
            return None
        number = text.count("\n", 0, match.start()) + 1
        line = text[match.start() : match.end()].strip().splitlines()
        return f"{self.place(name)}:{number} {printable(line[0] if line else '')}".rstrip()

    def place(self, name: str) -> str:
        """The file's path from the root of the repository, for people."""
        return printable(f"{self.folder}/{name}" if self.folder else name)

    def toml(self, name: str) -> Mapping[str, object]:
        """The file as TOML; empty, with a remark, if it is none."""
        try:
            return read_toml(self.text(name))
        except (ValueError, RecursionError) as error:
            self._unreadable(name, "TOML", error)
            return {}

    def json(self, name: str) -> Mapping[str, object]:
        """The file as a JSON object; empty, with a remark, if it is none."""
        if name not in self.texts:
            return {}
        try:
            value = json.loads(self.text(name))
        except (ValueError, RecursionError) as error:
            self._unreadable(name, "JSON", error)
            return {}
        if not isinstance(value, dict):
            self._unreadable(name, "JSON", "it is no object")
            return {}
        return value

    def _unreadable(self, name: str, what: str, why: object) -> None:
        self.remarks.add(f"{self.place(name)} was not understood, it is no sound {what}: {printable(str(why))}")


def read_toml(text: str) -> Mapping[str, object]:
    """`text` as TOML. Raises ValueError, RecursionError.

    The parser takes a time that grows with the square of a key's parts, and a key is a line.
    """
    if len(text) > _LARGEST_TOML or any(line.count(".") > _MOST_DOTS for line in text.splitlines()):
        raise ValueError(f"it has more than {_LARGEST_TOML} characters, or a line with more than {_MOST_DOTS} dots")
    return tomllib.loads(text)


def table(value: Mapping[str, object], *names: str) -> Mapping[str, object]:
    """The table within tables that `names` lead to; empty if there is none."""
    for name in names:
        inner = value.get(name)
        if not isinstance(inner, dict):
            return {}
        value = inner
    return value


def strings(value: object) -> Iterator[str]:
    """All strings in lists and tables of lists, as manifests name what they need."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (one for one in value if isinstance(one, str))
    elif isinstance(value, dict):
        for inner in value.values():
            if isinstance(inner, list):
                yield from (one for one in inner if isinstance(one, str))


def _texts(contents: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    for path, content in contents.items():
        if len(content) <= LARGEST:
            yield path, content.decode("utf-8", "replace").removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
