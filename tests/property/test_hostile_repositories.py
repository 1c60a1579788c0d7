"""Whatever a repository and its reports hold, detection finds or does not find, and readers read or refuse: no more."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentvine.worker.verification.cases import Outcome, UnreadableReport
from agentvine.worker.verification.commands import Commands, detect, wanted
from agentvine.worker.verification.found import Reads
from agentvine.worker.verification.results import read_tests

NAMES = [
    "pyproject.toml",
    "setup.cfg",
    "setup.py",
    "tox.ini",
    "noxfile.py",
    "mypy.ini",
    "requirements.txt",
    "package.json",
    "package-lock.json",
    "pnpm-lock.yaml",
    "uv.lock",
    "go.mod",
    "go.sum",
    "Cargo.toml",
    ".config/nextest.toml",
    "pom.xml",
    "build.gradle",
    "Makefile",
    ".agentvine.toml",
    "tests/test_a.py",
    "conftest.py",
    "api/package.json",
    "api/pyproject.toml",
    "api/b/go.mod",
    "tsconfig.json",
    "eslint.config.js",
]
KEYS = ["scripts", "test", "pretest", "dependencies", "devDependencies", "packageManager", "jest"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["scripts", "test", "pretest", "dependencies", "devDependencies", "packageManager", "jest"]
            ),
            inner,
        )
    ),
    max_leaves=10,
)
SCRIPTS = st.text(alphabet="node --tesmchajvi&|;=$'\"/ \n", max_size=40)
WORDS = st.sampled_from(
    [
        "[tool.pytest.ini_options]",
        "[project]",
        "[project.optional-dependencies]",
        "[dependency-groups]",
        "[profile.a.junit]",
        "[profile]",
        "[tool]",
        'path = "x"',
        "path = 1",
        "dev = 1",
        "dev = [1]",
        'dev = ["pytest", 2]',
        "tool = 3",
        "pytest",
        "[tox]",
        "[mypy]",
        "test: x",
        "[[",
        "import pytest",
        "def test_a(): pass",
        '"test": ',
        "\x00",
        "\u2028",
    ]
)
CONTENTS = st.one_of(
    st.binary(max_size=60),
    JSON.map(lambda value: json.dumps(value).encode()),
    SCRIPTS.map(lambda script: json.dumps({"scripts": {"test": script, "pretest": 1}}).encode()),
    st.lists(WORDS, max_size=6).map(lambda lines: "\n".join(lines).encode()),
)
PATHS = st.sampled_from(NAMES) | st.text(min_size=1, max_size=20)


@settings(max_examples=150)
@given(st.dictionaries(PATHS, st.none() | CONTENTS, max_size=6), st.booleans())
def test_detection_never_raises(files: dict[str, bytes | None], prepare: bool) -> None:
    contents = {path: content for path in wanted(files) if (content := files[path]) is not None}
    found = detect(files, contents, prepare=prepare)
    assert all(found.test.argv) if found.test is not None else True
    assert all("\n" not in remark and len(remark) < 5000 for remark in found.remarks)
    for path in set(wanted(files)) - contents.keys():
        assert any("was not read" in remark for remark in found.remarks), path


HUGE = {
    "package.json": b"[" * 900_000,
    "pyproject.toml": b"a = " + b"[" * 900_000,
    "Cargo.toml": b"a." * 100_000 + b"a = 1",
    ".config/nextest.toml": (b"[" + b"a." * 99 + b"a]\n" + b"b." * 99 + b"b = 1\n") * 500,
    "Makefile": b"test " * 200_000,
    "requirements.txt": b"pytest" * 150_000,
    "setup.cfg": b" " * 1_000_000,
    "tox.ini": b"[tox" * 200_000,
    "go.mod": b"x" * 2_000_000,
    "pom.xml": b"<artifactId>jacoco" * 50_000,
    "tests/test_a.py": b"import " * 140_000,
}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("prepare", [False, True])
def test_detection_of_the_huge_and_the_deep_ends_soon(prepare: bool) -> None:
    for name, content in HUGE.items():
        contents = {"Cargo.toml": b"", name: content}
        assert isinstance(detect([*contents, "test_b.py"], contents, prepare=prepare), Commands)
    paths = [f"{n}/package.json" for n in range(5_000)]
    detect(paths, dict.fromkeys(wanted(paths), b"{}"))
    assert len(wanted(paths)) <= 200


TAP = ["ok", "not ok", "1..2", "    ok 1 - a", "  ---", "  ...", "Bail out!", "# x", "ok # TODO", "    1..1"]
LIBTEST = [
    "test a ... ok",
    "test a ... FAILED",
    "     Running tests/a.rs (target/a-0123456789abcdef)",
    "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured",
    "   Doc-tests x",
]
UNITTEST = ["test_a (m.T.test_a) ... ok", "test_a (m.T)", "doc ... FAIL", "Ran 1 test in 1s", "OK", "FAILED (errors=1)"]
GO = ['{"Action":"pass","Package":"p","Test":"T"}', '{"Action":"fail","Package":"p"}', "{", "[]", '{"Action":[]}']
LINES = st.lists(st.sampled_from([*TAP, *LIBTEST, *UNITTEST, *GO]) | st.text(max_size=10), max_size=8)
XML = st.lists(
    st.sampled_from(
        [
            "<testsuites>",
            "<testsuite name='s'>",
            "<testcase name='t' classname='c' time='x'>",
            "<testcase/>",
            "<failure message='m'/>",
            "<skipped type='todo'/>",
            "<error>",
            "</error>",
            "</testcase>",
            "</testsuite>",
            "</testsuites>",
            "&amp;",
            "<!DOCTYPE x>",
        ]
    ),
    max_size=8,
)
JEST = st.fixed_dictionaries(
    {
        "testResults": st.lists(
            st.dictionaries(st.sampled_from(["name", "status", "assertionResults", "message"]), JSON), max_size=3
        )
        | JSON
    }
)
REPORTS = st.one_of(
    st.binary(max_size=80),
    XML.map(lambda parts: "".join(parts).encode()),
    JEST.map(lambda value: json.dumps(value).encode()),
    LINES.map(lambda lines: "\n".join(lines).encode()),
)


@settings(max_examples=150)
@given(st.sampled_from(Reads), st.lists(REPORTS, max_size=2), LINES)
def test_readers_read_or_refuse(reads: Reads, reports: list[bytes], lines: Sequence[str]) -> None:
    try:
        tests = read_tests(reads, reports, "\n".join(lines), ("/workspace",))
    except UnreadableReport as refused:
        assert str(refused)
        return
    for name, case in (tests or {}).items():
        assert (name, isinstance(case.outcome, Outcome)) == (case.id, True)
        assert "\n" not in name


BOMBS = [
    (Reads.JUNIT, b"<testsuite>" + b"<testcase name='a'/>" * 40_000 + b"</testsuite>", ""),
    (Reads.JUNIT, b"<testsuite><testcase name='" + b"x" * 10_000_000 + b"'/></testsuite>", None),
    (Reads.JUNIT, b"<testsuite>" * 99 + b"<testcase name='" + b"x" * 1000 + b"'/>" + b"</testsuite>" * 99, None),
    (Reads.JEST_JSON, b'{"testResults":' + b"[" * 200_000, ""),
    (Reads.TAP, b"1..1\n" + b"    ok 1\n" * 10_000 + b"ok 1\n", None),
    (Reads.TAP, (" " * 4000 + "# " * 2000 + "\n").encode() * 300, ""),
    (Reads.LIBTEST, (b"test " + b"a ... ok, " * 400 + b"\n") * 300, ""),
    (Reads.LIBTEST, (b"  Running a (" + b"a/" * 1900 + b"\n") * 300, ""),
    (Reads.UNITTEST, (b"test_a (m.T)\n" + b"... skipped '" * 300 + b"\n") * 100, ""),
]


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("reads", "report", "refused"), BOMBS)
def test_bombs_are_read_or_refused_soon(reads: Reads, report: bytes, refused: str | None) -> None:
    printed = reads in {Reads.LIBTEST, Reads.UNITTEST}
    reports, output = ((), report.decode()) if printed else ((report,), "")
    if refused is None:
        assert read_tests(reads, reports, output)
    elif reads is Reads.JUNIT:
        assert len(read_tests(reads, reports, output) or ()) == 1
    else:
        with pytest.raises(UnreadableReport):
            read_tests(reads, reports, output)
