"""How repositories in Go, Rust and Java are tested and looked through, and those that a Makefile speaks for."""

import re
from collections.abc import Iterator

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

_GRADLE = ("build.gradle", "build.gradle.kts")
_MAKEFILES = ("GNUmakefile", "makefile", "Makefile")
_GOLANGCI = (".golangci.yml", ".golangci.yaml", ".golangci.toml", ".golangci.json")
MANIFESTS = ("go.mod", "Cargo.toml", ".config/nextest.toml", "pom.xml", *_GRADLE, *_MAKEFILES)
SUREFIRE_REPORTS = "**/target/surefire-reports/TEST-*.xml"
GRADLE_REPORTS = "**/build/test-results/**/TEST-*.xml"


def go(tree: Tree, *, prepare: bool) -> Commands | None:
    """Go's own tools. Without `vendor` they download what go.sum names."""
    if not tree.has("go.mod"):
        return None
    source, online = tree.place("go.mod"), tree.has("go.sum") and not tree.has("vendor/modules.txt")
    files = tuple(name for name in ("go.mod", "go.sum") if tree.has(name))
    download = SetupCommand(("go", "mod", "download"), source=source, files=files)
    lint = [ToolCommand("go vet", ("go", "vet", "./..."), Writes.TEXT, source, network=online)]
    if own := tree.first(*_GOLANGCI):
        argv = ("golangci-lint", "run", f"--output.json.path={REPORT}")
        lint.append(ToolCommand("golangci-lint", argv, Writes.GOLANGCI_JSON, tree.place(own), network=online))
    cover = ("go", "test", f"-coverprofile={REPORT}", "./...")
    return Commands(
        download if prepare and online else None,
        TestCommand("go", ("go", "test", "-json", "./..."), Reads.GO_JSON, source, network=online),
        lint=tuple(lint),
        types=(ToolCommand("go build", ("go", "build", "./..."), Writes.TEXT, source, network=online),),
        coverage=ToolCommand("go", cover, Writes.GO_COVER, source, timeout_seconds=1800.0, network=online),
    )


def rust(tree: Tree, *, prepare: bool) -> Commands | None:
    """cargo's tests: by nextest where the repository lets that write JUnit XML, else as libtest prints them."""
    if not tree.has("Cargo.toml"):
        return None
    source, manifest = tree.place("Cargo.toml"), tree.toml("Cargo.toml")
    online = any("dependencies" in name for name in (*manifest, *table(manifest, "workspace"))) and not any(
        path.startswith("vendor/") for path in tree.paths
    )
    files = tuple(
        name for name in ("Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "rust-toolchain") if tree.has(name)
    )
    whole = ("--workspace",) if tree.has("Cargo.lock") or "workspace" in manifest else ()
    check = ("cargo", "check", "--all-targets", *whole, "--message-format=json")
    clippy = ("cargo", "clippy", "--all-targets", *whole, "--message-format=json")
    return Commands(
        SetupCommand(("cargo", "fetch"), source=source, files=files) if prepare and online else None,
        _nextest(tree, whole, online=online) or _cargo_test(source, whole, online=online),
        lint=(ToolCommand("clippy", clippy, Writes.CARGO_JSON, source, network=online),),
        types=(ToolCommand("cargo check", check, Writes.CARGO_JSON, source, network=online),),
    )


def _cargo_test(source: str, whole: tuple[str, ...], *, online: bool) -> TestCommand:
    """Both streams in one: the name of a binary is on the one, its tests are on the other."""
    shown = " ".join(("cargo", "test", "--no-fail-fast", *whole))
    argv = ("sh", "-c", f"exec {shown} --color=never 2>&1")
    return TestCommand("cargo", argv, Reads.LIBTEST, source, network=online, told=shown)


def _nextest(tree: Tree, whole: tuple[str, ...], *, online: bool) -> TestCommand | None:
    """The profile that is configured to write a report (https://nexte.st/docs/machine-readable/junit/)."""
    profiles = table(tree.toml(".config/nextest.toml"), "profile")
    for profile in sorted(profiles):
        path = table(profiles, profile, "junit").get("path")
        plain = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}")
        if isinstance(path, str) and plain.fullmatch(path) and plain.fullmatch(profile):
            argv = ("cargo", "nextest", "run", "--profile", profile, "--no-fail-fast", *whole)
            place = f"target/nextest/{profile}/{path}"
            source = tree.find(".config/nextest.toml", r"^\[profile\.[^\]\n]*junit\]") or tree.place(
                ".config/nextest.toml"
            )
            return TestCommand("nextest", argv, Reads.JUNIT, source, place, network=online)
    return None


