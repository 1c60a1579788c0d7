"""Faults for Python: found in the syntax tree, made in the text, so that the rest of the file stays as it is."""

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_SWAPPED: dict[type[ast.operator], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "+",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.Mod: "+",
}
_MOVED: dict[type[ast.cmpop], str] = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
_LIGHT = 4
"""From this rank on, a fault may well change nothing that matters."""
_SAID_ONLY = ("log", "logger", "logging", "_log", "_logger", "print", "warnings", "warn", "super")
"""Calls that tests seldom look at."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is put in the place of the characters from `start` to `end`."""

    line: int
    what: str
    start: int
    end: int
    instead: str
    grave: bool = True
    """It changes what the code does, not only where a limit lies: tests of this line have to notice it."""
    function: str = ""
    """The function that it is in."""

    def applied(self, text: str) -> str:
        return text[: self.start] + self.instead + text[self.end :]


def faults(text: str, lines: Collection[int]) -> tuple[Fault, ...]:
    """The faults that can be made on `lines`, those hardest to overlook first.

    Raises SyntaxError, ValueError, RecursionError, MemoryError for what Python itself cannot read.
    """
    tree = ast.parse(text)
    source = _Source(text)
    found: list[tuple[int, Fault]] = []
    for function in (node for node in ast.walk(tree) if isinstance(node, _Function)):
        for node in _own(function):
            if getattr(node, "lineno", 0) in lines:
                for rank, fault in _of(node, source, function.name):
                    found.append((rank, fault))
    found.sort(key=lambda one: (one[0], one[1].start))
    kept: dict[tuple[int, int, str], Fault] = {}
    for _, fault in found:
        mutated = fault.applied(text)
        if mutated != text and _reads(mutated):
            kept.setdefault((fault.start, fault.end, fault.instead), fault)
    return tuple(kept.values())


def _own(function: _Function) -> Iterator[ast.AST]:
    """What stands in the function itself, not in functions within it, nor in its signature."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop(0)
        yield node
        if not isinstance(node, _Function | ast.ClassDef):
            waiting += ast.iter_child_nodes(node)


class _Source:
    """The text by the places that the syntax tree names: line and byte."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._lines = text.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    def at(self, line: int, byte: int) -> int:
        before = self._lines[line - 1].encode()[:byte]
        return self._starts[line - 1] + len(before.decode())

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        return self.at(node.lineno, node.col_offset), self.at(node.end_lineno or node.lineno, node.end_col_offset or 0)

    def of(self, node: ast.expr | ast.stmt) -> str:
        start, end = self.span(node)
        return self.text[start:end]


def _of(node: ast.AST, source: _Source, function: str) -> Iterator[tuple[int, Fault]]:
    """Faults with their rank: the lower, the harder to overlook."""

    def fault(at: ast.expr | ast.stmt, instead: str, *, grave: bool = True) -> Fault:
        start, end = source.span(at)
        was = " ".join(source.of(at).split())[:80]
        return Fault(
            at.lineno, f"`{was}` becomes `{' '.join(instead.split())[:80]}`", start, end, instead, grave, function
        )

    match node:
        case ast.Return(value=ast.expr() as value) | ast.Yield(value=ast.expr() as value) if not _is_nothing(value):
            for rank, instead in _others(value, source):
                yield rank, fault(value, instead)
        case ast.If(test=test) | ast.IfExp(test=test) if not _is_fixed(test):
            yield 1, fault(test, f"not ({source.of(test)})")
        case ast.Raise():
            yield 2, fault(node, "pass")
        case ast.Expr(value=ast.Call() as call) if not _said_only(call):
            yield 3, fault(node, "pass")
        case ast.Assign(value=value) if not _is_nothing(value):
            yield 5, fault(value, "None", grave=False)
        case ast.AugAssign() | ast.BinOp() | ast.Compare():
            for rank, instead in _counted_otherwise(node, source):
                yield rank, fault(node, instead, grave=rank < _LIGHT)
        case _:
            return


def _counted_otherwise(node: ast.AugAssign | ast.BinOp | ast.Compare, source: _Source) -> Iterator[tuple[int, str]]:
    """Other operators."""
    match node:
        case ast.AugAssign(op=op, target=target, value=value) if type(op) in _SWAPPED:
            yield 2, f"{source.of(target)} {_SWAPPED[type(op)]}= {source.of(value)}"
        case ast.BinOp(op=op, left=left, right=right) if type(op) in _SWAPPED and not _is_text(left, right):
            yield 2, f"({source.of(left)}) {_SWAPPED[type(op)]} ({source.of(right)})"
        case ast.Compare(ops=[comparison], left=left, comparators=[right]) if type(comparison) in _MOVED:
            yield _LIGHT, f"{source.of(left)} {_MOVED[type(comparison)]} {source.of(right)}"
        case _:
            return


def _others(value: ast.expr, source: _Source) -> Iterator[tuple[int, str]]:
    """Other values in the place of one that is returned."""
    match value:
        case ast.Constant(value=bool() as said):
            yield 0, str(not said)
        case ast.Constant(value=int() | float() as number):
            yield 0, f"{number + 1!r}"
            yield 1, f"{-number - 1!r}"
        case ast.Constant(value=str()):
            yield 0, "'another text'"
            yield 1, "''"
        case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
            yield 0, f"not ({source.of(value)})"
        case _:
            yield 0, "None"


def _is_nothing(value: ast.expr) -> bool:
    return (isinstance(value, ast.Constant) and value.value in {None, ...}) or (
        isinstance(value, ast.Name) and value.id in {"self", "cls", "NotImplemented"}
    )


def _is_fixed(test: ast.expr) -> bool:
    said = ast.dump(test)
    return isinstance(test, ast.Constant) or "TYPE_CHECKING" in said or "'__name__'" in said


def _is_text(*sides: ast.expr) -> bool:
    return any(
        isinstance(one, ast.JoinedStr) or (isinstance(one, ast.Constant) and isinstance(one.value, str | bytes))
        for one in sides
    )


def _said_only(call: ast.Call) -> bool:
    node: ast.expr = call
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
        if isinstance(node, ast.Attribute) and node.attr.lstrip("_").startswith("log"):
            return True
    return isinstance(node, ast.Name) and node.id in _SAID_ONLY


def _reads(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
