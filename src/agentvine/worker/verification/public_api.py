"""What a Python module offers to others, and whether a change takes something of it away. Read, never imported.

Public is what has no leading underscore, in modules and folders that have none. A name that is imported into a module
is offered by it as well, so that what moves and is imported from its new place is still there.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from agentvine.worker.files import FileKind, kind_of

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Signature:
    """How a function may be called."""

    positional: tuple[str, ...]
    defaults: int
    """How many of the last positional ones may be left out."""
    named: frozenset[str]
    """Only by name."""
    needed: frozenset[str]
    """Those of `named` that may not be left out."""
    more: bool
    more_named: bool
    only_by_place: int
    """How many of the first have no name for callers."""

    def takes_all_of(self, old: "Signature") -> bool:
        """Whether every call that `old` allowed is still allowed."""
        here = self.positional[: len(old.positional)]
        names = frozenset(self.positional[self.only_by_place :]) | self.named
        return (
            (here[old.only_by_place :] == old.positional[old.only_by_place :] and len(here) == len(old.positional))
            and len(self.positional) - self.defaults <= len(old.positional) - old.defaults
            and self.only_by_place <= old.only_by_place
            and (old.named <= names or self.more_named)
            and self.needed <= old.needed
            and self.more >= old.more
            and self.more_named >= old.more_named
        )


@dataclass(slots=True)
class _Module:
    made: set[str] = field(default_factory=set)
    """Names that it defines; in a package's `__init__` also those that it takes from its own modules."""
    brought: set[str] = field(default_factory=set)
    """Names that it imports."""
    derived: set[str] = field(default_factory=set)
    """Classes with bases, and what is imported and may be one."""
    functions: dict[str, Signature] = field(default_factory=dict)
    open: bool = False
    """It offers what cannot be told from here: by a star, or when it is asked."""

    def has(self, name: str) -> bool:
        """Whether the name is there, or may be: a method may have moved to a base class."""
        owner = name.rpartition(".")[0]
        return self.open or name in self.made or name in self.brought or owner in self.derived


def is_public(path: str) -> bool:
    """Whether a file is a module that others may import."""
    place = PurePosixPath(path)
    hidden = any(part.startswith("_") and part != "__init__.py" for part in place.parts)
    return place.suffix == ".py" and kind_of(path) is FileKind.CODE and not hidden


def taken_away(path: str, before: str, after: str | None) -> Iterator[str]:
    """What was public in a module and is not any more, or cannot be called as before; a sentence for each."""
    package = PurePosixPath(path).name == "__init__.py"
    try:
        old, new = _read(before, package=package), _read(after or "", package=package)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # what no parser reads, no test imports
    gone = {name for name in old.made if not new.has(name)}
    if after is None and gone:
        yield f"{path}: the module is gone"
        return
    for name in sorted(gone):
        if name.rpartition(".")[0] not in gone:
            yield f"{path}: {name} is gone"
    for name, signature in sorted(old.functions.items()):
        if name in new.functions and not new.functions[name].takes_all_of(signature):
            yield f"{path}: {name} cannot be called as before"


def _read(source: str, *, package: bool) -> _Module:
    module, tree = _Module(), ast.parse(source)
    _body(tree.body, "", module, package=package)
    listed = _listed(tree)
    if listed is not None:
        module.made = {name for name in module.made if name.partition(".")[0] in listed}
        module.functions = {name: one for name, one in module.functions.items() if name in module.made}
    return module


def _listed(tree: ast.Module) -> frozenset[str] | None:
    """What `__all__` says, if it is written out."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(one, ast.Name) and one.id == "__all__" for one in node.targets
        ):
            try:
                return frozenset(map(str, ast.literal_eval(node.value)))
            except (ValueError, TypeError):
                return None
    return None


def _body(nodes: list[ast.stmt], prefix: str, module: _Module, *, package: bool = False) -> None:
    for node in nodes:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                _function(node, prefix, module)
            case ast.ClassDef() if _shown(node.name, prefix):
                module.made.add(f"{prefix}{node.name}")
                if node.bases:
                    module.derived.add(f"{prefix}{node.name}")
                _body(node.body, f"{prefix}{node.name}.", module)
            case ast.Assign() | ast.AnnAssign():
                _assigned(node, prefix, module)
            case ast.Import() | ast.ImportFrom():
                _imported(node, prefix, module, package=package)
            case ast.If() | ast.Try() | ast.With():
                for part in ("body", "orelse", "finalbody"):
                    _body(getattr(node, part, []), prefix, module, package=package)


def _function(node: _Function, prefix: str, module: _Module) -> None:
    if node.name == "__getattr__":
        if prefix:
            module.derived.add(prefix.removesuffix("."))
        else:
            module.open = True
    elif _shown(node.name, prefix):
        module.made.add(f"{prefix}{node.name}")
        if not _steered(node):
            module.functions[f"{prefix}{node.name}"] = _signature(node)


def _shown(name: str, prefix: str) -> bool:
    return not name.startswith("_") or (bool(prefix) and name in {"__init__", "__call__", "__enter__", "__aenter__"})


def _steered(node: _Function) -> bool:
    """A decorator may change how it is called; only those that are known not to are seen through."""
    plain = {"staticmethod", "classmethod", "abstractmethod", "override", "final", "cache", "lru_cache"}
    names = (one.func if isinstance(one, ast.Call) else one for one in node.decorator_list)
    return any((one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "")) not in plain for one in names)


def _assigned(node: ast.Assign | ast.AnnAssign, prefix: str, module: _Module) -> None:
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        for one in ast.walk(target):
            if isinstance(one, ast.Name) and not one.id.startswith("_"):
                module.made.add(f"{prefix}{one.id}")


def _imported(node: ast.Import | ast.ImportFrom, prefix: str, module: _Module, *, package: bool) -> None:
    for alias in node.names:
        name = f"{prefix}{alias.asname or alias.name.partition('.')[0]}"
        if alias.name == "*":
            module.open = True
            continue
        module.brought.add(name)
        module.derived.add(name)
        if package and isinstance(node, ast.ImportFrom) and node.level and not name.startswith("_"):
            module.made.add(name)


def _signature(node: _Function) -> Signature:
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    needed = [one.arg for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default is None]
    return Signature(
        positional=tuple(one.arg for one in positional),
        defaults=len(given.defaults),
        named=frozenset(one.arg for one in given.kwonlyargs),
        needed=frozenset(needed),
        more=given.vararg is not None,
        more_named=given.kwarg is not None,
        only_by_place=len(given.posonlyargs),
    )
