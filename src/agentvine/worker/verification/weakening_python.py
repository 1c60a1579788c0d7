"""What Python tests state, before and after: read from the syntax tree, never run.

The conventions are those of pytest and unittest. A claim is anything that can fail a test: an assertion, a call whose
name says that it checks something, an expected exception.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from agentvine.worker.verification import weakening_elsewhere as elsewhere
from agentvine.worker.verification.weakening_tricks import Finding, name_of, plain, tricks

_CLAIMING = ("assert", "check", "verify", "expect", "ensure", "should", "must", "validate", "compare", "match", "fail")
_EXPECTING = frozenset({"raises", "warns", "deprecated_call", "approx"})
_SKIPPING = frozenset(
    {"skip", "skipif", "xfail", "skipIf", "skipUnless", "expectedFailure", "skipTest", "importorskip"}
)
_CATCH_ALL = frozenset({"AssertionError", "Exception", "BaseException"})
_SAME = (ast.Eq, ast.Is, ast.LtE, ast.GtE)
_EQUALS = frozenset({"assertEqual", "assertEquals", "assertIs", "assertSequenceEqual", "assertDictEqual"})
_TRUE = frozenset({"assertTrue", "assert_"})
JUDGING = frozenset(
    {"pytest_runtest_makereport", "pytest_collection_modifyitems", "pytest_ignore_collect", "pytest_pyfunc_call"}
    | {"pytest_sessionfinish", "pytest_report_teststatus", "pytest_runtest_call", "pytest_runtest_protocol"}
    | {"pytest_terminal_summary", "pytest_cmdline_main", "pytest_collectstart", "pytest_itemcollected"}
    | {"pytest_deselected", "pytest_runtestloop", "pytest_collect_file", "pytest_pycollect_makeitem"}
    | {"pytest_runtest_logreport", "pytest_exception_interact", "pytest_unconfigure", "pytest_make_collect_report"}
)
"""Hooks by which a conftest.py decides what is run and what is told of it."""
_LEFT_OUT = frozenset({"collect_ignore", "collect_ignore_glob"})

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(slots=True)
class _Test:
    """What one test function states."""

    line: int
    claims: int = 0
    exact: int = 0
    """Claims that something is just this, not only something like it."""
    may_be_exact: int = 0
    """Claims made in another file, which may be exact, too."""
    possible: int = 0
    """Calls that may claim something in another file."""
    idle: bool = False
    """It does nothing that could fail."""
    cases: int | None = None
    """How many sets of parameters it has, where they are written out."""
    skips: int = 0
    hollow: list[Finding] = field(default_factory=list)
    """Claims that can never fail; they matter where there are no others."""
    defused: list[Finding] = field(default_factory=list)
    """Claims whose failure nobody would hear of."""


@dataclass(frozen=True, slots=True)
class _Helpers:
    """What of a file is called by its tests: name → how much it claims, how much of that exactly, how much perhaps."""

    claims: Mapping[str, int]
    exact: Mapping[str, int]
    possible: Mapping[str, int]
    imported: frozenset[str]
    unread: frozenset[str]
    """Classes of which methods may stand in another file."""


@dataclass(slots=True)
class _Module:
    tests: dict[str, _Test] = field(default_factory=dict)
    skips: int = 0
    """Marks that skip a whole class or module."""
    hooks: dict[str, str] = field(default_factory=dict)
    """Name of a hook or list that judges tests → its text."""
    tricks: list[Finding] = field(default_factory=list)


def compared(before: str | None, after: str) -> Iterator[Finding]:
    """In what the tests of `after` state less than those of `before` (None: there was no such file).

    Raises SyntaxError, ValueError, RecursionError, MemoryError for what Python itself cannot read.
    """
    old = _read(before) if before is not None else _Module()
    new = _read(after)
    for name, test in new.tests.items():
        yield from _less(name, old.tests.get(name), test)
    added = {name: test for name, test in new.tests.items() if name not in old.tests and not test.skips}
    if added and not any(
        test.claims or test.possible for test in added.values()
    ):  # beside others one may just see that nothing is raised
        yield from _stating_nothing(added)
    if new.skips > old.skips:
        yield Finding(1, "a whole class or file of tests is skipped now")
    for name, text in new.hooks.items():
        if old.hooks.get(name) != text:
            yield Finding(1, f"`{name}` decides which tests count: leave it as it was")
    known = {trick.what for trick in old.tricks}
    yield from (trick for trick in new.tricks if trick.what not in known)


def _less(name: str, old: _Test | None, new: _Test) -> Iterator[Finding]:
    if len(new.defused) > len(old.defused if old else ()):
        yield from new.defused[len(old.defused) if old else 0 :]
    if old is None:
        return
    more = max(0, new.possible - old.possible)
    if new.claims + more < old.claims:
        yield Finding(new.line, f"{name} asserts less than before: {new.claims} of {old.claims} claims are left")
    elif not old.claims and old.possible and new.idle:
        yield Finding(new.line, f"{name} does nothing that could fail any more")
    elif new.exact + new.may_be_exact + more < old.exact:
        yield Finding(
            new.line, f"{name} asserts less exactly than before: {new.exact} of {old.exact} comparisons are left"
        )
    if old.cases is not None and new.cases is not None and new.cases < old.cases:
        yield Finding(new.line, f"{name} has fewer cases than before: {new.cases} of {old.cases}")
    if new.skips > old.skips:
        yield Finding(new.line, f"{name} is skipped, or expected to fail, now")


def _stating_nothing(added: Mapping[str, _Test]) -> Iterator[Finding]:
    for name, test in added.items():
        if test.hollow:
            yield from test.hollow
        elif not test.defused:
            yield Finding(test.line, f"{name} asserts nothing: state what must hold")


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _read(source: str) -> _Module:
    tree = ast.parse(source)
    module = _Module()
    helpers = _helpers(tree)
    _body(tree.body, "", module, helpers)
    for statement in tree.body:
        if not _is_script(statement):
            for node in ast.walk(statement):
                module.tricks += tricks(node)
    return module


def _is_script(statement: ast.stmt) -> bool:
    """True for `if __name__ == "__main__":`, which no runner of tests comes into."""
    return isinstance(statement, ast.If) and "'__name__'" in ast.dump(statement.test)


def _helpers(tree: ast.Module) -> _Helpers:
    """Functions of this file that are no tests: to call one is as good as what it claims, whatever it is called."""
    imported, unread = elsewhere.imported_helpers(tree), elsewhere.with_unread_base(tree)
    functions = [node for node in ast.walk(tree) if isinstance(node, _Function) and not node.name.startswith("test")]
    helpers = _Helpers({}, {}, {node.name: 0 for node in functions}, imported, unread)
    for _ in range(2):  # helpers that call helpers
        claims, exact, possible = ({node.name: 0 for node in functions} for _ in range(3))
        for node in functions:
            name, here = node.name, helpers.possible
            claims[name] = max(claims[name], _claims(node, helpers.claims))
            exact[name] = max(exact[name], _exact(node, helpers.exact))
            perhaps = elsewhere.possible_claims(node, here, imported, inherits=bool(unread))
            possible[name] = max(possible[name], perhaps)
        helpers = _Helpers(claims, exact, possible, imported, unread)
    return helpers


def _body(nodes: list[ast.stmt], prefix: str, module: _Module, helpers: _Helpers) -> None:
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            module.skips += _marks(node.decorator_list)
            _body(node.body, f"{prefix}{node.name}.", module, helpers)
        elif isinstance(node, _Function) and node.name.startswith("test"):
            name = f"{prefix}{node.name}"
            if name in module.tests:
                module.tricks.append(Finding(node.lineno, f"{name} is defined twice: the first is never run"))
            inherits = any(kind in helpers.unread for kind in prefix.split("."))
            module.tests[name] = _test(name, node, helpers, inherits=inherits)
        elif isinstance(node, _Function) and node.name in JUDGING:
            module.hooks[node.name] = ast.dump(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            _assigned(node, module)
        elif isinstance(node, ast.Expr) and _called(node.value) & _SKIPPING:
            module.skips += 1
        elif isinstance(node, ast.If | ast.Try | ast.With):
            for part in ("body", "orelse", "finalbody"):
                _body(getattr(node, part, []), prefix, module, helpers)


def _assigned(node: ast.Assign | ast.AnnAssign, module: _Module) -> None:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    for target in targets:
        name = target.id if isinstance(target, ast.Name) else ""
        if name == "pytestmark" and node.value is not None:
            marks = node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else [node.value]
            module.skips += _marks(marks)
        elif name == "__test__" and isinstance(node.value, ast.Constant) and not node.value.value:
            module.skips += 1
        elif name in _LEFT_OUT and node.value is not None:
            module.hooks[name] = ast.dump(node.value)
        elif node.value is not None and _called(node.value) & {"importorskip"}:
            module.skips += 1


def _test(name: str, node: _Function, helpers: _Helpers, *, inherits: bool) -> _Test:
    test = _Test(
        node.lineno,
        _claims(node, helpers.claims),
        _exact(node, helpers.exact),
        _may_be_exact(node, helpers.claims),
        elsewhere.possible_claims(node, helpers.possible, helpers.imported, inherits=inherits),
        elsewhere.is_idle(node),
        skips=_marks(node.decorator_list),
    )
    for decorator in node.decorator_list:
        cases = _cases(decorator)
        if cases is not None:
            test.cases = (test.cases or 1) * cases
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call) and _skips(inner):
            test.skips += inner not in node.decorator_list
        elif isinstance(inner, ast.Raise) and inner.exc is not None and "SkipTest" in ast.dump(inner.exc):
            test.skips += 1
        if why := _empty(inner):
            test.hollow.append(Finding(getattr(inner, "lineno", node.lineno), f"{name}: {why}"))
        if why := _defused(inner):
            test.defused.append(Finding(getattr(inner, "lineno", node.lineno), f"{name}: {why}"))
    test.defused += _unreached(name, node, helpers.claims)
    return test


def _skips(call: ast.Call) -> bool:
    """True for what ends a test as skipped. Other things than tests are skipped and fail expectedly, too."""
    name = name_of(call.func)
    last = name.rpartition(".")[2]
    return last in _SKIPPING and (last not in {"skip", "xfail"} or name in {last, f"pytest.{last}"})


def _marks(decorators: list[ast.expr]) -> int:
    """How many of the decorators skip what they stand on."""
    return sum(name_of(plain(one)).rpartition(".")[2] in _SKIPPING for one in decorators)


def _cases(decorator: ast.expr) -> int | None:
    if isinstance(decorator, ast.Call) and name_of(decorator.func).endswith("parametrize") and len(decorator.args) > 1:
        values = decorator.args[1]
        return len(values.elts) if isinstance(values, ast.List | ast.Tuple | ast.Set) else None
    return None


def _claims(node: ast.AST, helpers: Mapping[str, int]) -> int:
    """How much in it can fail."""
    total = 0
    for inner in ast.walk(node):
        if isinstance(inner, ast.Assert):
            total += not _empty(inner)
        elif isinstance(inner, ast.Call):
            last = name_of(inner.func).rpartition(".")[2]
            if last in helpers:
                total += helpers[last]
            elif last in _EXPECTING or last.lower().lstrip("_").startswith(_CLAIMING):
                total += not _empty(inner)
    return total


def _exact(node: ast.AST, helpers: Mapping[str, int]) -> int:
    """How many assertions compare for equality."""
    total = 0
    for inner in ast.walk(node):
        if isinstance(inner, ast.Assert) and not _empty(inner):
            total += any(
                isinstance(part, ast.Compare) and isinstance(part.ops[0], ast.Eq | ast.Is)
                for part in ast.walk(inner.test)
            )
        elif isinstance(inner, ast.Call):
            last = name_of(inner.func).rpartition(".")[2]
            total += helpers.get(last, last in _EQUALS and not _empty(inner))
    return total


def _may_be_exact(node: ast.AST, helpers: Mapping[str, int]) -> int:
    """How many claims are made in another file, in words that are not known."""
    named = [name_of(one.func).rpartition(".")[2] for one in ast.walk(node) if isinstance(one, ast.Call)]
    return sum(
        last not in helpers and last.lower().lstrip("_").startswith(_CLAIMING) and elsewhere.may_be_exact(last)
        for last in named
    )


def _empty(node: ast.AST) -> str:
    """Why a claim can never fail; empty if it can, or is none."""
    if isinstance(node, ast.Assert):
        return _always(node.test)
    if isinstance(node, ast.Call) and node.args:
        last = name_of(node.func).rpartition(".")[2]
        if last in _TRUE and _always(node.args[0]):
            return "asserts something that is always true"
        if last in _EQUALS and len(node.args) > 1 and ast.dump(node.args[0]) == ast.dump(node.args[1]):
            return "compares something with itself"
    return ""


def _defused(node: ast.AST) -> str:
    """Why nobody would hear of it if a claim failed; empty if somebody would, or there is none."""
    if isinstance(node, ast.Try) and _swallows(node):
        return "catches its own failed assertions"
    if isinstance(node, ast.With | ast.AsyncWith) and _suppresses(node):
        return "suppresses its own failed assertions"
    return ""


def _always(test: ast.expr) -> str:
    if isinstance(test, ast.Constant) and test.value:
        return "asserts something that is always true"
    if isinstance(test, ast.Tuple) and test.elts:
        return "asserts a tuple, which is always true"
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or) and any(_always(value) for value in test.values):
        return "asserts something that is always true"
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], _SAME):
        return "compares something with itself" if ast.dump(test.left) == ast.dump(test.comparators[0]) else ""
    return ""


def _swallows(node: ast.Try) -> bool:
    if not any(_claims(statement, {}) for statement in node.body):
        return False
    for handler in node.handlers:
        kinds = {name_of(one).rpartition(".")[2] for one in _types(handler.type)}
        if (handler.type is None or kinds & _CATCH_ALL) and not any(
            isinstance(inner, ast.Raise) or _claims(inner, {}) for inner in handler.body
        ):
            return True
    return False


def _types(kind: ast.expr | None) -> list[ast.expr]:
    return kind.elts if isinstance(kind, ast.Tuple) else [kind] if kind is not None else []


def _suppresses(node: ast.With | ast.AsyncWith) -> bool:
    for item in node.items:
        call = item.context_expr
        if isinstance(call, ast.Call) and name_of(call.func).rpartition(".")[2] == "suppress":
            kinds = {name_of(one).rpartition(".")[2] for one in call.args}
            if kinds & _CATCH_ALL and any(_claims(statement, {}) for statement in node.body):
                return True
    return False


def _unreached(name: str, node: _Function, helpers: Mapping[str, int]) -> Iterator[Finding]:
    """Claims that stand where the test never comes."""
    for place, statement in enumerate(node.body):
        rest = node.body[place + 1 :]
        if isinstance(statement, ast.Return | ast.Raise) and any(_claims(one, helpers) for one in rest):
            yield Finding(statement.lineno, f"{name}: it ends before its assertions")
            return
        if (
            isinstance(statement, ast.For)
            and _is_empty(statement.iter)
            and any(_claims(one, helpers) for one in [statement])
        ):
            yield Finding(statement.lineno, f"{name}: its assertions stand in a loop over nothing")
        if isinstance(statement, ast.If) and isinstance(statement.test, ast.Constant):
            never = statement.orelse if statement.test.value else statement.body
            if any(_claims(one, helpers) for one in never):
                yield Finding(statement.lineno, f"{name}: its assertions stand where it never comes")


def _is_empty(values: ast.expr) -> bool:
    if isinstance(values, ast.Call) and name_of(values.func) == "range":
        return (
            all(isinstance(one, ast.Constant) and one.value == 0 for one in values.args[:1]) and len(values.args) == 1
        )
    if isinstance(values, ast.Call) and name_of(values.func) in {"list", "tuple", "set", "dict", "iter"}:
        return not values.args and not values.keywords
    if isinstance(values, ast.Dict):
        return not values.keys
    return (isinstance(values, ast.List | ast.Tuple | ast.Set) and not values.elts) or (
        isinstance(values, ast.Constant) and values.value in {"", b""}
    )


def _called(node: ast.expr) -> set[str]:
    return {name_of(node.func).rpartition(".")[2]} if isinstance(node, ast.Call) else set()
