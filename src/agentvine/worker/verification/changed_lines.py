"""Which statements of Python a result changed, and whether a run of tests came to them. Pure: texts and lines in.

To import a module executes its `def` and `class` lines: they show nothing. What shows that changed code was run is a
statement inside a function, or a statement of the module that does something and whose name the tests speak of.
"""

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

_LONGEST_COMPARED = 4_000
"""Lines that differ between the first and the last difference, up to which they are compared one by one."""
_SHOWN = 10
_SAYS_NOTHING = re.compile(
    r"//|/?\*|import\b|export\s+(?:default\s+)?(?:function|class|\{)|(?:const|let|var)\s+\{|.*\brequire\(|.*\bfunction\b"
    r"|module\.exports|exports\.|class\b|(?!for\b|if\b|while\b|switch\b|catch\b)[\w$]+\s*\([^()]*\)\s*\{$|(?:[^\w]*|else|try|finally|default:)[^\w]*$"
)
"""Lines of JavaScript that are executed when a module is loaded, or not at all."""
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Quiet = ast.Import | ast.ImportFrom | ast.Pass | ast.Global | ast.Nonlocal | _Function | ast.ClassDef
_Blocks = ast.If | ast.For | ast.AsyncFor | ast.While | ast.With | ast.AsyncWith | ast.Try | ast.TryStar | ast.Match


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement from its first to its last line; of one that holds others, only what stands before them."""

    path: str
    first: int
    last: int
    inside: bool
    """It stands in a function."""
    names: tuple[str, ...] = ()
    """What it gives a value, and the class it stands in; of statements outside functions."""
    open: bool = False
    """It only says that something is not there yet; it counts where there is nothing else."""

    @property
    def lines(self) -> range:
        """Those on which it stands."""
        return range(self.first, self.last + 1)


@dataclass(frozen=True, slots=True)
class Reached:
    """The changed statements that say something when they are run, and which of them were run."""

    statements: tuple[Statement, ...]
    run: tuple[Statement, ...]

    @property
    def inside(self) -> bool:
        """True if any of the statements stands in a function."""
        return any(one.inside for one in self.statements)

    @property
    def missed(self) -> tuple[Statement, ...]:
        """Those that were not run."""
        return tuple(one for one in self.statements if one not in self.run)

    def shown(self) -> str:
        """Where what was not run stands."""
        places = [f"{one.path}:{one.first}" for one in self.missed]
        more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
        return ", ".join(places[:_SHOWN]) + more


def changed_lines(before: str | None, after: str) -> frozenset[int]:
    """The lines of `after` that differ from `before`; where lines only went, those that stood beside them."""
    new = after.splitlines()
    if before is None:
        return frozenset(range(1, len(new) + 1))
    old = before.splitlines()
    head = _alike(old, new)
    tail = _alike(old[head:][::-1], new[head:][::-1])
    left, right = old[head : len(old) - tail], new[head : len(new) - tail]
    if max(len(left), len(right)) > _LONGEST_COMPARED:
        return frozenset(range(head + 1, head + len(right) + 1))
    lines: set[int] = set()
    for tag, _, _, start, end in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if tag == "delete":
            lines |= {line for line in (head + start, head + start + 1) if 1 <= line <= len(new)}
        elif tag != "equal":
            lines |= set(range(head + start + 1, head + end + 1))
    return frozenset(lines)


def _alike(old: list[str], new: list[str]) -> int:
    """How many lines are alike from the start."""
    return next(
        (at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), min(map(len, (old, new)))
    )


def statements(path: str, source: str) -> tuple[Statement, ...]:
    """All statements of a module that do something.

    Raises SyntaxError, ValueError, RecursionError, MemoryError for what Python itself cannot read.
    """
    return tuple(_statements(path, ast.parse(source).body, inside=False, names=()))


def _statements(path: str, body: list[ast.stmt], *, inside: bool, names: tuple[str, ...]) -> Iterator[Statement]:
    for node in body:
        if not _silent(node):
            end = node.end_lineno or node.lineno
            if isinstance(node, _Blocks):
                held = [one.lineno for part in _parts(node) for one in part]
                end = max(node.lineno, min(held, default=end + 1) - 1)
            given = () if inside else (*names, *_given(node))
            yield Statement(path, node.lineno, end, inside, given, isinstance(node, ast.Raise) and _unfinished(node))
        within = inside or isinstance(node, _Function)
        if isinstance(node, _Function) and any("abstract" in ast.dump(one) for one in node.decorator_list):
            continue
        around = (*names, node.name) if isinstance(node, ast.ClassDef) else names
        for part in _parts(node):
            yield from _statements(path, part, inside=within, names=around)


def _parts(node: ast.stmt) -> list[list[ast.stmt]]:
    parts = [part for name in ("body", "orelse", "finalbody") if isinstance(part := getattr(node, name, None), list)]
    parts += [handler.body for handler in getattr(node, "handlers", ())]
    return [*parts, *(case.body for case in getattr(node, "cases", ()))]


def _silent(node: ast.stmt) -> bool:
    """True for what says nothing when it is executed: definitions, imports, words, and places left open."""
    if isinstance(node, _Quiet | ast.Try | ast.TryStar) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ):
        return True
    return isinstance(node, ast.If) and any(name in ast.dump(node.test) for name in ("TYPE_CHECKING", "'__name__'"))


def _unfinished(node: ast.Raise) -> bool:
    return node.exc is not None and "NotImplementedError" in ast.dump(node.exc)


def _given(node: ast.stmt) -> tuple[str, ...]:
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    return tuple(one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name))


def reached(
    changed: Mapping[str, tuple[str | None, str]], run: Mapping[str, Collection[int]], words: Collection[str]
) -> Reached:
    """Which changed statements were run. `changed`: of each file the text before and after; `run`: the lines of each
    that were executed; `words`: the names in the tests, which may be about a constant. Files that Python cannot read
    are passed over.
    """
    all_changed: list[Statement] = []
    for path, (before, after) in changed.items():
        lines = changed_lines(before, after)
        try:
            all_changed += [one for one in statements(path, after) if not lines.isdisjoint(one.lines)]
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    if not all(one.open for one in all_changed):
        all_changed = [one for one in all_changed if not one.open]
    inside = any(one.inside for one in all_changed)
    telling = [one for one in all_changed if one.inside or not inside or not set(words).isdisjoint(one.names)]
    done = [one for one in telling if not set(run.get(one.path, ())).isdisjoint(one.lines)]
    return Reached(tuple(telling), tuple(done))


def reached_lines(changed: Mapping[str, tuple[str | None, str]], run: Mapping[str, Collection[int]]) -> Reached:
    """As `reached`, of JavaScript, which is not parsed: lines that are more than a bracket or a definition."""
    found = []
    for path, (before, after) in changed.items():
        rows = after.splitlines()
        found += [
            Statement(path, line, line, inside=True)
            for line in sorted(changed_lines(before, after))
            if not _SAYS_NOTHING.match(rows[line - 1].strip())
        ]
    done = [one for one in found if one.first in run.get(one.path, ())]
    return Reached(tuple(found), tuple(done))
