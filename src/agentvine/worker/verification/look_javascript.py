"""How a JavaScript or TypeScript repository is set up, tested and looked through.

The script `test` of package.json says how. Where its runner is one that can write a report, the same script is run with
the flags for that; where it is not, or the script is more than a chain of plain commands, it is run as it is.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from agentvine.worker.verification.found import (
    REPORT,
    Commands,
    Reads,
    SetupCommand,
    TestCommand,
    ToolCommand,
    Writes,
)
from agentvine.worker.verification.tree import Tree, table

MANIFESTS = ("package.json",)
_LOCKS = {
    "pnpm": ("pnpm-lock.yaml",),
    "yarn": ("yarn.lock",),
    "bun": ("bun.lock", "bun.lockb"),
    "npm": ("package-lock.json", "npm-shrinkwrap.json"),
}
_EXECUTE = {"npm": ("npx", "--no-install"), "pnpm": ("pnpm", "exec"), "yarn": ("yarn", "run"), "bun": ("bunx",)}
_ESLINT = (
    *(f"eslint.config.{ending}" for ending in ("js", "mjs", "cjs", "ts", "mts")),
    *(f".eslintrc{ending}" for ending in ("", ".js", ".cjs", ".json", ".yml", ".yaml")),
)
_LONGEST_SCRIPT = 2000
_NOT_PLAIN = re.compile(r"[|;<>`$()#\r\n\\]|(?<!&)&(?!&)")
_PASSED_OVER = frozenset({"npx", "--no-install", "cross-env", "env", "c8", "nyc", "yarn", "pnpm", "exec", "run", "--"})
_BIN = 'PATH="$PWD/node_modules/.bin:$PATH"; export PATH; '


@dataclass(frozen=True, slots=True)
class _Runner:
    """`flags` make it write its report; with `early` they stand behind its name, else at the end."""

    reads: Reads
    flags: str
    early: bool = False
    alone: tuple[str, ...] = ()
    """How it is run where no script says so."""


_RUNNERS = {
    "vitest": _Runner(
        Reads.JEST_JSON,
        f"--run --reporter=json --outputFile={REPORT}",
        alone=("vitest", "run", "--reporter=json", f"--outputFile={REPORT}"),
    ),
    "jest": _Runner(
        Reads.JEST_JSON,
        f"--ci --json --outputFile={REPORT}",
        alone=("jest", "--ci", "--json", f"--outputFile={REPORT}"),
    ),
    "mocha": _Runner(
        Reads.JUNIT,
        f"--reporter xunit --reporter-option output={REPORT}",
        alone=("mocha", "--reporter", "xunit", "--reporter-option", f"output={REPORT}"),
    ),
    "node": _Runner(Reads.JUNIT, f"--test-reporter=junit --test-reporter-destination={REPORT}", early=True),
    "bun": _Runner(Reads.JUNIT, f"--reporter=junit --reporter-outfile={REPORT}"),
}


def javascript(tree: Tree, *, prepare: bool) -> Commands | None:
    """The commands, or None if there is no package.json that says anything."""
    manifest = tree.json("package.json")
    if not manifest:
        return None
    tool = _package_manager(tree, manifest)
    packages = {**table(manifest, "dependencies"), **table(manifest, "devDependencies")}
    test = _test(tree, manifest, tool, packages)
    return Commands(
        _setup(tree, tool, prepare=prepare) if packages else None,
        test,
        lint=tuple(_linters(tree, tool, manifest, packages)),
        types=tuple(_type_checkers(tree, tool, packages)),
        coverage=_coverage(tree, tool, packages),
    )


def _package_manager(tree: Tree, manifest: Mapping[str, object]) -> str:
    """The tool that the manifest names, else that of the lock file, else npm."""
    named = str(manifest.get("packageManager", "")).partition("@")[0]
    if named in _LOCKS:
        return named
    return next((tool for tool, locks in _LOCKS.items() if tree.first(*locks)), "npm")


def _setup(tree: Tree, tool: str, *, prepare: bool) -> SetupCommand | None:
    """How what the lock file says is installed, exactly. Nothing without one, unless an environment is wanted."""
    lock = tree.first(*_LOCKS[tool])
    if lock is None and not prepare:
        return None
    berry = tree.has(".yarnrc.yml")
    argv = {
        "npm": ("npm", "ci" if lock else "install", "--no-audit", "--no-fund"),
        "pnpm": ("pnpm", "install", *(("--frozen-lockfile",) if lock else ())),
        "yarn": ("yarn", "install", *(("--immutable" if berry else "--frozen-lockfile",) if lock else ())),
        "bun": ("bun", "install", *(("--frozen-lockfile",) if lock else ())),
    }[tool]
    manifests = sorted(path for path in tree.paths if path.rsplit("/", 1)[-1] == "package.json")
    settings = (".npmrc", ".yarnrc", ".yarnrc.yml", "pnpm-workspace.yaml", "bunfig.toml", ".nvmrc", ".node-version")
    files = (*manifests[:200], *(name for name in (lock, *settings) if name and tree.has(name)))
    return SetupCommand(argv, source=tree.place(lock or "package.json"), files=files, makes=("node_modules",))


def _test(tree: Tree, manifest: Mapping[str, object], tool: str, packages: Mapping[str, object]) -> TestCommand | None:
    scripts = table(manifest, "scripts")
    script = scripts.get("test")
    text = script if isinstance(script, str) and "no test specified" not in script else None
    source = tree.find("package.json", r'"test"[ \t]*:') or tree.place("package.json")
    if text is not None and (chosen := _with_report(text)) is not None:
        runner, line = chosen
        before = f"{tool} run pretest && " if isinstance(scripts.get("pretest"), str) else ""
        argv = ("sh", "-c", f"{_BIN}{before}{line}")
        return TestCommand(runner, argv, _RUNNERS[runner].reads, source, told=f"{tool} test")
    for runner, how in _RUNNERS.items():
        if how.alone and runner in packages and (text is None or runner in text):
            why = tree.find("package.json", rf'"{runner}"[ \t]*:') or source
            return TestCommand(runner, (*_EXECUTE[tool], *how.alone), how.reads, why)
    if text is None:
        return None
    return TestCommand(tool, (tool, "run", "test"), Reads.EXIT_CODE, source)


def _with_report(script: str) -> tuple[str, str] | None:
    """The runner of a script, and the script with the flags that make it write a report.

    None unless it is a chain of plain commands, exactly one of which is a runner that is known.
    """
    if len(script) > _LONGEST_SCRIPT or _NOT_PLAIN.search(script):
        return None
    commands = script.split("&&")
    known = [(number, found) for number, one in enumerate(commands) if (found := _runner_in(one)) is not None]
    if len(known) != 1:
        return None
    number, (runner, end) = known[0]
    how, command = _RUNNERS[runner], commands[number].rstrip()
    if how.early:
        commands[number] = f"{command[:end]} {how.flags}{command[end:]}"
    else:
        commands[number] = f"{command} {how.flags}"
    return runner, " && ".join(part.strip() for part in commands)


def _runner_in(command: str) -> tuple[str, int] | None:
    """The runner that a plain command starts, and where its name ends; what only prepares for it is passed over."""
    words = list(re.finditer(r"\S+", command))
    for number, word in enumerate(words):
        if "=" in word[0] or word[0] in _PASSED_OVER:
            continue
        name, after = PurePosixPath(word[0]).name.removeprefix("_"), [later[0] for later in words[number + 1 :]]
        if name not in _RUNNERS or "--" in after or any(flag.startswith("--watch") for flag in after):
            return None
        if (name == "node" and "--test" not in after) or (name == "bun" and after[:1] != ["test"]):
            return None
        if name == "node" and any(flag.startswith("--test-reporter") for flag in after):
            return None
        return name, word.end()
    return None


def _linters(
    tree: Tree, tool: str, manifest: Mapping[str, object], packages: Mapping[str, object]
) -> Iterator[ToolCommand]:
    own = tree.first(*_ESLINT)
    source = tree.place(own) if own else None
    if "eslint" in packages or "eslintConfig" in manifest:
        source = source or tree.find("package.json", r'"eslint(?:Config)?"[ \t]*:')
    if source is not None:
        argv = (*_EXECUTE[tool], "eslint", ".", "--format", "json", "--output-file", REPORT)
        yield ToolCommand("eslint", argv, Writes.ESLINT_JSON, source)


def _type_checkers(tree: Tree, tool: str, packages: Mapping[str, object]) -> Iterator[ToolCommand]:
    if tree.has("tsconfig.json") and "typescript" in packages:
        argv = (*_EXECUTE[tool], "tsc", "--noEmit", "--pretty", "false")
        yield ToolCommand("tsc", argv, Writes.TEXT, tree.place("tsconfig.json"))


def _coverage(tree: Tree, tool: str, packages: Mapping[str, object]) -> ToolCommand | None:
    """`REPORT` is a folder here, in which the runner leaves `lcov.info`."""
    if "jest" in packages:
        argv: tuple[str, ...] = ("jest", "--ci", "--coverage", "--coverageReporters=lcovonly")
        runner, place = "jest", f"--coverageDirectory={REPORT}"
    elif provider := next((name for name in packages if name.startswith("@vitest/coverage-")), None):
        argv = ("vitest", "run", "--coverage.enabled", "--coverage.reporter=lcovonly")
        runner, place = provider, f"--coverage.reportsDirectory={REPORT}"
    else:
        return None
    why = tree.find("package.json", rf'"{re.escape(runner)}"[ \t]*:') or tree.place("package.json")
    return ToolCommand(runner, (*_EXECUTE[tool], *argv, place), Writes.LCOV, why, timeout_seconds=1800.0)