def maven(tree: Tree, *, prepare: bool) -> Commands | None:
    """Maven, whose Surefire writes a report for each class."""
    del prepare  # it keeps what it downloads in the home directory, which is empty at each run
    if not tree.has("pom.xml"):
        return None
    tool, source = "./mvnw" if tree.has("mvnw") else "mvn", tree.place("pom.xml")
    argv = (tool, "-B", "-q", "-fae", "test")
    jacoco = tree.find("pom.xml", r"<artifactId>jacoco-maven-plugin</artifactId>")
    checkstyle = tree.find("pom.xml", r"<artifactId>maven-checkstyle-plugin</artifactId>")
    style = (tool, "-B", "-q", "checkstyle:check")
    measure = (tool, "-B", "-q", "-fae", "verify")
    xml = "**/target/site/jacoco/jacoco.xml"
    return Commands(
        test=TestCommand("maven", argv, Reads.JUNIT, source, SUREFIRE_REPORTS, network=True),
        lint=(ToolCommand("checkstyle", style, Writes.TEXT, checkstyle, network=True),) if checkstyle else (),
        types=(ToolCommand("javac", (tool, "-B", "-q", "test-compile"), Writes.TEXT, source, network=True),),
        coverage=ToolCommand("jacoco", measure, Writes.JACOCO_XML, jacoco, xml, 1800.0, network=True)
        if jacoco
        else None,
    )


def gradle(tree: Tree, *, prepare: bool) -> Commands | None:
    """Gradle, whose test task writes a report for each class."""
    del prepare  # as with Maven
    build = tree.first(*_GRADLE)
    if build is None:
        return None
    tool, source = "./gradlew" if tree.has("gradlew") else "gradle", tree.place(build)
    quiet = (tool, "--no-daemon", "-q")
    jacoco = tree.find(build, r"\bjacoco\b")
    xml = "**/build/reports/jacoco/test/jacocoTestReport.xml"
    measure = (*quiet, "--continue", "test", "jacocoTestReport")
    return Commands(
        test=TestCommand("gradle", (*quiet, "--continue", "test"), Reads.JUNIT, source, GRADLE_REPORTS, network=True),
        types=(ToolCommand("gradle", (*quiet, "testClasses"), Writes.TEXT, source, network=True),),
        coverage=ToolCommand("jacoco", measure, Writes.JACOCO_XML, jacoco, xml, 1800.0, network=True)
        if jacoco
        else None,
    )


def make(tree: Tree, *, prepare: bool) -> Commands | None:
    """The targets of a Makefile that are named for what they do."""
    del prepare
    file = tree.first(*_MAKEFILES)
    if file is None:
        return None
    test = tree.find(file, r"^test[ \t]*:(?!=)")
    return Commands(
        test=TestCommand("make", ("make", "test"), Reads.EXIT_CODE, test) if test else None,
        lint=tuple(_targets(tree, file, "lint")),
        types=tuple(_targets(tree, file, "typecheck", "types", "mypy")),
        coverage=next(_targets(tree, file, "coverage"), None),
    )


def _targets(tree: Tree, file: str, *names: str) -> Iterator[ToolCommand]:
    for name in names:
        if source := tree.find(file, rf"^{name}[ \t]*:(?!=)"):
            yield ToolCommand(f"make {name}", ("make", name), Writes.TEXT, source)
            return
