"""Verification in real checkouts, of results that mean well and of results that do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from agentvine.domain.errors import InvalidInput
from agentvine.domain.evidence import CheckOutcome, Evidence
from agentvine.domain.tool_policy import CHECK
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock
from agentvine.testing.boxes import boxes_here
from agentvine.testing.git_repository import GitRepository
from agentvine.worker.git import Git
from agentvine.worker.mirror import Mirror
from agentvine.worker.settings import SandboxKind
from agentvine.worker.verification.base_results import BaseResults
from agentvine.worker.verification.environments import Environments
from agentvine.worker.verification.inquiry import Inquiry
from agentvine.worker.verification.verify import SetupFailed, Subject, Verifier, changed_paths, failing

PASSING = "def test_a():\n    assert True\n"
FEATURE = {
    "app.py": "def two():\n    return 2\n",
    "test_b.py": "import app\n\ndef test_b():\n    assert app.two() == 2\n",
}
GOOD = "def test_d():\n    assert 2 > 1\n"
BASE = {"pytest.ini": "[pytest]\n", "shop.py": "x = 1\n", "test_a.py": PASSING}


@dataclass
class Court:
    root: Path
    repository: GitRepository
    mirror: Mirror
    verifier: Verifier
    base: str

    async def judge(self, kind: TaskType, files: Mapping[str, str | bytes | None]) -> Evidence:
        head = await self.repository.commit(files)
        await self.mirror.update()
        evidence = await self.verifier.verify(self.subject(kind, head))
        assert list((self.root / "checkouts").iterdir()) == []
        assert list((self.root / "private").iterdir()) == []
        return evidence

    async def judge_alone(self, kind: TaskType) -> Evidence:
        """Judge any change; for what goes wrong before it is looked at."""
        return await self.judge(kind, {"test_new.py": "def test_new():\n    assert 2 > 1\n"})

    def subject(self, kind: TaskType, head: str) -> Subject:
        return Subject(
            execution_id="exe_" + "0" * 26,
            task_id="tsk_" + "0" * 26,
            type=kind,
            url=self.mirror.url,
            commits=self.mirror,
            base=self.base,
            head=head,
            folder=self.root / "checkouts",
            private=self.root / "private",
        )


async def court(
    root: Path,
    files: Mapping[str, str | bytes],
    longest: float = 240,
    sandbox: SandboxKind = SandboxKind.BUBBLEWRAP,
    inquiries: Sequence[Inquiry] = (),
) -> Court:
    """`inquiries` are for tests that are about them: they cost several runs of the tests each time."""
    repository = await GitRepository.create(root / "origin", files)
    mirror = Mirror(Git(root / "home"), root / "mirrors", f"file://{repository.path}")
    await mirror.update()
    for name in ("checkouts", "private"):
        (root / name).mkdir()
    verifier = Verifier(
        await boxes_here(sandbox),
        BaseResults(root / "base"),
        SystemClock(),
        longest=longest,
        environments=Environments(root / "environments", most=1, reserve=0),
        inquiries=inquiries,
    )
    return Court(root, repository, mirror, verifier, await repository.head())


def why(evidence: Evidence) -> str:
    return "; ".join(f"{check.name}: {check.why}" for check in failing(evidence))


async def test_a_feature_with_its_test(tmp_path: Path) -> None:
    c = await court(tmp_path, BASE)
    evidence = await c.judge(TaskType.FEATURE, FEATURE)
    assert evidence.passed, why(evidence)
    assert evidence.tests_before is not None
    assert evidence.tests_after is not None
    assert (evidence.tests_before.passed, evidence.tests_after.passed) == (1, 2)
    assert (evidence.files_changed, evidence.lines_added, evidence.lines_removed) == (2, 6, 0)
    assert {command.where for command in evidence.commands} == {"base", "result"}
    assert evidence.sandbox.startswith("bubblewrap")


async def test_the_result_is_judged_by_the_base_s_command(tmp_path: Path) -> None:
    said = '[test]\ncommand = ["python3", "-m", "pytest", "-q"]\n'
    c = await court(tmp_path, {**BASE, ".agentvine.toml": said})
    cheat = {".agentvine.toml": '[test]\ncommand = "true"\n', "test_a.py": "def test_a():\n    assert False\n"}
    evidence = await c.judge(TaskType.FEATURE, cheat)
    assert "test_a" in why(evidence)


async def test_files_that_steer_the_tests_are_the_base_s(tmp_path: Path) -> None:
    c = await court(tmp_path, {"test_a.py": PASSING, "Makefile": "test:\n\tpython3 -m pytest -q test_*.py\n"})
    quiet = {"Makefile": "test:\n\t@echo all is well\n", "test_b.py": "def test_b():\n    assert False\n"}
    evidence = await c.judge(TaskType.FEATURE, quiet)
    assert "tests pass" in why(evidence)
    pointed_out = [check.why for check in evidence.checks if check.name == "judged as the base says"]
    assert pointed_out == ["the result changes Makefile; its tests were run without that change"]


async def test_no_tests_are_not_passed_tests(tmp_path: Path) -> None:
    c = await court(tmp_path, {"pytest.ini": "[pytest]\n", "conftest.py": "", "shop.py": ""})
    evidence = await c.judge(TaskType.FEATURE, {"shop.py": "x = 1\n"})
    assert "no tests were found by `python3 -m pytest -q" in why(evidence)
    assert "add tests that it finds, or say how they are run in .agentvine.toml" in why(evidence)


async def test_a_repository_without_tests_gets_its_first(tmp_path: Path) -> None:
    c = await court(tmp_path, {"shop.py": "x = 1\n"})
    evidence = await c.judge(TaskType.TEST, {"tests/test_shop.py": "def test_x():\n    assert 2 > 1\n"})
    assert evidence.passed, why(evidence)
    assert any("the base has no tests" in remark for remark in evidence.not_checked)


async def test_code_under_the_cover_of_a_move_is_seen(tmp_path: Path) -> None:
    c = await court(tmp_path, BASE)
    evidence = await c.judge(TaskType.DOCS, {"shop.py": None, "docs/shop.md": "x = 1\n"})
    assert "shop.py" in why(evidence)
    assert await changed_paths(c.mirror, c.base, evidence.head_sha or "") == ("docs/shop.md", "shop.py")


async def test_tests_that_do_not_end_are_ended(tmp_path: Path) -> None:
    """On the result that is told to the agent; on the base it ends the order, with what to mend."""
    c = await court(tmp_path, BASE)
    await c.verifier.know_base(c.subject(TaskType.FEATURE, c.base))
    c.verifier = Verifier(await boxes_here(), BaseResults(tmp_path / "base"), SystemClock(), longest=3)
    hang = "import os, time\n\ndef test_b():\n    os.fork() or os.setsid()\n    time.sleep(60)\n"
    evidence = await c.judge(TaskType.FEATURE, {"test_b.py": hang})
    assert "tests pass: they did not end in time: killed: it had not ended after 3 s; on the base they" in why(evidence)
    c.base = await c.repository.head()
    with pytest.raises(SetupFailed, match=r"the tests of the base take too long.*TEST_TIMEOUT"):
        await c.judge_alone(TaskType.FEATURE)


async def test_a_report_is_read_as_a_stranger_s_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret.xml"
    secret.write_text('<testsuite><testcase name="stolen"/></testsuite>')
    said = '[test]\ncommand = ["sh", "run.sh"]\njunit = "out/report.xml"\n'
    honest = "mkdir -p out; echo '<testsuite><testcase name=\"a\"/></testsuite>' > out/report.xml\n"
    c = await court(tmp_path, {".agentvine.toml": said, "run.sh": honest, "test_a.py": ""})
    evidence = await c.judge(
        TaskType.FEATURE, {"run.sh": f"mkdir -p out; ln -s {secret} out/report.xml\n", "test_b.py": ""}
    )
    assert evidence.tests_before is not None
    assert evidence.tests_before.total == 1
    assert evidence.tests_after is not None
    assert not evidence.tests_after.counted
    assert "stolen" not in evidence.model_dump_json()
    assert any("was not read" in remark for remark in evidence.not_checked)


async def test_a_base_that_cannot_be_set_up_is_nobody_s_result(tmp_path: Path) -> None:
    c = await court(tmp_path, {**BASE, ".agentvine.toml": "[setup]\ncommand = 'exit 9'\n"})
    with pytest.raises(SetupFailed, match=r"the base cannot be set up; mend that.*ended with 9"):
        await c.judge_alone(TaskType.FEATURE)


async def test_a_result_that_breaks_the_set_up_is_told_so(tmp_path: Path) -> None:
    said = "[setup]\ncommand = 'test -f shop.py'\n"
    c = await court(tmp_path, {**BASE, ".agentvine.toml": said})
    evidence = await c.judge(TaskType.FEATURE, {"shop.py": None, "test_b.py": PASSING})
    assert "the set-up `sh -c test -f shop.py` ended with 1" in why(evidence)
    assert "on the base it works" in why(evidence)


async def test_a_runner_that_is_missing_is_the_worker_s_trouble(tmp_path: Path) -> None:
    c = await court(tmp_path, {**BASE, ".agentvine.toml": '[test]\ncommand = ["no-such-runner"]\n'})
    with pytest.raises(SetupFailed, match=r"cannot be started; install on the worker.*no-such-runner"):
        await c.judge_alone(TaskType.FEATURE)
    c.base = await c.repository.head()
    evidence = await c.judge(TaskType.DOCS, {"README.md": "# x\n"})
    assert evidence.passed, why(evidence)


async def test_a_mistake_in_its_own_file_is_said(tmp_path: Path) -> None:
    c = await court(tmp_path, {**BASE, ".agentvine.toml": "[test]\n"})
    with pytest.raises(InvalidInput, match="/test/command"):
        await c.judge_alone(TaskType.FEATURE)


async def test_unittest_is_counted(tmp_path: Path) -> None:
    body = "class T(unittest.TestCase):\n    def test_one(self):\n        self.assertEqual(1, abs(-1))\n"
    one = f"import unittest\n\n{body}"
    c = await court(tmp_path, {"shop.py": "", "tests/__init__.py": "", "tests/test_one.py": one})
    evidence = await c.judge(TaskType.TEST, {"tests/test_two.py": one.replace("one", "two")})
    assert evidence.passed, why(evidence)
    assert evidence.tests_after is not None
    assert evidence.tests_after.passed == 2


async def test_a_test_that_is_skipped_now_was_weakened(tmp_path: Path) -> None:
    c = await court(tmp_path, BASE)
    skipped = "import pytest\n\n@pytest.mark.skip\ndef test_a():\n    pass\n\ndef test_b():\n    assert 2 > 1\n"
    evidence = await c.judge(TaskType.TEST, {"test_a.py": skipped})
    assert "1 are skipped now" in why(evidence)


async def test_a_test_that_states_less_is_told_with_its_place(tmp_path: Path) -> None:
    c = await court(tmp_path, {**BASE, "test_c.py": "def test_c():\n    assert abs(-1) == 1\n"})
    evidence = await c.judge(TaskType.FEATURE, {**FEATURE, "test_c.py": "def test_c():\n    pass\n"})
    assert "no test was weakened: test_c.py:1: test_c asserts less than before: 0 of 1" in why(evidence)
    assert [check.name for check in failing(evidence)] == ["no test was weakened"]


async def test_a_feature_whose_tests_pass_without_it(tmp_path: Path) -> None:
    c = await court(tmp_path, BASE)
    evidence = await c.judge(TaskType.FEATURE, {"app.py": "x = 2\n", "test_d.py": GOOD})
    assert [check.name for check in failing(evidence)] == ["the new tests fail without the change"]
    assert "test_d.py::test_d" in why(evidence)


async def test_documents_that_do_not_hold_together(tmp_path: Path) -> None:
    c = await court(tmp_path, {**BASE, "docs/old.md": "[gone](gone.md)\n"})
    wrong = {"README.md": "[a](docs/old.md) [b](docs/new.md)\n\n```python\nx = = 1\n```\n"}
    evidence = await c.judge(TaskType.DOCS, wrong)
    assert "links lead somewhere: README.md:1: `docs/new.md` leads to no file" in why(evidence)
    assert "fenced code can be read: README.md:3" in why(evidence)
    assert len(failing(evidence)) == 2


async def test_a_refactoring_keeps_what_others_use_unless_asked(tmp_path: Path) -> None:
    c = await court(tmp_path, {**BASE, "app.py": "def one():\n    return 1\n\ndef two():\n    return 2\n"})
    head = await c.repository.commit({"app.py": "def one():\n    return 1\n"})
    await c.mirror.update()
    evidence = await c.verifier.verify(c.subject(TaskType.REFACTOR, head))
    assert "the public API is kept: app.py: two is gone" in why(evidence)
    asked = replace(c.subject(TaskType.REFACTOR, head), asked="Remove two() at last")
    assert "public API" not in why(await c.verifier.verify(asked))


async def test_how_tests_are_run_may_be_said_where_there_were_none(tmp_path: Path) -> None:
    settings = "[pytest]\ntestpaths = here\n"
    c = await court(tmp_path / "without", {"shop.py": "x = 1\n"})
    evidence = await c.judge(TaskType.TEST, {"pytest.ini": settings, "here/test_d.py": GOOD})
    assert "no test was weakened" not in why(evidence)
    c = await court(tmp_path / "with", BASE)
    evidence = await c.judge(TaskType.FEATURE, {"pytest.ini": settings, "here/test_d.py": GOOD})
    assert "pytest's `testpaths` steers which tests are run" in why(evidence)


async def test_a_refactoring_cannot_bring_its_own_judges(tmp_path: Path) -> None:
    judged = {"pytest.ini": "[pytest]\npythonpath = .\n", "shop.py": "def f():\n    return 1\n"}
    tests = "from shop_ import f\n\n\ndef test_f():\n    assert f() == 1\n"
    c = await court(tmp_path, {**judged, "shop_.py": judged["shop.py"], "tests/test_f.py": tests})
    changed = {"shop_.py": "def f():\n    return 2\n", "tests/test_f.py": tests.replace("== 1", "== 2")}
    evidence = await c.judge(TaskType.REFACTOR, changed)
    assert [check.name for check in failing(evidence)] == ["the base's own tests pass on the result", CHECK]


async def test_a_link_in_the_base_leads_no_write_astray(tmp_path: Path) -> None:
    """The tests of the result are laid over the base's code by git's index, not by writing into a checkout."""
    outside = tmp_path / "outside"
    outside.mkdir()
    repository = {"pytest.ini": "[pytest]\n", "shop.py": "x = 1\n"}
    c = await court(tmp_path, repository)
    (c.repository.path / "tests").symlink_to(outside)
    c.base = await c.repository.commit({})
    (c.repository.path / "tests").unlink()
    evidence = await c.judge(TaskType.BUGFIX, {"tests/test_x.py": "from shop import x\n", "shop.py": "x = 2\n"})
    assert list(outside.iterdir()) == []
    assert not evidence.passed


async def test_what_is_known_of_a_base_is_used_again(tmp_path: Path) -> None:
    counter = tmp_path / "count"
    counts = {**BASE, "conftest.py": f"open({str(counter)!r}, 'a').write('x')\n"}
    c = await court(tmp_path, counts, sandbox=SandboxKind.NONE)  # from a sandbox nobody could count
    boxes = await boxes_here(SandboxKind.NONE)
    c.verifier = Verifier(boxes, BaseResults(tmp_path / "base"), SystemClock(), longest=240, inquiries=())
    await c.verifier.know_base(c.subject(TaskType.FEATURE, c.base))
    assert counter.read_text() == "x"
    evidence = await c.judge(TaskType.FEATURE, FEATURE)
    assert evidence.passed, why(evidence)
    assert counter.read_text() == "xxx"  # the result, and its tests on the base
    assert evidence.sandbox.startswith("none")
    assert evidence.checks[0].outcome is CheckOutcome.PASSED


def now_and_then(counter: Path, name: str = "test_now_and_then") -> str:
    """A test that fails every second time; only where nothing confines it can it count."""
    count = (
        f"p = pathlib.Path({str(counter)!r}); n = len(p.read_text()) if p.exists() else 0; p.write_text('x' * (n + 1))"
    )
    return f"import pathlib\n\ndef {name}():\n    {count}\n    assert n % 2 == 0\n"


async def test_what_is_flaky_on_the_base_is_not_held_against_a_result(tmp_path: Path) -> None:
    shaky = {**BASE, "test_s.py": now_and_then(tmp_path / "count")}
    c = await court(tmp_path, shaky, sandbox=SandboxKind.NONE)
    evidence = await c.judge(TaskType.DOCS, {"README.md": "# x\n"})  # passes on the base, fails on the result
    assert evidence.passed, why(evidence)
    passing = next(check for check in evidence.checks if check.name == "tests pass")
    assert "these 1 are flaky on the base, so nothing follows from them: test_s.py::test_now_and_then" in passing.why
    assert evidence.tests_before is not None
    assert (evidence.tests_before.flaky, evidence.tests_before.runs) == (("test_s.py::test_now_and_then",), 2)
    assert len((tmp_path / "count").read_text()) == 4  # twice on each: only where there was a doubt
    gone = await c.judge(TaskType.FEATURE, {"test_s.py": None, **FEATURE})
    assert "what was green is green: 1 are gone: test_s.py::test_now_and_then" in why(gone)


async def test_a_new_test_that_is_flaky_fails_the_result(tmp_path: Path) -> None:
    c = await court(tmp_path, BASE, sandbox=SandboxKind.NONE)
    evidence = await c.judge(TaskType.TEST, {"test_s.py": now_and_then(tmp_path / "count")})
    assert "1 are flaky, they did not end alike in 2 runs: test_s.py::test_now_and_then; make them steady" in why(
        evidence
    )
    steady = await c.judge(TaskType.TEST, {"test_s.py": GOOD})
    passing = next(check for check in steady.checks if check.name == "tests pass")
    assert (passing.outcome, passing.why) == (CheckOutcome.PASSED, "in each of 3 runs")
