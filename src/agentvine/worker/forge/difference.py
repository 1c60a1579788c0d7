"""Which lines of a change can be commented on: those that its diff shows. Reads the unified format (diff(1))."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_HUNK = re.compile(r"^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@")
_ESCAPES = {"t": 9, "n": 10, "r": 13, "a": 7, "b": 8, "f": 12, "v": 11, '"': 34, "\\": 92}


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """One file of a diff. `lines`: by the new number of each line that is shown, its old one; None if it was added."""

    path: str
    old_path: str
    lines: Mapping[int, int | None] = field(default_factory=dict)


def lines_of(hunks: str) -> dict[int, int | None]:
    """The lines of one file's hunks, as in `ChangedFile`."""
    lines: dict[int, int | None] = {}
    old = new = 0
    within = False
    for line in hunks.split("\n"):
        if found := _HUNK.match(line):
            old, new, within = int(found[1]), int(found[2]), True
        elif not within or line.startswith("\\"):
            continue
        elif line.startswith("+"):
            lines[new] = None
            new += 1
        elif line.startswith("-"):
            old += 1
        elif line.startswith(" "):
            lines[new] = old
            old, new = old + 1, new + 1
    return lines


def part_around(hunks: str, new: int | None, old: int | None, most: int = 12) -> str:
    """The part of one file's hunks that ends with a line, by its new or its old number; empty if it is not shown."""
    kept: list[str] = []
    at_old = at_new = 0
    for line in hunks.split("\n"):
        if found := _HUNK.match(line):
            at_old, at_new, kept = int(found[1]), int(found[2]), [line]
            continue
        if not kept or line.startswith("\\"):
            continue
        kept.append(line)
        is_it = (not line.startswith("-") and at_new == new) or (
            not line.startswith("+") and new is None and at_old == old
        )
        if is_it:
            return "\n".join([kept[0], *kept[1:][-most:]])
        at_old += not line.startswith("+")
        at_new += not line.startswith("-")
    return ""


def files_of(diff: str) -> list[ChangedFile]:
    """The files of a diff that git made, as far as they are text."""
    files = []
    for section in re.split(r"^(?=diff --git )", diff, flags=re.MULTILINE):
        old = re.search(r"^--- (.+)$", section, re.MULTILINE)
        new = re.search(r"^\+\+\+ (.+)$", section, re.MULTILINE)
        if old is None or new is None or new[1] == "/dev/null":
            continue
        path = _name(new[1])
        former = path if old[1] == "/dev/null" else _name(old[1])
        files.append(ChangedFile(path, former, lines_of(section[new.end() :])))
    return files


def _name(written: str) -> str:
    """The path behind `a/` or `b/`, of which git writes unusual ones in quotes with octal escapes."""
    written = written.removesuffix("\t")
    if written.startswith('"'):
        raw = re.sub(
            rb"\\([0-7]{3}|[tnrabfv\"\\])",
            lambda escape: bytes([_ESCAPES.get(escape[1].decode()) or int(escape[1], 8)]),
            written[1:-1].encode(),
        )
        written = raw.decode(errors="replace")
    return written[2:]
