"""Bugs of packages that everybody knows, as they were mended: the fix with its test is delivered; either of them alone,
and a wrong fix, are not.

The fix with its test is made by the real Claude Code, which a scripted model tells what to write; the three that have
to be refused by a stand-in, which is not told to repair. All else is what a worker has.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agentvine.demo.script import Scenario, Turn
from agentvine.domain.retry import FailureReason
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock
from agentvine.testing.git_repository import git
from agentvine.worker.agent.base import Watchdog
from agentvine.worker.conclusion import Delivered, Failed
from agentvine.worker.executor import TaskExecutor
from agentvine.worker.sandbox.base import Box
from agentvine.worker.verification.base_results import BaseResults
from agentvine.worker.verification.verify import Verifier, failing
from tests.history.distributions import files_of, with_blocks
from tests.history.histories import Blocks, History
from tests.integration.houses import House, commit, house, turn, write
from tests.proof.agent import ScriptedAgent
from tests.proof.case import Turn as Deed


def changed(history: History, blocks: Blocks) -> dict[str, str]:
    """The files of the older version with those blocks."""
    old, new = files_of(history.before), files_of(history.after)
    return {path: with_blocks(old.get(path, b"").decode(), new[path].decode(), named) for path, named in blocks.items()}


def wrongly(history: History, fixed: dict[str, str]) -> dict[str, str]:
    """The same fix, gone wrong."""
    path, find, put = history.wrong
    assert fixed[path].count(find) == 1, fixed[path].count(find)
    return {**fixed, path: fixed[path].replace(find, put)}


def repository(history: History) -> dict[str, str | bytes]:
    """The older version, and how one file of its tests is run."""
    command = json.dumps(["python3", "-m", "pytest", "-q", *history.runs])
    said = f'[setup]\ncommand = "true"\n\n[test]\ncommand = {command}\n'
    return {**files_of(history.before), ".agentvine.toml": said}


async def refused(h: House, history: History, branch: str, files: dict[str, str]) -> set[str]:
    """The checks for which what changes `files` is not delivered."""
    base = await h.on_remote("main", "rev-parse")
    await git("branch", branch, "main", cwd=h.remote)
    await h.submit(TaskType.BUGFIX, f"{history.title} ({branch})", branch=branch)
    claimed = await h.claim(TaskType.BUGFIX)

    def agent_in(box: Box) -> ScriptedAgent:
        return ScriptedAgent(box, [Deed(files, (f"git add --all && git commit --quiet -m 'fix: {branch}'",))])

    conclusion, progress = await h.execute(claimed, TaskExecutor(replace(h.shop, agent_in=agent_in, max_repairs=0)))
    await h.report(claimed, conclusion, progress)
    assert isinstance(conclusion, Failed), conclusion
    assert conclusion.failure.reason is FailureReason.VERIFICATION_FAILED, conclusion
    assert await h.on_remote(branch, "rev-parse") == base
    evidence = await h.desk.evidence(claimed.lease.execution_id)
    assert evidence.tests_before is not None
    assert evidence.tests_before.passed > 0
    assert evidence.tests_before.failed == 0
    return {check.name for check in failing(evidence)}


def patient(h: House) -> House:
    """With limits that no busy machine reaches."""
    verifier = Verifier(h.shop.boxes, BaseResults(h.root / "known"), SystemClock(), longest=900)
    watchdog = Watchdog(first_message=300, idle=300, after_result=100, total=900)
    shop = replace(h.shop, verifier=verifier, watchdog=watchdog)
    return replace(h, shop=shop, executor=TaskExecutor(shop))


def test_it_is_what_was_released(history: History) -> None:
    """The blocks that are named are there, and tell the fix from its test and from the wrong one."""
    fix, test = changed(history, history.fix), changed(history, history.test)
    assert fix and test and not fix.keys() & test.keys()
    old = files_of(history.before)
    assert all(old.get(path, b"").decode() != content for path, content in {**fix, **test}.items())
    assert wrongly(history, fix) != fix


@pytest.mark.timeout(1200)
@pytest.mark.every_case("tests/proof: bugfixes of small packages; test_executor: a bugfix is proven and pushed")
async def test_it_is_judged_as_it_was(history: History, tmp_path: Path) -> None:
    fix, test = changed(history, history.fix), changed(history, history.test)
    writes = [write(path, content) for path, content in {**fix, **test}.items()]
    done = turn(*writes, commit("fix: as it was mended"))
    scenario = Scenario(name=history.name, match=(history.title,), turns=(done, Turn(text="It is mended.")))
    async with house(tmp_path, scenario, files=repository(history)) as made:
        h = patient(made)
        base = await h.on_remote("main", "rev-parse")
        alone = await refused(h, history, "the-fix-alone", fix)
        assert "a test reproduces the bug" in alone
        assert "tests pass" not in alone
        assert "tests pass" in await refused(h, history, "the-test-alone", test)
        assert "tests pass" in await refused(h, history, "a-wrong-fix", {**wrongly(history, fix), **test})
        await h.submit(TaskType.BUGFIX, history.title)
        _, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Delivered), conclusion
        delivered = await git("show", "--no-patch", "--format=%P", "main", cwd=h.remote)
        assert delivered.strip() == base
        for path, content in {**fix, **test}.items():
            assert await git("show", f"main:{path}", cwd=h.remote) == content
