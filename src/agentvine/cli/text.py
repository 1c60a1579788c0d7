"""Words for people: text from strangers made harmless, and durations, ages and money made short."""

import re
from datetime import datetime, timedelta

_UNSEEN = "\u00ad\u180e\u200b\u2060-\u2064\u3164\ufeff\U000e0000-\U000e0fff"
_OBEYED = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE = re.compile(f"[\x00-\x08\x0b-\x1f{_OBEYED}{_UNSEEN}]")
_UNSAFE_IN_LINE = re.compile(f"[\x00-\x1f{_OBEYED}{_UNSEEN}]")
_BLANKS = re.compile("[\t\r\n]+")


def clean(text: str) -> str:
    """`text` without anything that a terminal obeys, on as many lines as it has.

    Titles, transcripts and diffs come from strangers: a control character in them could move the cursor, set the
    window's title or answer for the user (ECMA-48), and a bidirectional override could show a line in another order
    than it has (Unicode UAX #9), and what has no width hides what a word really is. Each is replaced by something to
    see; tabs and line ends stay.
    """
    return _UNSAFE.sub(_visible, text.replace("\r\n", "\n"))


def clean_line(text: str) -> str:
    """As `clean`, on one line: a run of tabs and line ends becomes one space."""
    return _UNSAFE_IN_LINE.sub(_visible, _BLANKS.sub(" ", text))


def _visible(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)  # the block Control Pictures shows each by its name
    if code == 0x7F:
        return "\u2421"
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def shortened(text: str, most: int) -> str:
    """`text` cleaned, on one line, of at most `most` characters; an ellipsis says that there was more."""
    line = clean_line(text[: most * 4 + 100].strip())
    return line if len(line) <= most else line[: most - 1].rstrip() + "\u2026"


def short_id(identifier: str) -> str:
    """What a listing shows of an id: its last eight characters, or a worker's id as it is."""
    return identifier if identifier.startswith("wrk_") else identifier[-8:]


def duration(seconds: float) -> str:
    """`seconds` for a person: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`, `3 d 4 h`. Less than none counts as none."""
    seconds = max(seconds, 0.0)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def ago(moment: datetime, now: datetime) -> str:
    """How long before `now` it was, in one unit. The clocks of two machines differ: the near future counts as now."""
    seconds = (now - moment).total_seconds()
    if seconds < 1:
        return "now" if seconds > -60 else f"in {_one_unit(-seconds)}"
    return f"{_one_unit(seconds)} ago"


def until(moment: datetime, now: datetime) -> str:
    """How long after `now` it will be, to the nearest: `in 5 min`, or `over`."""
    seconds = (moment - now).total_seconds()
    half = next((size / 2 for size in (86_400, 3600, 60) if seconds >= size), 0.5)
    return f"in {_one_unit(seconds + half)}" if seconds > 0 else "over"


def _one_unit(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def lasted(begin: datetime, end: datetime) -> str:
    """The duration between two moments."""
    return duration((end - begin) / timedelta(seconds=1))


def money(usd: float) -> str:
    """US dollars: cents, and two digits of what is less than ten cents, so that a cheap run does not look free."""
    if usd == 0:
        return "$0"
    return f"${usd:.2f}" if usd >= 0.1 else f"${usd:.4f}"


def count(number: int) -> str:
    """A count for a person: `812`, `12.4k`, `3.1M`."""
    if number < 1000:
        return str(number)
    return f"{number / 1000:.1f}k" if number < 999_950 else f"{number / 1_000_000:.1f}M"


def several(number: int, noun: str) -> str:
    """`1 task`, `3 tasks`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def repository_name(url: str) -> str:
    """The last two parts of a repository's address: enough to tell it from others in a list."""
    parts = url.removesuffix("/").removesuffix(".git").replace(":", "/").split("/")
    return "/".join(part for part in parts[-2:] if part) or url
