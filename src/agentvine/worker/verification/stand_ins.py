"""What stands in for the runner, or for the code that is to be tested. Pure: paths and texts in, sentences out.

A file can take the runner's place just by its name. A fixture can put another function in the place of the one that
tests call, so that they test the fixture. Both are honest elsewhere: a module may be called as it likes below its
package, and a test may replace whatever it does not call itself.
"""

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath

from agentvine.worker.files import FileKind, kind_of
from agentvine.worker.verification.hard_coded import File
from agentvine.worker.verification.weakening_python import JUDGING

_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
_RUNNERS = frozenset(
    {"pytest", "_pytest", "pluggy", "iniconfig", "unittest", "coverage", "nose", "nox", "tox", "py", "_pytest_plugin"}
    | {"sitecustomize", "usercustomize", "exceptiongroup", "xdist"}
)
"""Modules that the tests' runner imports before it looks for tests, or that Python does by itself."""
_FIRST_ON_THE_PATH = frozenset({"", "src", "lib", "tests", "test"})
_BIN = re.compile(r"(^|/)node_modules/(\.bin/|(jest|vitest|mocha|chai|c8|nyc|ava|tap)(/|$))")
_FAKED = re.compile(
    r"(?:github\.com/stretchr/testify|github\.com/onsi/\w+|github\.com/google/go-cmp|go\.uber\.org/mock)\S*\s+=>"
)
_FILES: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = (
    (re.compile(r"(^|/)\.npmrc$"), re.compile(r"^\s*(?:script-shell|node-options)\s*=.*", re.MULTILINE)),
    (
        re.compile(r"(^|/)\.cargo/config(\.toml)?$"),
        re.compile(r"^\s*(?:runner|test|rustc-wrapper)\s*=.*", re.MULTILINE),
    ),
    (re.compile(r"(^|/)Cargo\.toml$"), re.compile(r"^\s*(?:harness|autotests)\s*=\s*false", re.MULTILINE)),
    (re.compile(r"(^|/)go\.(mod|work)$"), _FAKED),
    (
        re.compile(r"(^|/)pom\.xml$"),
        re.compile(r"<(?:testFailureIgnore|skipTests|maven\.test\.skip|maven\.test\.failure\.ignore)>\s*true"),
    ),
    (
        re.compile(r"(^|/)build\.gradle(\.kts)?$"),
        re.compile(
            r"\b(?:ignoreFailures|isIgnoreFailures)\s*=\s*true|\bignoreFailures\s+true|\bfailOnNoMatchingTests\s*=\s*false"
        ),
    ),
)
"""Files by their names, and what in them makes failures go unheard."""
_ENDS: Mapping[str, re.Pattern[str]] = {
    **dict.fromkeys(
        (".js", ".mjs", ".cjs", ".ts", ".jsx", ".tsx"),
        re.compile(r"\bprocess\.(?:exit|reallyExit|abort)\s*\(|\bprocess\.exitCode\s*=\s*0"),
    ),
    ".go": re.compile(r"\bos\.Exit\(\s*0\s*\)|\bsyscall\.Exit\(\s*0\s*\)"),
    ".rs": re.compile(r"\bprocess::(?:exit\(\s*0|abort\()"),
    ".java": re.compile(r"\bSystem\.exit\(\s*0|\bgetRuntime\(\)\.halt\("),
    ".py": re.compile(r"\b_exit\s*[(,]|\bpytest\.exit\(|\.exitstatus\s*=|\boption\.xmlpath\b|startswith\(\s*.--junit"),
}
"""What ends a run of tests from within, or looks for its report."""


def stand_ins(changed: Collection[File], paths: Collection[str], texts: Mapping[str, str]) -> tuple[str, ...]:
    """What in the files that the result changes takes the place of something else. Never raises.

    `paths` are all files of the result, `texts` what those of them say that are tests in Python, or code.
    """
    found: list[str] = []
    plugin = any("pytest11" in text for path, text in texts.items()) or any(
        "pytest11" in (file.before or "") for file in changed
    )
    for file in changed:
        found += [f"{file.path}: {what}" for what in _by_name(file, paths)]
        found += [f"{file.path}:{line}: {what}" for line, what in _by_text(file)]
        if file.path.endswith(".py"):
            found += [f"{file.path}:{line}: {what}" for line, what in _hooks(file, plugin=plugin)]
            if kind_of(file.path) is FileKind.TEST:
                found += [f"{file.path}:{line}: {what}" for line, what in _replaced(file, paths, texts)]
    return tuple(dict.fromkeys(found))


def _by_name(file: File, paths: Collection[str]) -> Iterator[str]:
    if file.before is not None:
        return
    path = PurePosixPath(file.path)
    top, name = (path.parent.as_posix().replace(".", ""), path.stem)
    if path.name == "__init__.py":
        top, name = path.parent.parent.as_posix().replace(".", ""), path.parent.name
    if path.suffix == ".py" and name in _RUNNERS and top in _FIRST_ON_THE_PATH:
        yield f"Python takes it for the module {name!r} that runs the tests: call it otherwise"
    if path.suffix == ".pth":
        yield "Python runs it before anything else: leave it out"
    if _BIN.search(file.path):
        yield "it stands in the place of what runs the tests: leave it out"


def _by_text(file: File) -> Iterator[tuple[int, str]]:
    old = {line.strip() for line in (file.before or "").splitlines()}
    patterns = [what for name, what in _FILES if name.search(file.path)]
    if kind_of(file.path) is FileKind.TEST and (ends := _ENDS.get(PurePosixPath(file.path).suffix)):
        patterns.append(ends)
    for number, line in enumerate(file.after.splitlines(), 1):
        if line.strip() in old or line.lstrip().startswith(("//", "#")):
            continue
        for pattern in patterns:
            if found := pattern.search(line):
                yield number, f"`{found[0].strip()[:80]}` decides what is heard of a failing test: leave it out"


