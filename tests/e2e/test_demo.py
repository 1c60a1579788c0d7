"""The demo does what it says, and what it leaves can be looked at."""

import json
import sys
from pathlib import Path

import pytest

from agentvine.cli.settings import environment
from agentvine.demo.repositories import Git
from agentvine.domain.worker_types import PROFILES, TaskType
from agentvine.kit.process import run

SURROUNDINGS = environment()
pytestmark = pytest.mark.timeout(1200)


async def test_six_types_are_delivered(tmp_path: Path) -> None:
    keep = tmp_path / "demo"
    variables = {"PATH": SURROUNDINGS["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    argv = [sys.executable, "-m", "agentvine", "demo", "--json", "--keep", str(keep)]
    done = await run(argv, cwd=tmp_path, env=variables, timeout=900)

    assert done.exit_code == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    orders = {order["type"]: order for order in report["orders"]}
    assert set(orders) == {kind.value for kind in TaskType}
    assert {order["status"] for order in orders.values()} == {"completed"}
    assert all(order["cost_usd"] > 0 for order in orders.values())
    assert orders["bugfix"]["repairs"] == 1
    assert orders["bugfix"]["tests_after"]["passed"] > orders["bugfix"]["tests_before"]["passed"]
    await _look_at_the_remote(report["remote"], orders, tmp_path)


async def _look_at_the_remote(remote: str, orders: dict[str, dict[str, str]], tmp_path: Path) -> None:
    git = Git(SURROUNDINGS["PATH"], tmp_path)
    clone = tmp_path / "clone"
    await git("clone", "--quiet", "--", remote, str(clone), cwd=tmp_path)
    for kind, order in orders.items():
        profile = PROFILES[TaskType(kind)]
        if not profile.changes_files:
            continue
        assert await git("rev-parse", f"origin/{order['branch']}", cwd=clone)
        await git("merge-base", "--is-ancestor", order["sha"], f"origin/{order['branch']}", cwd=clone)
        message = await git("log", "-1", "--format=%B", order["sha"], cwd=clone)
        assert f"AgentVine-Task: {order['id']}" in message
        assert "AgentVine-Execution: exe_" in message
        subjects = await git("log", "--format=%s", f"{order['sha']}~1..{order['sha']}", cwd=clone)
        assert subjects.partition(":")[0] in {"feat", "fix", "test", "docs", "refactor"}
    await _the_fix_is_proven(git, clone, orders["bugfix"]["sha"])


async def _the_fix_is_proven(git: Git, clone: Path, sha: str) -> None:
    """The delivered test fails on the code as it was before the fix, and passes with it."""
    await git("checkout", "--quiet", sha, cwd=clone)
    assert await _pytest(clone) == 0
    fix = (await git("log", "--format=%H", "--diff-filter=M", "-1", sha, "--", "purse/split.py", cwd=clone)).strip()
    await git("checkout", "--quiet", f"{fix}~1", "--", "purse/split.py", cwd=clone)
    assert await _pytest(clone) == 1


async def _pytest(clone: Path) -> int:
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_split.py"]
    env = {"PATH": SURROUNDINGS["PATH"], "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # which only take time here
    return (await run(argv, cwd=clone, env=env, timeout=240)).exit_code
