"""Whether tests of other languages than Python state less than before: read by their usual words, never run.

Tests are told apart by their names, where a file can be read with certainty: all of its strings end, all of its
brackets close. Else the file is judged as a whole.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

_FLAGS = re.MULTILINE | re.DOTALL


@dataclass(frozen=True, slots=True)
class _Words:
    """How a language's tests say that they are left out, and that they claim something."""

    skips: re.Pattern[str]
    claims: re.Pattern[str]
    tokens: re.Pattern[str]
    """Comments, strings, and what else holds brackets that close nothing (`kept` is its first character)."""
    hollow: re.Pattern[str] | None = None
    """Claims that can never fail."""
    tests: re.Pattern[str] | None = None
    """Where a test begins: with `name`, or with a string for its name, just before `opened`, its first bracket."""
    firm: re.Pattern[str] | None = None
    """Those of `claims` that count in a single test, where others are written in many ways."""
    claiming: re.Pattern[str] | None = None
    """Calls that may claim something in another place: of what is defined elsewhere."""
    harmless: frozenset[str] = frozenset()


_COMMENTS = r"(?P<comment>//[^\n]*|/\*.*?(?:\*/|\Z))"
_STRING = r"'(?:\\.|[^'\\\n])*'?|\"(?:\\.|[^\"\\\n])*\"?"
_REGEX = r"(?P<kept>[(,=:\[!&|?{;])[ \t]{0,40}/(?![*/])(?:\\[^\n]|[^/\\\n]){1,200}/"
_SAME = r"(?P<same>[\w.]+|'[^'\n]*'|\"[^\"\n]*\")"
_FROM_JS = frozenset(
    {"if", "for", "while", "switch", "catch", "function", "return", "await", "typeof", "new", "describe", "it", "test"}
    | {
        "String",
        "Number",
        "Boolean",
        "Array",
        "Object",
        "Symbol",
        "parseInt",
        "parseFloat",
        "require",
        "import",
        "void",
    }
)
_FROM_GO = frozenset(
    {
        "if",
        "for",
        "switch",
        "func",
        "return",
        "len",
        "cap",
        "make",
        "append",
        "string",
        "int",
        "panic",
        "new",
        "println",
    }
)
_FROM_RUST = frozenset({"if", "for", "while", "match", "fn", "return", "drop", "loop", "let"})
_SCRIPT = _Words(
    skips=re.compile(
        r"\b(?:it|test|describe|suite|context)\s*\.\s*(?:skip|todo|failing|fails|only)\b|\bx(?:it|describe|test)\s*\(|\bf(?:it|describe)\s*\(|\bthis\.skip\(|\bskip:\s*true"
    ),
    claims=re.compile(r"\bexpect\s*[.(]|\bassert\b|\.should\b|\bt\.(?:is|deepEqual|throws|true|false|ok|equal)\s*\("),
    tokens=re.compile(rf"{_COMMENTS}|(?P<string>{_STRING}|`(?:\\.|[^`\\])*`?)|{_REGEX}", _FLAGS),
    hollow=re.compile(
        r"\bassert(?:\s*\.\s*(?:ok|isTrue|isOk))?\(\s*(?:true|!0|!false|[1-9]\d*)\s*[,)]"
        rf"|\b(?:assert\.\w*[eE]qual|t\.(?:is|equal|deepEqual))\(\s*{_SAME}\s*,\s*(?P=same)\s*[,)]"
        r"|\bexpect\(\s*(?:true|[1-9]\d*)\s*\)\s*\.\s*(?:toBe\(\s*true|toBeTruthy|toBeDefined|to\.be\.(?:true|ok))\b"
        r"|\bexpect\(\s*(?P<it>[\w.]+|'[^'\n]*'|\"[^\"\n]*\")\s*\)\s*\.\s*"
        r"(?:to\.(?:be|equal|eql|deep\.equal)|toBe|toEqual|toStrictEqual)\(\s*(?P=it)\s*\)"
        r"|\bif\s*\(\s*false\s*\)\s*(?:\{[^{}]*\}|[^;\n]*)"
    ),
    tests=re.compile(r"(?<![\w.$])(?:it|test|specify)(?:\.\w+)?\s*(?P<opened>\()\s*(?=[\"'`])"),
    claiming=re.compile(r"(?<![\w.$])(?P<name>[A-Za-z_$][\w$]*)\s*\("),
    harmless=_FROM_JS,
)
_LANGUAGES: Mapping[str, _Words] = {
    **dict.fromkeys((".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts"), _SCRIPT),
    ".go": _Words(
        skips=re.compile(r"\b[tb]\.Skip(?:f|Now)?\(|//\s*\+build\s+ignore|//go:build\s+ignore"),
        claims=re.compile(r"\b[tb]\.(?:Error|Errorf|Fatal|Fatalf|Fail|FailNow)\b|\b(?:assert|require|is|cmp)\.\w+\("),
        tokens=re.compile(rf"{_COMMENTS}|(?P<string>{_STRING}|`[^`]*`?)", _FLAGS),
        hollow=re.compile(
            r"\b(?:assert|require)\.True\(\s*\w+\s*,\s*true\s*[,)]"
            rf"|\b(?:assert|require)\.Equal\(\s*\w+\s*,\s*{_SAME}\s*,\s*(?P=same)\s*[,)]"
            r"|\bif\s+(?:false|(?P<it>[\w.]+)\s*!=\s*(?P=it))\s*\{[^{}]*\}"
        ),
        tests=re.compile(r"^func\s+(?P<name>(?:Test|Fuzz|Example)\w*)\s*\([^()\n]*\)\s*(?P<opened>\{)", re.MULTILINE),
        claiming=re.compile(r"(?<![\w.])(?P<name>[A-Za-z_]\w*)\s*\(|\b(?P<with>\w+\.\w+)\(\s*(?:t|b|tb)\s*[,)]"),
        harmless=_FROM_GO,
    ),
    ".rs": _Words(
        skips=re.compile(r"#\[\s*ignore|#\[\s*should_panic|#\[\s*cfg\s*\(\s*(?:any\(\)|FALSE)"),
        claims=re.compile(
            r"\b(?:debug_)?assert(?:_eq|_ne|_matches)?!|\bpanic!|\bprop_assert\w*!|\.unwrap\(|\.expect\("
        ),
        tokens=re.compile(
            rf"{_COMMENTS}|(?P<string>r#+\".*?\"#+|\"(?:\\.|[^\"\\])*\"?|'(?:\\[^'\n]+|[^'\\\n])')", _FLAGS
        ),
        hollow=re.compile(
            rf"\bassert!\(\s*true\s*[,)]|\bassert_eq!\(\s*{_SAME}\s*,\s*(?P=same)\s*[,)]|\bif\s+false\s*\{{[^{{}}]*\}}"
        ),
        tests=re.compile(
            r"#\[\s*(?:\w+::){0,4}test\b[^\]]{0,200}\]\s*(?:#\[[^\]]{0,200}\]\s*){0,9}(?:pub\s+)?(?:async\s+)?"
            r"fn\s+(?P<name>\w+)\s*\([^()]{0,500}\)[^{};]{0,200}(?P<opened>\{)"
        ),
        firm=re.compile(r"\b(?:debug_)?assert(?:_eq|_ne|_matches)?!|\bpanic!|\bprop_assert\w*!"),
        claiming=re.compile(r"(?<![\w.:])(?P<name>[a-z_]\w*)\s*\("),
        harmless=_FROM_RUST,
    ),
    **dict.fromkeys(
        (".java", ".kt", ".scala"),
        _Words(
            re.compile(r"@(?:Disabled|Ignore|Ignored)\b|\bassume(?:True|False|That)\s*\("),
            re.compile(r"\bassert\w*\s*[({]|\bverify\s*\(|\bfail\s*\(|\bexpect\w*\s*[.(]|\bshould\w*\b"),
            re.compile(_COMMENTS, _FLAGS),
        ),
    ),
    ".rb": _Words(
        re.compile(r"^\s*(?:xit|xdescribe|xcontext|pending|skip|fit|fdescribe|fcontext)\b", re.MULTILINE),
        re.compile(r"\bexpect\s*[({]|\bassert\w*\b|\.should\b"),
        re.compile(r"(?P<comment>^\s*#[^\n]*)", re.MULTILINE),
    ),
}
_LOOPS = re.compile(r"\bfor\b|\bwhile\b|\.(?:forEach|each|map|every|some|iter|for_each)\b|\bt\.Run\(")
_PAIRS = {")": "(", "]": "[", "}": "{"}
_BRACKETS = re.compile(r"[()\[\]{}]")


