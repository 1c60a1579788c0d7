"""Reviews judged with analysers that really run, in real sandboxes, over base and result of real branches."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydantic import JsonValue

from agentvine.domain.evidence import CheckOutcome, Evidence
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock
from agentvine.testing.boxes import boxes_here
from agentvine.testing.git_repository import GitRepository
from agentvine.worker.analysis.analysers import RUFF
from agentvine.worker.git import Git
from agentvine.worker.mirror import Mirror
from agentvine.worker.verification.analyses import Analyses
from agentvine.worker.verification.base_results import BaseResults
from agentvine.worker.verification.found import Commands
from agentvine.worker.verification.reviewing import NothingRan, analysed
from agentvine.worker.verification.verify import Subject, Verifier, failing

OLD = "def gone():\n    return not_defined_before\n"
FILES = {
    "shop.py": f'"""A shop."""\n\n\n{OLD}',
    "prices.py": f'"""Prices."""\n\nLIST = [1, 2, 3]\nNAMES = ["a", "b", "c"]\n\n\n{OLD}',
    "pyproject.toml": '[tool.ruff.lint]\nselect = ["F"]\n',
    "ruff.py": "raise SystemExit('not the real one')\n",
}
NEW = '''"""A shop."""

import os
import subprocess


def gone():
    return not_defined_before


def show(name: str) -> None:
    subprocess.run(f"echo {name}", shell=True)  # nosec


def size() -> int:
    return "3"
'''
TOPIC: dict[str, str | bytes | None] = {
    "shop.py": NEW,
    "prices.py": None,
    "costs.py": FILES["prices.py"].replace("3]", "4]"),
    "pyproject.toml": '[tool.ruff]\nexclude = ["*.py"]\n',
    "notes.txt": "Nothing to analyse.\n",
}


def finding(file: str, line: int, title: str = "Strangers run commands", why: str = "It has shell=True.") -> JsonValue:
    return {"file": file, "line": line, "severity": "critical", "title": title, "why": why, "fix": "Pass a list."}


@dataclass
class Desk:
    root: Path
    mirror: Mirror
    verifier: Verifier
    since: str
    head: str

    def subject(self, *findings: JsonValue, since: str | None = None, head: str | None = None) -> Subject:
        return Subject(
            execution_id="exe_" + "0" * 26,
            task_id="tsk_" + "0" * 26,
            type=TaskType.REVIEW,
            url=self.mirror.url,
            commits=self.mirror,
            base=head or self.head,
            head=head or self.head,
            folder=self.root / "checkouts",
            private=self.root / "private",
            answer={"summary": "I read it.", "findings": list(findings)},
            since=since,
        )

    async def judge(self, *findings: JsonValue, since: str | None = None, head: str | None = None) -> Evidence:
        evidence = await self.verifier.verify(self.subject(*findings, since=since, head=head))
        assert list((self.root / "checkouts").iterdir()) == []
        return evidence


async def desk(root: Path, files: Mapping[str, str], topic: Mapping[str, str | bytes | None]) -> Desk:
    repository = await GitRepository.create(root / "origin", files)
    await repository.git("checkout", "-q", "-b", "topic")
    head = await repository.commit(topic)
    await repository.git("checkout", "-q", "main")
    remote = await repository.bare_copy(root / "remote.git")
    mirror = Mirror(Git(root / "home"), root / "mirrors", f"file://{remote}")
    await mirror.update()
    for name in ("checkouts", "private"):
        (root / name).mkdir()
    since = await mirror.fork_of("topic", head)
    assert since == await repository.head()
    assert await mirror.fork_of("main", since) is None
    verifier = Verifier(await boxes_here(), BaseResults(root / "base"), SystemClock(), longest=240)
    return Desk(root, mirror, verifier, since, head)


async def test_what_a_change_brings_is_found_placed_and_told_once(tmp_path: Path) -> None:
    d = await desk(tmp_path, FILES, TOPIC)
    outside = await d.judge(finding("shop.py", 12), finding("ruff.py", 1), since=d.since)
    assert [check.name for check in failing(outside)] == ["findings name places that exist"]
    assert "ruff.py:1: the change that is under review does not touch this file" in failing(outside)[0].why

    evidence = await d.judge(finding("shop.py", 12), since=d.since)
    assert evidence.passed, failing(evidence)
    assert [(one.file, one.line, one.source, one.also, one.severity) for one in evidence.findings] == [
        ("shop.py", 12, "claude", ("bandit:B602",), "critical"),
        ("shop.py", 16, "mypy:return-value", (), "medium"),
        ("shop.py", 3, "ruff:F401", (), "low"),
    ], "what was there before, moved or not, is not told; nor do the branch's settings and comments hide anything"
    ran = next(check for check in evidence.checks if check.name == "analysers really ran")
    for name in ("ruff", "mypy", "bandit"):
        assert f"{name} " in ran.why
    assert {(record.where, record.argv[3]) for record in evidence.commands} == {
        (where, tool) for where in ("base", "result") for tool in ("ruff", "mypy", "bandit")
    }
    assert any("known vulnerabilities" in gap for gap in evidence.not_checked)
    assert evidence.reviewed_since == d.since

    whole = await d.judge(finding("ruff.py", 1, "It ends the program", "It raises."), head=d.since)
    assert {(one.file, one.source) for one in whole.findings} == {
        ("ruff.py", "claude"),
        ("shop.py", "ruff:F821"),
        ("prices.py", "ruff:F821"),
    }
    assert any(gap.startswith("types:") for gap in whole.not_checked), "nothing there says a type"


async def test_where_nothing_can_be_run_that_is_said(tmp_path: Path) -> None:
    words = await desk(tmp_path / "words", {"a.txt": "a\n"}, {"a.txt": "b\n"})
    evidence = await words.judge(finding("a.txt", 1), since=words.since)
    assert evidence.passed, failing(evidence)
    ran = next(check for check in evidence.checks if check.name == "analysers really ran")
    assert ran.outcome is CheckOutcome.NOT_APPLICABLE
    lost = replace(RUFF, version=("no-such-program", "--version"))
    stuck = replace(RUFF, name="stuck", command=("sh", "-c", "echo no such option; exit 2"), own=())
    code = await desk(tmp_path / "code", {"a.py": "a = 1\n"}, {"a.py": "a = 2\n"})
    analyses = Analyses(await boxes_here(), 30, (lost, stuck))
    with pytest.raises(NothingRan, match=r"stuck 0.*it ended with 2: no such option.*not among the programs"):
        await analysed(code.subject(since=code.since), Commands(), analyses)
