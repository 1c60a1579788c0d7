"""What no test needs, in Python files of tests: to end the run, to change the runner, to be equal to everything."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_LEAVING = frozenset({"os._exit", "sys.exit", "exit", "quit", "os.abort"})
_RUNNERS = frozenset({"pytest", "_pytest", "unittest", "builtins", "pluggy"})
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Finding:
    """Something at a line."""

    line: int
    what: str


def tricks(node: ast.AST) -> Iterator[Finding]:
    """Those of a node."""
    if isinstance(node, ast.Call) and name_of(node.func) in _LEAVING:
        yield Finding(node.lineno, f"`{name_of(node.func)}` ends the test run itself")
    elif isinstance(node, ast.Raise) and node.exc is not None and name_of(plain(node.exc)) == "SystemExit":
        yield Finding(node.lineno, "`raise SystemExit` ends the test run itself")
    elif isinstance(node, _Function) and node.name == "__eq__" and _always_true(node):
        yield Finding(node.lineno, "`__eq__` that is always true makes every comparison pass")
    elif isinstance(node, ast.Assign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if isinstance(target, ast.Attribute) and name_of(target).partition(".")[0] in _RUNNERS:
                yield Finding(node.lineno, f"`{name_of(target)} = …` changes the test runner")


def _always_true(function: _Function) -> bool:
    returned = [one.value for one in ast.walk(function) if isinstance(one, ast.Return)]
    return bool(returned) and all(isinstance(value, ast.Constant) and value.value is True for value in returned)


def plain(node: ast.expr) -> ast.expr:
    """What is called, where something is; else the node itself."""
    return node.func if isinstance(node, ast.Call) else node


def name_of(node: ast.AST) -> str:
    """A dotted name as it is written; empty for what is none."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        return ".".join([node.id, *reversed(parts)])
    return ".".join(["", *reversed(parts)]) if parts else ""