def of_language(suffix: str) -> Callable[[str | None, str], Iterator[tuple[int, str]]]:
    """What finds, for files that end with `suffix`, the lines where they state less, and how; never raises."""
    words = _LANGUAGES.get(suffix)

    def look(before: str | None, after: str) -> Iterator[tuple[int, str]]:
        if words is None:
            return
        old, new = _read(before or "", words), _read(after, words)
        skips = list(words.skips.finditer(new.said))
        if len(skips) > len(words.skips.findall(old.said)):
            line = new.said.count("\n", 0, skips[-1].start()) + 1
            yield line, f"`{skips[-1].group().strip()}` leaves tests out, or others than it"
        if before is None:
            return
        had, has = len(words.claims.findall(old.claimed)), len(words.claims.findall(new.claimed))
        if has < had:
            yield 0, f"it asserts less than before: {has} of {had} claims are left"
        else:
            yield from _per_test(old, new, words)

    return look


@dataclass(frozen=True, slots=True)
class _Text:
    """A file of tests, in three ways; each has every line where it was."""

    said: str
    """Without comments."""
    claimed: str
    """Without claims that can never fail, too."""
    tests: Mapping[str, tuple[int, str]]
    """Name → line, and what is claimed in it. Empty where that cannot be told."""


def _read(text: str, words: _Words) -> _Text:
    said = words.tokens.sub(lambda one: one.group() if one.lastgroup != "comment" else _blank(one), text)
    return _Text(said, _firmly(said, words), dict(_tests(said, words)))


