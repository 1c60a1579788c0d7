"""Commit objects and their messages, as values. Everything here is pure: the same commit in, the same commit out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentvine.kit.redaction import Redactor

_CONVENTIONAL = re.compile(
    r"^(build|chore|ci|docs|feat|fix|perf|refactor|revert|style|test)(\([^()\n]+\))?!?: +\S", re.IGNORECASE
)
_TRAILER = re.compile(r"^[A-Za-z0-9][A-Za-z0-9-]*: *\S")
_REDACTOR = Redactor()
"""By the looks of a secret alone: it must make the same of a message on every worker."""
_NO_SUBJECT = "untitled change"


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit object (git-cat-file(1)). `author` and `committer` are `name <email> seconds zone`.

    Of the other headers only `encoding` is kept: a signature would no longer hold.
    """

    tree: str
    parents: tuple[str, ...]
    author: bytes
    committer: bytes
    message: bytes
    encoding: bytes | None = None

    @classmethod
    def parse(cls, content: bytes) -> "Commit":
        """Read git's own form. Raises ValueError if it is none."""
        head, _, message = content.partition(b"\n\n")
        values: dict[bytes, list[bytes]] = {}
        for line in head.split(b"\n"):
            name, _, value = line.partition(b" ")  # a continued line begins with a blank, so its name is empty
            values.setdefault(name, []).append(value)
        try:
            return cls(
                tree=values[b"tree"][0].decode(),
                parents=tuple(parent.decode() for parent in values.get(b"parent", [])),
                author=values[b"author"][0],
                committer=values[b"committer"][0],
                message=message,
                encoding=values.get(b"encoding", [None])[0],
            )
        except (KeyError, UnicodeDecodeError) as error:
            raise ValueError("not a commit object") from error

    def render(self) -> bytes:
        """Git's own form."""
        lines = [b"tree " + self.tree.encode(), *(b"parent " + parent.encode() for parent in self.parents)]
        lines += [b"author " + self.author, b"committer " + self.committer]
        if self.encoding is not None:
            lines.append(b"encoding " + self.encoding)
        return b"\n".join(lines) + b"\n\n" + self.message


def dated(person: bytes, like: bytes) -> bytes:
    """`person`, with the time and zone of `like`."""
    name, _, _ = person.rpartition(b"> ")
    _, _, when = like.rpartition(b"> ")
    return name + b"> " + when


def signed(message: bytes, prefix: str, trailers: Mapping[str, str]) -> bytes:
    """`message` with a Conventional Commits subject and with exactly these trailers of ours.

    A subject that has no conventional type gets `prefix`; one that has keeps its own. Trailers of the same names that
    are there already are replaced, other trailers stay. What looks like a secret is taken out. `signed` of its own
    result is that result.
    """
    text = _REDACTOR.text(message.decode("utf-8", "surrogateescape").replace("\r\n", "\n"))
    subject, _, rest = text.strip("\n").partition("\n")
    paragraphs = [_conventional(subject.strip(), prefix), *_without(rest, trailers)]
    ours = [f"{name}: {value}" for name, value in trailers.items()]
    if len(paragraphs) > 1 and _is_trailers(paragraphs[-1].split("\n")):
        paragraphs[-1] = "\n".join([paragraphs[-1], *ours])
    elif ours:
        paragraphs.append("\n".join(ours))
    return ("\n\n".join(paragraphs) + "\n").encode("utf-8", "surrogateescape")


def _conventional(subject: str, prefix: str) -> str:
    if (found := _CONVENTIONAL.match(subject)) is not None:
        return found[1].lower() + subject[found.end(1) :]
    bare = re.sub(rf"^{re.escape(prefix)}(\([^()]*\))?!?:?\s*$", "", subject, flags=re.IGNORECASE)  # a type and no more
    return f"{prefix}: {bare or _NO_SUBJECT}"


def _without(body: str, trailers: Mapping[str, str]) -> list[str]:
    """The paragraphs of `body` without lines that claim to be one of these trailers, wherever they stand."""
    names = {name.lower() for name in trailers}
    lines = [line.rstrip() for line in body.split("\n") if line.partition(":")[0].strip().lower() not in names]
    return [part.strip("\n") for part in re.split(r"\n{2,}", "\n".join(lines)) if part.strip()]


def _is_trailers(lines: Sequence[str]) -> bool:
    return all(_TRAILER.match(line) for line in lines)
