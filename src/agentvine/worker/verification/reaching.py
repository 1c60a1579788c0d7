"""Whether tests of Python come to the repository's code at all. Pure: texts and executed lines in, sentences out."""

import re
from collections.abc import Collection, Mapping
from contextlib import suppress

from agentvine.worker.verification.changed_lines import changed_lines, statements

ELSEWHERE = re.compile(
    r"\b(gevent|greenlet|eventlet|pexpect|docker|env\s*=|env -i|execv\w*|ctypes|settrace|coverage)\b"
)
"""Words of tests whose code may run where it is not measured."""
_STARTS = re.compile(r"\b(subprocess|os\.system|popen|spawn\w*)\b", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z_]\w+")
_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


def runs_nothing(
    code: Mapping[str, str],
    lines: Mapping[str, Collection[int]],
    tests: Mapping[str, tuple[str | None, str]],
    words: Collection[str],
) -> str:
    """Why nothing follows from tests that come into no function of `code`; empty if they may come into one.

    `tests`: each file's text before and after. `words`: names outside of functions that are as good as functions.
    """
    there = False
    for path, text in code.items():
        with suppress(*_UNREADABLE):
            for one in statements(path, text):
                there = there or one.inside
                told = one.inside or not set(words).isdisjoint(one.names)
                if told and not set(lines.get(path, ())).isdisjoint(one.lines):
                    return ""
    if not there or any(ELSEWHERE.search(after) or _STARTS.search(after) for _, after in tests.values()):
        return ""
    return "the new tests come into none of the repository's functions: call the code, and assert what it has to do"


def only_names(code: Mapping[str, tuple[str | None, str]], asked: str) -> bool:
    """True if all that was changed in `code` is that there are new names, and the task speaks of none of them."""
    for path, (before, after) in code.items():
        try:
            changed, known = changed_lines(before, after), set(_WORD.findall(before or ""))
            new = [one for one in statements(path, after) if not changed.isdisjoint(one.lines)]
        except _UNREADABLE:
            return False
        for one in new:
            if one.inside or not one.names or known & set(one.names) or any(name in asked for name in one.names):
                return False
    return bool(code)
