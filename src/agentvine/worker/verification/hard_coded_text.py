"""Literal inputs and outputs in languages that are read by their words, and code that asks whether it is tested."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from agentvine.worker.verification.literals import Pair, Special, literal

_LITERAL = r"""-?\d+(?:\.\d+)?|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'"""
_CALL = rf"(?:\w+\.)*(\w+)\(\s*((?:{_LITERAL})(?:\s*,\s*(?:{_LITERAL}))*)\s*\)"
_ONE = re.compile(_LITERAL)
_SCRIPT = (
    re.compile(rf"\b(?:strictEqual|equal|deepEqual|deepStrictEqual|is)\(\s*{_CALL}\s*,\s*({_LITERAL})"),
    re.compile(rf"\bexpect\(\s*{_CALL}\s*\)\.(?:toBe|toEqual|toStrictEqual|to\.equal|to\.eql)\(\s*({_LITERAL})\s*\)"),
)
_GO = (
    re.compile(rf"\bif\s+(?:\w+\s*:=\s*)?{_CALL}\s*(?:;\s*\w+\s*)?!=\s*({_LITERAL})"),
    re.compile(rf"\bEqual\(\s*\w+\s*,\s*(?P<out>{_LITERAL})\s*,\s*{_CALL}\s*\)"),
)
_RUST = (re.compile(rf"\bassert_eq!\(\s*{_CALL}\s*,\s*({_LITERAL})"),)
_JAVA = (re.compile(rf"\bassertEquals\(\s*(?P<out>{_LITERAL})\s*,\s*{_CALL}"),)
_CLAIMS: Mapping[str, tuple[re.Pattern[str], ...]] = {
    **dict.fromkeys((".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts"), _SCRIPT),
    ".go": _GO,
    ".rs": _RUST,
    **dict.fromkeys((".java", ".kt"), _JAVA),
}
_EQUAL = rf"(\w+)\s*={{2,3}}\s*({_LITERAL})"
_BRANCH = re.compile(
    rf"\bif\s*\(?\s*({_EQUAL}(?:\s*&&\s*{_EQUAL})*)\s*\)?\s*\{{?\s*return\s*\(?\s*({_LITERAL})\s*\)?\s*[;}}\n]"
)
_CASE = re.compile(rf"\bcase\s+({_LITERAL})\s*:\s*return\s+({_LITERAL})")
_COMPARED = re.compile(_EQUAL)
_FUNCTION = re.compile(
    r"\b(?:function\s+(\w+)\s*\(|fn\s+(\w+)\s*[(<]|func\s+(?:\([^)]*\)\s*)?(\w+)\s*\("
    r"|(?:const|let|var)\s+(\w+)\s*=\s*(?:async\s*)?(?:function\b|\(?[\w\s,]*\)?\s*=>)|(?:public|private|protected|static|\s)+[\w<>\[\]]+\s+(\w+)\s*\([^)]*\)\s*\{)"
)
_TESTED: Mapping[str, re.Pattern[str]] = {
    ".py": re.compile(
        r"""PYTEST_CURRENT_TEST|["'](?:_?pytest|unittest)["']\s+(?:not\s+)?in\s+sys\.modules"""
        r"""|sys\.modules\.get\(\s*["'](?:_?pytest|unittest)["']"""
        r"""|["'](?:py\.?)?test["']\s+in\s+(?:sys\.argv\[0\]|" ".join\(sys\.argv)"""
        r"""|["']pytest["']\s+in\s+(?:str\()?sys\.argv|(?:stack\(\)|_getframe|currentframe).*(?:test|pytest)"""
    ),
    **dict.fromkeys(
        (".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx"),
        re.compile(
            r"JEST_WORKER_ID|VITEST_\w+|NODE_TEST_CONTEXT|typeof\s+(?:jest|describe|vitest|expect)\b|process\.env\.VITEST\b"
        ),
    ),
    ".go": re.compile(r"""\btesting\.Testing\(\)|flag\.Lookup\(\s*"test\.|os\.Args\[0\][^\n]*\.test\b"""),
    ".rs": re.compile(r"\bif\s+cfg!\(\s*test\s*\)"),
}


def pairs(path: str, text: str) -> tuple[Pair, ...]:
    """What the tests in a file assert of calls with nothing but literals."""
    found: list[Pair] = []
    for pattern in _CLAIMS.get(PurePosixPath(path).suffix.lower(), ()):
        for claim in pattern.finditer(text):
            groups = [group for group in claim.groups() if group is not None]
            named = claim.groupdict().get("out")
            function, inputs, output = (*groups[1:3], named) if named is not None else groups[:3]
            said = _value(output)
            values = [_value(one) for one in _ONE.findall(inputs)]
            if said is not None and None not in values:
                found.append(Pair(function, tuple(one for one in values if one is not None), said))
    return tuple(found)


def specials(path: str, text: str) -> tuple[Special, ...]:
    """The branches in a file that compare with literals and return one."""
    if PurePosixPath(path).suffix.lower() not in _CLAIMS:
        return ()
    functions = [(found.start(), next(filter(None, found.groups()), "")) for found in _FUNCTION.finditer(text)]
    found: list[Special] = []
    for branch in _BRANCH.finditer(text):
        conditions = _COMPARED.findall(branch[1])
        inputs = [_value(value) for _, value in conditions]
        output = _value(branch[branch.lastindex or 1])
        if output is not None and None not in inputs:
            line, names = text.count("\n", 0, branch.start()) + 1, tuple(name for name, _ in conditions)
            known = tuple(one for one in inputs if one is not None)
            found.append(Special(_around(functions, branch.start()), known, output, line, by=names))
    for case in _CASE.finditer(text):
        key, output = _value(case[1]), _value(case[2])
        if key is not None and output is not None:
            line = text.count("\n", 0, case.start()) + 1
            found.append(Special(_around(functions, case.start()), (key,), output, line))
    return tuple(found)


def _around(functions: list[tuple[int, str]], place: int) -> tuple[str, ...]:
    above = [name for start, name in functions if start <= place]
    return (above[-1],) if above else ()


def _value(text: str) -> str | None:
    try:
        return literal(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError):
        return None


def noticing_tests(path: str, added: Mapping[int, str], asked: str) -> Iterator[tuple[int, str]]:
    """Lines by which code behaves otherwise while it is tested. `asked`: the words of the task."""
    pattern = _TESTED.get(PurePosixPath(path).suffix.lower())
    if pattern is None or re.search(r"\b(pytest|test runner|under test|jest|vitest)\b", asked, re.IGNORECASE):
        return
    for line, text in added.items():
        if found := pattern.search(text):
            yield line, f"`{found[0][:80]}` asks whether tests are running: do the same with and without them"
