"""What a shell command would run, write, read and delete, as far as its words tell.

A word that the shell would make anew (a variable, a pattern) is left out: the result of the whole work is judged too.
"""

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from agentvine.worker.agent.shell import Command, Unreadable, Word
from agentvine.worker.agent.shell_rules import all_commands, candidates, program_and_arguments

_REMOVES = frozenset({"rm", "unlink", "shred"})
_WRITES_ALL = frozenset({"tee", "touch", "truncate", "patch"})
_COPIES = frozenset({"cp", "install", "ln", "mv", "rsync", "scp"})
_NAMES_ONLY = frozenset({"echo", "printf", "test", "[", "ls", "mkdir", "rm", "unlink", "touch", "find", "git"})
"""Programs whose words may be paths, but that show nothing of a file."""
_PATTERN_FIRST = frozenset({"grep", "egrep", "fgrep", "rg", "ag", "sed", "awk", "gawk", "perl", "jq"})
_DELETES_PLAINLY = re.compile(r"^(-[rRfvqd]+|--|--force|--quiet|--recursive|--verbose)$")
_IN_PLACE = re.compile(r"^(-[a-zA-Z]*i|--in-place)")


@dataclass(frozen=True, slots=True)
class Effects:
    """Paths are as they are written in the command."""

    programs: tuple[tuple[str, ...], ...]
    """Each program that would be started, by its bare name, with its arguments."""
    written: tuple[str, ...]
    """Files that would be made, changed or deleted."""
    deleted: tuple[str, ...]
    read: tuple[str, ...]
    """Words that may be files whose content would be seen."""


def effects(text: str) -> Effects:
    """The effects of the shell command `text`. Raises Unreadable."""
    programs: list[tuple[str, ...]] = []
    written: list[str] = []
    deleted: list[str] = []
    read: list[str] = []
    folder = ""
    for command in all_commands(text):
        written += _in(folder, [word.text for word in command.writes_to if not word.dynamic])
        for words in _programs(command):
            programs.append(words)
            gone = _in(folder, _removed(words))
            deleted += gone
            written += [*gone, *_in(folder, _written(words))]
            read += _in(folder, _read(words))
            if words[0] == "cd" and len(words) == 2:
                folder = _in(folder, words[1:])[0]
    return Effects(tuple(programs), _once(written), _once(deleted), _once(read))


def only_deletes(text: str) -> tuple[str, ...] | None:
    """The files that the shell command `text` deletes with one `rm` or `git rm`; None if it may do anything else than
    that and commit it."""
    try:
        found = list(all_commands(text))
    except Unreadable:
        return None
    if any(one.writes_to or one.documents or any(word.dynamic for word in one.words) for one in found):
        return None
    given = [_texts(one.words) for one in found]
    deleting = [words for words in given if words[:2] not in (["git", "add"], ["git", "commit"])]
    if len(deleting) != 1:
        return None
    (words,) = deleting
    rest = words[1:] if words[:1] == ["rm"] else words[2:] if words[:2] == ["git", "rm"] else []
    options = [word for word in rest if word.startswith("-")]
    if len(options) == len(rest) or not all(map(_DELETES_PLAINLY.match, options)):
        return None
    return _once(_plain(rest))


def _in(folder: str, paths: Sequence[str]) -> list[str]:
    """Paths that are named from `folder`, where the command has gone before."""
    return [path if not folder or path.startswith(("/", "~")) else posixpath.join(folder, path) for path in paths]


def _once(paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(path for path in paths if path))


def _programs(command: Command) -> Iterator[tuple[str, ...]]:
    for words in candidates(command.words):
        name, arguments = program_and_arguments(words)
        yield (name, *_texts(arguments))
        if name.endswith((".py", ".sh")):
            continue
        for number, word in enumerate(arguments):  # `python manage.py migrate`, `npx prisma migrate`, `bin/rails …`
            if not word.text.startswith("-"):
                script = PurePosixPath(word.text).name
                if script.endswith(".py"):
                    yield (script, *_texts(arguments[number + 1 :]))
                break


def _texts(words: Sequence[Word]) -> list[str]:
    return [word.text for word in words]


def _removed(words: tuple[str, ...]) -> list[str]:
    if words[0] in _REMOVES:
        return _plain(words[1:])
    if words[0] == "git" and "rm" in words[1:3]:
        return _plain(words[words.index("rm") + 1 :])
    return []


def _written(words: tuple[str, ...]) -> list[str]:
    name, paths = words[0], _plain(words[1:])
    if name in _WRITES_ALL:
        return paths
    if name in _COPIES and len(paths) > 1:
        *sources, target = paths
        inside = [f"{target.rstrip('/')}/{PurePosixPath(source).name}" for source in sources]
        return [target, *inside, *(sources if name == "mv" else ())]
    if name == "git" and "mv" in words[1:3]:
        return _plain(words[words.index("mv") + 1 :])
    if name in {"sed", "perl"} and any(_IN_PLACE.match(word) for word in words[1:]):
        return paths[0 if "-e" in words else 1 :]
    if name == "dd":
        return [word.removeprefix("of=") for word in words if word.startswith("of=")]
    return []


def _read(words: tuple[str, ...]) -> list[str]:
    if words[0] in _NAMES_ONLY:
        return []
    paths = [word.rpartition("@")[2].rpartition("=")[2] for word in words[1:]]
    return paths[1:] if words[0] in _PATTERN_FIRST and len(paths) > 1 else paths


def _plain(words: Sequence[str]) -> list[str]:
    return [word for word in words if not word.startswith("-")]