def _firmly(said: str, words: _Words) -> str:
    return words.hollow.sub(_blank, said) if words.hollow else said


def _blank(found: re.Match[str]) -> str:
    """As long as it was, with its lines and without its words."""
    return re.sub(r"[^\n]", " ", found.group())


def _bare(found: re.Match[str]) -> str:
    """A string without its words."""
    kept = found.groupdict().get("kept") or ""
    blank = _blank(found)
    return (kept or found.group()[:1]) + blank[1:-1] + ("'" if len(blank) > 1 else "")


def _tests(text: str, words: _Words) -> Iterator[tuple[str, tuple[int, str]]]:
    """The tests by their names; those with a name that is there twice are one. Nothing if brackets do not close."""
    if words.tests is None or any(map(_is_open, words.tokens.finditer(text))):
        return
    bare = words.tokens.sub(_bare, text)
    ends = _closed(bare)
    if ends is None:
        return
    found: dict[str, tuple[int, str]] = {}
    for start in words.tests.finditer(text if "name" not in words.tests.groupindex else bare):
        opened = start.start("opened")
        if opened not in ends:
            continue
        body = _firmly(text[opened : ends[opened]], words)
        name = start.groupdict().get("name") or _string(text, start.end())
        line, more = found.get(name, (text.count("\n", 0, start.start()) + 1, ""))
        found[name] = (line, f"{more}\n{body}")
    yield from found.items()


def _is_open(token: re.Match[str]) -> bool:
    """True for a string that does not end in its line, which most likely is none."""
    quote = token.group()[:1]
    return token.lastgroup == "string" and quote in "\"'`" and (len(token.group()) == 1 or token.group()[-1] != quote)


def _string(text: str, place: int) -> str:
    """The string that begins at `place`, as it is written."""
    end = text.find(text[place : place + 1] or "\n", place + 1)
    return text[place + 1 : end if end > 0 else place + 100]


def _closed(bare: str) -> Mapping[int, int] | None:
    """Where each bracket closes; None if not all do."""
    ends: dict[int, int] = {}
    opened: list[tuple[str, int]] = []
    for one in _BRACKETS.finditer(bare):
        if one.group() not in _PAIRS:
            opened.append((one.group(), one.start()))
        elif opened and opened[-1][0] == _PAIRS[one.group()]:
            ends[opened.pop()[1]] = one.start()
        else:
            return None
    return ends if not opened else None


def _per_test(old: _Text, new: _Text, words: _Words) -> Iterator[tuple[int, str]]:
    """Tests of the same name that claim less, when nothing shows where else it is claimed now."""
    before, after = _claims(old.claimed, words), _claims(new.claimed, words)
    for name, (line, body) in new.tests.items():
        if name not in old.tests:
            continue
        was, now = _claims(old.tests[name][1], words), _claims(body, words)
        lost = was.total() - now.total()
        if lost <= 0:
            continue
        moved = ((was - now) & ((after - now) - (before - was))).total()
        if lost - moved <= 0 or _elsewhere(old.tests[name][1], body, words, emptied=not now):
            continue
        yield line, f"{name!r} asserts less than before: {now.total()} of {was.total()} claims are left"


def _claims(text: str, words: _Words) -> Counter[str]:
    """Lines that claim something, each as often as it does."""
    found: Counter[str] = Counter()
    for line in text.splitlines():
        if number := len((words.firm or words.claims).findall(line)):
            found[line.strip()] += number
    return found


def _elsewhere(before: str, after: str, words: _Words, *, emptied: bool) -> bool:
    """Whether the test may claim as much as before: in a loop, or by calling what it did not call."""
    if not emptied and len(_LOOPS.findall(after)) > len(_LOOPS.findall(before)):
        return True
    return bool(_calls(after, words) - _calls(before, words))


def _calls(text: str, words: _Words) -> set[str]:
    if words.claiming is None:
        return set()
    bare = words.tokens.sub(_bare, text)
    named = {next(filter(None, one.groups())) for one in words.claiming.finditer(bare)}
    return named - words.harmless
