"""Calls in Python tests that may claim something in another file: helpers of a base class, imported ones, fixtures.

What they do is not read, so they excuse a test, and never speak against it.
"""

import ast
import re
import unittest
from collections.abc import Collection, Mapping

_KNOWN = frozenset(dir(unittest.TestCase))
_STANDARD = frozenset({"unittest", "abc", "enum", "typing", "types", "collections"})
_MOCKED = re.compile(r"^assert_(?:called|not_called|any_call|has_calls|awaited|not_awaited|any_await|has_awaits)")
_HELPING = re.compile(r"(?:^|[._])(?:tests?|testing|testlib|support|helpers?|utils?|fixtures?|conftest)(?:$|[._])")
"""Modules that hold helpers of tests, by their names."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def imported_helpers(tree: ast.Module) -> frozenset[str]:
    """Names that come from a module which is there for tests, or that stands beside this file."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.level or _HELPING.search(node.module or "")):
            found.update(one.asname or one.name for one in node.names)
    return frozenset(name for name in found if not name[:1].isupper())


def with_unread_base(tree: ast.Module) -> frozenset[str]:
    """Names of classes of which methods may stand in another file."""
    classes = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    foreign: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] not in _STANDARD):
            foreign.update(one.asname or one.name for one in node.names)
    found: set[str] = set()
    for _ in range(4):  # classes of this file that inherit from each other
        for name, kind in classes.items():
            if any(_is_unread(base, foreign, found) for base in kind.bases):
                found.add(name)
    return frozenset(found)


def _is_unread(base: ast.expr, foreign: Collection[str], unread: Collection[str]) -> bool:
    if isinstance(base, ast.Name):
        return base.id in foreign or base.id in unread
    root = base
    while isinstance(root, ast.Attribute):
        root = root.value
    return isinstance(base, ast.Attribute) and isinstance(root, ast.Name) and root.id not in _STANDARD


def possible_claims(
    function: Function, here: Mapping[str, int], imported: Collection[str], *, inherits: bool = False
) -> int:
    """How many of its calls may claim something in another file.

    `here`: the functions of this file, and how often each of them may. With `inherits` methods of `self` that nothing
    here defines may.
    """
    given = {one.arg for one in (*function.args.args, *function.args.kwonlyargs)} - {"self", "cls"}
    total = 0
    for call in ast.walk(function):
        if not isinstance(call, ast.Call):
            continue
        called = call.func
        name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
        if name in here:
            total += here[name]
        elif isinstance(called, ast.Name):
            total += name in imported or name in given
        elif isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            total += inherits and called.value.id in {"self", "cls"} and name not in _KNOWN
    return total


def may_be_exact(name: str) -> bool:
    """Whether something that claims, by its name, may compare for equality: all but what is known not to."""
    return name not in _KNOWN and not _MOCKED.match(name)


def is_idle(function: Function) -> bool:
    """Whether it does nothing that could fail."""
    return not any(isinstance(one, ast.Call | ast.Raise | ast.Assert | ast.With) for one in ast.walk(function))
