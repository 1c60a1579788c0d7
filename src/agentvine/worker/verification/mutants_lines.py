"""Faults for languages without a parser here: careful replacements on lines that are plainly code.

A line that holds a string, a comment or the middle of something longer is left alone, so that a fault is one of the
code and not one of its syntax; what does not compile would be noticed by any test, and would prove nothing.
"""

import re
from collections.abc import Collection, Iterator

from agentvine.worker.verification.mutants_python import Fault

_SCRIPTS = frozenset({".js", ".mjs", ".cjs"})
_COMPILED = frozenset({".go", ".rs", ".java", ".kt", ".ts", ".tsx", ".jsx", ".mts", ".cts"})
"""Whose compilers look at types: only faults that keep them are made."""
_NOT_PLAIN = re.compile(r"""["'`]|//|/\*|\*/|^\s*\*|^\s*#|=>\s*$|<[A-Z]\w*""")
_IF = re.compile(r"^(\s*(?:\}\s*else\s+)?if\s*)\((.+)\)(\s*(?:\{|return\b[^;]*;|throw\b[^;]*;)\s*)$")
_BARE_IF = re.compile(r"^(\s*(?:\}\s*else\s+)?if\s+)([^;{]+?)(\s*\{\s*)$")
_RETURN = re.compile(r"^(\s*return\s+)([^;{([]+|[^;{]*[\w)\]])(;?\s*)$")
_ONE_LINE = re.compile(r"^(.*\{\s*return\s+)([^;{}]+?)(;?\s*\}\s*[;,)]*\s*)$")
_ARITHMETIC = re.compile(r"(?<=[\w)\]]) ([+*-]) (?=[\w(])")
_EQUALITY = re.compile(r" (===|!==|==|!=) ")
_LIMIT = re.compile(r" (<=|>=|<|>) (?=[\w(])")
_SWAPPED = {"+": "-", "-": "+", "*": "+", "===": "!==", "!==": "===", "==": "!=", "!=": "=="}
_MOVED = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
_LET = re.compile(r"\blet\b|;")


def faults(suffix: str, text: str, lines: Collection[int]) -> tuple[Fault, ...]:
    """The faults that can be made on `lines` of a file with that suffix; none for a language that is not known."""
    if suffix not in _SCRIPTS | _COMPILED:
        return ()
    found: list[tuple[int, Fault]] = []
    start = 0
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        bare = line.rstrip("\r\n")
        if number in lines and not _NOT_PLAIN.search(bare):
            for rank, (left, right, instead, grave) in _of(suffix, bare):
                was, now = bare.strip()[:80], (bare[:left] + instead + bare[right:]).strip()[:80]
                what = f"`{was}` becomes `{now}`"
                found.append((rank, Fault(number, what, start + left, start + right, instead, grave)))
        start += len(line)
    found.sort(key=lambda one: (one[0], one[1].start))
    return tuple(fault for _, fault in found)


def _of(suffix: str, line: str) -> Iterator[tuple[int, tuple[int, int, str, bool]]]:
    """Rank, place, text and gravity of each fault that can be made on a line."""
    script = suffix in _SCRIPTS
    returned = _RETURN.match(line) or _ONE_LINE.match(line)
    if script and returned and returned[2].strip() not in {"null", "undefined", "this"}:
        yield 0, (*returned.span(2), "undefined", True)
    if suffix in {".go", ".rs"}:
        condition = _BARE_IF.match(line)
        if condition and not _LET.search(condition[2]):
            yield 1, (*condition.span(2), f"!({condition[2].strip()})", True)
    elif (condition := _IF.match(line)) and _balanced(condition[2]):
        yield 1, (*condition.span(2), f"!({condition[2]})", True)
    for pattern, swap, rank in ((_EQUALITY, _SWAPPED, 2), (_ARITHMETIC, _SWAPPED, 2), (_LIMIT, _MOVED, 4)):
        found = pattern.search(line)
        if found and (returned or pattern is not _ARITHMETIC):
            yield rank, (*found.span(1), swap[found[1]], swap is _SWAPPED)


def _balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            return False
    return depth == 0