def _hooks(file: File, *, plugin: bool) -> Iterator[tuple[int, str]]:
    """Hooks of pytest outside of tests, where `conftest.py` or a setting may load them from."""
    if plugin or kind_of(file.path) is FileKind.TEST:
        return
    old = _defined(file.before or "")
    for name, line in _defined(file.after).items():
        if name in JUDGING and name not in old:
            yield line, f"`{name}` decides which tests count: leave it out"


def _defined(source: str) -> dict[str, int]:
    try:
        return {node.name: node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}
    except _UNREADABLE:
        return {}


# ── code that tests believe to be the code ───────────────────────────────────────────────────────────────────────


def _replaced(file: File, paths: Collection[str], texts: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Functions of the repository that are replaced for all tests, or in a test, and that tests call."""
    try:
        tree = ast.parse(file.after)
        old = set(_replacing(ast.parse(file.before))) if file.before is not None else set()
    except _UNREADABLE:
        return
    modules = {_module(path): path for path in paths if path.endswith(".py") and kind_of(path) is FileKind.CODE}
    for one in _replacing(tree):
        module, name, line, scope = one
        if (module, name) in {(was[0], was[1]) for was in old}:
            continue
        if not name:
            if module in modules or any(known.startswith(f"{module}.") for known in modules):
                yield line, f"another thing in the place of the module {module!r} is what the tests would test"
            continue
        path = next((path for known, path in modules.items() if module == known or known.endswith(f".{module}")), "")
        if not path or name not in _definitions(texts.get(path, "")):
            continue
        users = (
            [scope] if scope is not None else [text for user, text in texts.items() if kind_of(user) is FileKind.TEST]
        )
        if any(_calls(text, name) for text in users):
            yield (
                line,
                f"the tests call `{module}.{name}`, but this puts something else in its place: test the code itself",
            )


_Replacing = tuple[str, str, int, str | None]
"""Module, name in it, line, and the text of the one test that it is for; None: for all."""


def _replacing(tree: ast.Module) -> Iterator[_Replacing]:
    imports = _imports(tree)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _in_function(node, imports)
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield from _in_function(inner, imports)
        else:
            yield from _assigned(node, imports, None)


def _in_function(node: ast.FunctionDef | ast.AsyncFunctionDef, imports: Mapping[str, str]) -> Iterator[_Replacing]:
    scope: str | None = ast.unparse(node)
    decorators = " ".join(ast.unparse(one) for one in node.decorator_list)
    if (
        "fixture" in decorators
        or node.name.startswith("pytest_")
        or node.name in {"setup_module", "setUp", "setup_method"}
    ):
        if "fixture" in decorators and "autouse=True" not in decorators:
            return
        scope = None
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call):
            yield from _patched(decorator, imports, scope)
    for inner in ast.walk(node):
        if isinstance(inner, ast.stmt) and inner is not node:
            yield from _assigned(inner, imports, scope)


def _imports(tree: ast.Module) -> dict[str, str]:
    """What a name stands for: a module."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(one.asname or one.name): one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {(one.asname or one.name): f"{node.module}.{one.name}" for one in node.names}
    return found


def _assigned(node: ast.stmt, imports: Mapping[str, str], scope: str | None) -> Iterator[_Replacing]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Attribute) and (module := imports.get(ast.unparse(target.value))):
                yield module, target.attr, node.lineno, scope
            elif isinstance(target, ast.Subscript) and ast.unparse(target.value) == "sys.modules":
                named = target.slice.value if isinstance(target.slice, ast.Constant) else None
                if isinstance(named, str):
                    yield named, "", node.lineno, scope
    calls = [one for one in _shallow(node) if isinstance(one, ast.Call)]
    for call in calls:
        yield from _patched(call, imports, scope)


def _shallow(node: ast.stmt) -> Iterator[ast.AST]:
    """What stands in a statement, without the statements in it."""
    waiting: list[ast.AST] = [node]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += [inner for inner in ast.iter_child_nodes(one) if not isinstance(inner, ast.stmt)]


def _patched(call: ast.Call, imports: Mapping[str, str], scope: str | None) -> Iterator[_Replacing]:
    """`setattr(module, "name", …)`, `monkeypatch.setattr("module.name", …)`, `patch("module.name")` and their kin."""
    function = ast.unparse(call.func)
    last = function.rpartition(".")[2]
    words = [
        one.value if isinstance(one, ast.Constant) and isinstance(one.value, str) else None for one in call.args[:2]
    ]
    if last in {"setattr", "object"} and len(words) == 2 and words[1] and call.args:
        module = imports.get(ast.unparse(call.args[0]))
        if module and (last == "setattr" or "patch" in function):
            yield module, words[1], call.lineno, scope
    elif last in {"setattr", "patch"} and words and words[0] and "." in words[0]:
        module, _, name = words[0].rpartition(".")
        yield module, name, call.lineno, scope


def _module(path: str) -> str:
    parts = list(PurePosixPath(path).with_suffix("").parts)
    if parts[-1:] == ["__init__"]:
        parts.pop()
    return ".".join(parts[1:] if parts[:1] in (["src"], ["lib"]) else parts)


def _definitions(source: str) -> frozenset[str]:
    try:
        body = ast.parse(source).body
    except _UNREADABLE:
        return frozenset()
    return frozenset(one.name for one in body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef))


def _calls(source: str, name: str) -> bool:
    """Whether a function of this name is called in a test, or in what it stands beside."""
    try:
        tree = ast.parse(source)
    except _UNREADABLE:
        return False
    return any(
        isinstance(node, ast.Call)
        and name == (node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""))
        for node in ast.walk(tree)
    )
