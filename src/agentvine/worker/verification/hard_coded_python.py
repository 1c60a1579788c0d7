"""Literal inputs and outputs of Python: what new tests assert, and what code treats in particular. Nothing is run."""

import ast
from collections.abc import Iterator, Mapping, Sequence

from agentvine.worker.verification.literals import Pair, Special, literal

_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
_MOST_ROWS = 200
_EQUALS = frozenset(
    {"assertEqual", "assertEquals", "assertIs", "assertListEqual", "assertDictEqual", "assertAlmostEqual"}
)
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Known = Mapping[str, ast.expr]
"""What stands for a name at some place."""


def pairs(before: str | None, after: str) -> tuple[Pair, ...]:
    """What the tests of `after` assert that those of `before` did not. Empty for what cannot be read."""
    try:
        old = set(_pairs(ast.parse(before))) if before is not None else set()
        return tuple(dict.fromkeys(pair for pair in _pairs(ast.parse(after)) if pair not in old))
    except _UNREADABLE:
        return ()


def _pairs(tree: ast.Module) -> Iterator[Pair]:
    for node in ast.walk(tree):
        if isinstance(node, _Function) and node.name.startswith("test"):
            for row in _rows(node):
                for left, right in _equalities(node):
                    for call, value in ((left, right), (right, left)):
                        pair = _pair(call, value, row)
                        if pair is not None:
                            yield pair


def _rows(test: _Function) -> Sequence[_Known]:
    """What its names stand for, in each of its cases."""
    given: dict[str, ast.expr] = {}
    for node in ast.walk(test):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            given[node.targets[0].id] = node.value
    rows: list[dict[str, ast.expr]] = [given]
    tables = [table for decorator in test.decorator_list if (table := _parametrized(decorator)) is not None]
    tables += [
        (names, loop.iter) for loop in ast.walk(test) if isinstance(loop, ast.For) and (names := _names(loop.target))
    ]
    for names, values in tables:
        bound = given.get(values.id, values) if isinstance(values, ast.Name) else values
        cases = [case for one in _elements(bound) if (case := _case(names, one)) is not None]
        if cases:
            rows = [{**row, **case} for row in rows for case in cases][:_MOST_ROWS]
    return rows


