"""Verification with what a repository has beside its tests: linters, coverage, an environment of its own."""

import os
from pathlib import Path

from agentvine.domain.evidence import Check, CheckOutcome, Evidence
from agentvine.domain.worker_types import TaskType
from agentvine.worker.verification.coverage_kept import COVERAGE as COVERAGE_INQUIRY
from agentvine.worker.verification.coverage_kept import NAME as COVERAGE
from agentvine.worker.verification.environments import Environments
from agentvine.worker.verification.found import SetupCommand
from agentvine.worker.verification.lint import LINT as LINT_INQUIRY
from agentvine.worker.verification.lint import NAME as LINT
from tests.integration.test_verify import BASE, FEATURE, court, why


def named(evidence: Evidence, name: str) -> Check:
    found = [check for check in evidence.checks if check.name == name]
    assert found, why(evidence)
    return found[0]


LINTED = {
    "ruff.toml": "lint.select = ['F', 'E711']\n",
    ".agentvine.toml": "[types]\ncommand = \"grep -n 'value)' *.py | sed 's/$/ [untyped]/'\"\n",
    ".flake8": "[flake8]\n",
    "app.py": "import os\n\n\ndef one(value: object) -> bool:\n    return value == None\n",
    "test_a.py": "import app\n\n\ndef test_a() -> None:\n    assert app.one(None)\n",
}


async def test_a_refactoring_leaves_no_more_for_linters_to_find_than_there_was(tmp_path: Path) -> None:
    c = await court(tmp_path, LINTED, inquiries=(LINT_INQUIRY,))
    moved = {"app.py": "from other import one\n\n__all__ = ['one']\n", "other.py": LINTED["app.py"]}
    evidence = await c.judge(TaskType.REFACTOR, moved)  # what was there has moved along
    assert evidence.passed, why(evidence)
    assert named(evidence, LINT).why == "ruff, types"
    assert any(said.startswith("what flake8 would say (.flake8): ") for said in evidence.not_checked)
    assert {"ruff", "sh"} <= {word for command in evidence.commands for word in command.argv}
    silent = {"ruff.toml": "lint.select = []\n"}
    worse = "import os\nimport sys\n\n\ndef one(value):\n    return value == None  # noqa: E711\n"
    evidence = await c.judge(TaskType.REFACTOR, {"app.py": worse, "other.py": None, **silent})
    told = named(evidence, LINT)
    assert told.outcome is CheckOutcome.FAILED
    assert "ruff: F401 in app.py" in told.why
    assert "types: untyped in app.py" in told.why
    assert "1 more `noqa` to silence a tool" in told.why
    fine = await c.judge(TaskType.FEATURE, {**FEATURE, "app.py": f"{worse}\n\ndef two():\n    return 2\n"})
    assert named(fine, LINT).why.startswith("it decides nothing here, but: ")


async def test_tests_reach_no_less_of_the_code_than_before(tmp_path: Path) -> None:
    code = "def one(x):\n    if x:\n        return 1\n    return 2\n"
    tests = "import app\n\ndef test_one():\n    assert app.one(0) == 2\n\ndef test_two():\n    assert app.one(1) == 1\n"
    c = await court(
        tmp_path, {"pytest.ini": "[pytest]\n", "app.py": code, "test_a.py": tests}, inquiries=(COVERAGE_INQUIRY,)
    )
    more = "import app\n\ndef test_three():\n    assert app.one(0) < app.one(-1) * 3\n"
    evidence = await c.judge(TaskType.TEST, {"test_b.py": more})
    assert named(evidence, COVERAGE).why.startswith("100.0 % before, 100.0 % after (4 and 4 of 4 statements outside of")
    assert evidence.coverage_after is not None
    assert (evidence.coverage_after.covered, evidence.coverage_after.percent) == (4, 100)
    hollow = tests.replace("app.one(1) == 1", "app.one(0) == 2")
    evidence = await c.judge(TaskType.TEST, {"test_a.py": hollow, "test_b.py": more.replace("-1", "0")})
    assert "75.0 % after" in named(evidence, COVERAGE).why
    assert "less is reached of app.py" in why(evidence)


PREPARED = """
[setup]
command = "mkdir made && cat lock /proc/sys/kernel/random/uuid > made/stamp && ln -s /etc/passwd made/link"
files = ["lock"]
makes = ["made"]

[test]
command = "cat made/stamp; test ! -e made/mark && touch made/mark && python3 -m pytest -q --junitxml={junit}"
"""


async def test_an_environment_is_made_once_for_what_it_depends_on(tmp_path: Path) -> None:
    c = await court(tmp_path, {**BASE, ".agentvine.toml": PREPARED, "lock": "one\n"})

    def stamps(evidence: Evidence) -> list[str]:
        return [command.output_tail.splitlines()[1] for command in evidence.commands]

    evidence = await c.judge(TaskType.DOCS, {"README.md": "# y\n"})
    assert evidence.passed, why(evidence)  # and nothing that a run of tests leaves in it is there for the next
    assert len(stamps(evidence)) == 2
    assert len(set(stamps(evidence))) == 1
    (kept,) = (tmp_path / "environments").iterdir()
    assert sorted(one.name for one in (kept / "0").iterdir()) == ["link", "stamp"]
    assert (kept / "0" / "link").is_symlink()
    other = await c.judge(TaskType.DOCS, {"lock": "two\n"})
    assert len({*stamps(evidence), *stamps(other)}) == 2  # the base's is known; the result has one of its own,
    assert [one.name for one in (tmp_path / "environments").iterdir()] == [kept.name]  # which nobody else gets
    c.base = other.head_sha or ""
    await c.judge(TaskType.DOCS, {"README.md": "# x\n"})
    (newer,) = (tmp_path / "environments").iterdir()
    assert newer.name != kept.name


async def test_no_link_leads_an_environment_astray(tmp_path: Path) -> None:
    environments = Environments(tmp_path / "kept", reserve=0, largest=1000)
    setup = SetupCommand(("true",), files=("lock",), makes=("a/made",))
    outside, checkout = tmp_path / "outside", tmp_path / "checkout"
    for folder in (outside / "made", checkout):
        folder.mkdir(parents=True)
    (outside / "made" / "secret").write_text("x")
    (checkout / "a").symlink_to(outside)
    await environments.keep("key", checkout, setup)
    assert not (tmp_path / "kept").exists()
    (checkout / "a").unlink()
    (checkout / "a" / "made").mkdir(parents=True)
    os.mkfifo(checkout / "a" / "made" / "pipe")
    (checkout / "a" / "made" / "file").write_text("x" * 900)
    await environments.keep("key", checkout, setup)
    (checkout / "a" / "made" / "more").write_text("x" * 900)
    await environments.keep("other", checkout, setup)  # too large
    assert [one.name for one in (tmp_path / "kept").iterdir()] == ["key"]
    assert not await environments.place("key", checkout, setup)  # something is there
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a").symlink_to(outside)
    assert not await environments.place("key", tmp_path / "new", setup)
    (tmp_path / "new" / "a").unlink()
    (tmp_path / "new" / "a").mkdir()
    assert await environments.place("key", tmp_path / "new", setup)
    assert [one.name for one in (tmp_path / "new" / "a" / "made").iterdir()] == ["file"]
    assert not await environments.place("unknown", tmp_path / "new", setup)