def _parametrized(decorator: ast.expr) -> tuple[list[str], ast.expr] | None:
    if not isinstance(decorator, ast.Call) or len(decorator.args) < 2:
        return None
    if not isinstance(decorator.func, ast.Attribute) or decorator.func.attr != "parametrize":
        return None
    names = decorator.args[0]
    if isinstance(names, ast.Constant) and isinstance(names.value, str):
        return [name.strip() for name in names.value.split(",")], decorator.args[1]
    said = [one.value for one in _elements(names) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return said, decorator.args[1]


def _names(target: ast.expr) -> list[str]:
    if isinstance(target, ast.Name):
        return [target.id]
    return [one.id for one in _elements(target) if isinstance(one, ast.Name)]


def _elements(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "items":
        node = node.func.value
    if isinstance(node, ast.Dict):
        return [
            ast.Tuple([key, value], ast.Load())
            for key, value in zip(node.keys, node.values, strict=True)
            if key is not None
        ]
    return list(node.elts) if isinstance(node, ast.List | ast.Tuple | ast.Set) else []


def _case(names: Sequence[str], value: ast.expr) -> _Known | None:
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "param":
        value = value.args[0] if len(value.args) == 1 else ast.Tuple(value.args, ast.Load())
    if len(names) == 1:
        return {names[0]: value}
    values = _elements(value)
    return dict(zip(names, values, strict=True)) if len(values) == len(names) else None


def _equalities(test: _Function) -> Iterator[tuple[ast.expr, ast.expr]]:
    for node in ast.walk(test):
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare) and len(node.test.ops) == 1:
            if isinstance(node.test.ops[0], ast.Eq | ast.Is):
                yield node.test.left, node.test.comparators[0]
        elif isinstance(node, ast.Call) and _last(node.func) in _EQUALS and len(node.args) >= 2:
            yield node.args[0], node.args[1]


def _pair(call: ast.expr, value: ast.expr, known: _Known) -> Pair | None:
    call, value = _meant(call, known), _meant(value, known)
    if isinstance(value, ast.Call) and ast.unparse(value.func).endswith("approx") and value.args:
        value = _meant(value.args[0], known)
    output = literal(value)
    if output is None or not isinstance(call, ast.Call):
        return None
    function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    inputs = [literal(_meant(one, known)) for one in (*call.args, *(word.value for word in call.keywords))]
    if not function or any(one is None for one in inputs):
        return None
    return Pair(function, tuple(one for one in inputs if one is not None), output)


def _meant(node: ast.expr, known: _Known) -> ast.expr:
    for _ in range(3):
        if isinstance(node, ast.Name) and node.id in known:
            node = known[node.id]
    return node


# ── code ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def specials(source: str) -> tuple[Special, ...]:
    """The cases that the functions of a module treat in particular. Empty for what cannot be read."""
    try:
        tree = ast.parse(source)
    except _UNREADABLE:
        return ()
    functions = [node for node in ast.walk(tree) if isinstance(node, _Function)]
    found: list[Special] = []
    for function in functions:
        recursive = any(isinstance(one, ast.Call) and _last(one.func) == function.name for one in ast.walk(function))
        found += _branches(function.name, function.body, (), recursive=recursive)
        found += _expressions(function, recursive=recursive)
        found += _constant(function)
    found += _tables(tree, functions)
    return tuple(found)


def _constant(function: _Function) -> Iterator[Special]:
    """A function that returns one literal, and looks at nothing that it is given."""
    body = [node for node in function.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]
    given = [one.arg for one in function.args.args if one.arg not in {"self", "cls"} and not one.arg.startswith("_")]
    if len(body) == 1 and isinstance(body[0], ast.Return) and body[0].value is not None and given:
        output = literal(body[0].value)
        if output is not None and not function.decorator_list:
            yield Special((function.name,), (), output, body[0].lineno, constant=True)


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


_Condition = tuple[str, str]
"""A name, and the literal that it is compared with."""


def _branches(
    function: str, body: Sequence[ast.stmt], above: tuple[_Condition, ...], *, recursive: bool
) -> Iterator[Special]:
    for node in body:
        if isinstance(node, ast.If):
            conditions = _conditions(node.test)
            if conditions is not None:
                yield from _given(function, node.body, (*above, *conditions), recursive=recursive)
                yield from _branches(function, node.body, (*above, *conditions), recursive=recursive)
            else:
                yield from _branches(function, node.body, above, recursive=recursive)
            yield from _branches(function, node.orelse, above, recursive=recursive)
        elif isinstance(node, ast.Match):
            yield from _cases(function, node, above, recursive=recursive)
        elif isinstance(node, ast.For | ast.While | ast.With | ast.Try):
            yield from _branches(function, node.body, above, recursive=recursive)


def _given(
    function: str, body: Sequence[ast.stmt], conditions: tuple[_Condition, ...], *, recursive: bool
) -> Iterator[Special]:
    """What is returned, or kept to be returned, where the conditions hold."""
    for node in body:
        if isinstance(node, ast.Return | ast.Assign) and node.value is not None:
            output = literal(node.value)
            if output is not None and conditions:
                names, inputs = zip(*conditions, strict=True)
                yield Special((function,), inputs, output, node.lineno, by=names, recursive=recursive)


def _cases(function: str, node: ast.Match, above: tuple[_Condition, ...], *, recursive: bool) -> Iterator[Special]:
    for case in node.cases:
        patterns = case.pattern.patterns if isinstance(case.pattern, ast.MatchSequence) else [case.pattern]
        values = [literal(one.value) for one in patterns if isinstance(one, ast.MatchValue)]
        if values and len(values) == len(patterns) and all(value is not None for value in values):
            name = ast.unparse(node.subject)
            conditions = tuple((name, value) for value in values if value is not None)
            yield from _given(function, case.body, (*above, *conditions), recursive=recursive)


def _conditions(test: ast.expr) -> tuple[_Condition, ...] | None:
    """The equalities that a test demands; None if it is anything else."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        parts = [_conditions(value) for value in test.values]
        return None if any(part is None for part in parts) else tuple(one for part in parts for one in part or ())
    if not isinstance(test, ast.Compare) or not all(isinstance(op, ast.Eq) for op in test.ops) or len(test.ops) != 1:
        return None
    left, right = test.left, test.comparators[0]
    if literal(left) is not None:
        left, right = right, left
    if isinstance(left, ast.Tuple) and isinstance(right, ast.Tuple) and len(left.elts) == len(right.elts):
        values = [literal(one) for one in right.elts]
        pairs_ = zip(map(ast.unparse, left.elts), values, strict=True)
        return None if None in values else tuple((name, value) for name, value in pairs_ if value is not None)
    value = literal(right)
    return None if value is None else ((ast.unparse(left), value),)


def _expressions(function: _Function, *, recursive: bool) -> Iterator[Special]:
    for node in ast.walk(function):
        if isinstance(node, ast.IfExp) and (conditions := _conditions(node.test)):
            output = literal(node.body)
            if output is not None:
                names, inputs = zip(*conditions, strict=True)
                yield Special((function.name,), inputs, output, node.lineno, by=names, recursive=recursive)


def _tables(tree: ast.Module, functions: Sequence[_Function]) -> Iterator[Special]:
    """Entries of dictionaries, for the functions that look something up in them."""
    for function in functions:
        for node in ast.walk(function):
            if isinstance(node, ast.Dict):
                yield from _entries(node, (function.name,), _looked_up(function, ""))
    for statement in tree.body:
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or not isinstance(statement.value, ast.Dict):
            continue
        target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
        name = target.id if isinstance(target, ast.Name) else ""
        users = [
            one for one in functions if any(_last(part) == name for part in ast.walk(one) if isinstance(part, ast.Name))
        ]
        if name and users:
            by = tuple(key for user in users for key in _looked_up(user, name))
            yield from _entries(statement.value, tuple(user.name for user in users), by)


def _looked_up(function: _Function, table: str) -> tuple[str, ...]:
    """By what names something is looked up in `table`."""
    found = []
    for node in ast.walk(function):
        if isinstance(node, ast.Subscript) and (not table or _last(node.value) == table):
            found.append(ast.unparse(node.slice))
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "get"
            and node.args
        ):
            found.append(ast.unparse(node.args[0]))
    return tuple(found)


def _entries(node: ast.Dict, functions: tuple[str, ...], by: tuple[str, ...]) -> Iterator[Special]:
    keys = [literal(key) if key is not None else None for key in node.keys]
    values = [literal(value) for value in node.values]
    if None in keys or None in values:
        return
    whole = sorted(int(key) for key in keys if key is not None and key.lstrip("-").isdigit())
    enumerated = len(whole) == len(keys) > 1 and whole == list(range(whole[0], whole[0] + len(whole)))
    for place, key, value in zip(node.keys, keys, values, strict=True):
        if place is not None and key is not None and value is not None:
            yield Special(functions, _parts(place, key), value, place.lineno, True, by, enumerated=enumerated)


def _parts(node: ast.expr, key: str) -> tuple[str, ...]:
    if isinstance(node, ast.Tuple):
        return tuple(value for one in node.elts if (value := literal(one)) is not None)
    return (key,)
