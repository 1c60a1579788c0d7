"""One issue on a forge, from its label to its merge: the command tells it, the forge and git prove it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agentvine.cli.settings import environment
from agentvine.demo.forge.record import BOT
from agentvine.demo.forge.story import EVIDENCE, PERSON, STEPS
from agentvine.demo.repositories import BRANCH, Git
from agentvine.kit.process import run
from agentvine.testing.eventually import eventually

SURROUNDINGS = environment()
pytestmark = pytest.mark.timeout(1200)
EXPORT = """
import sys
from pathlib import Path
from purse.export import export
from purse.ledger import Ledger
ledger = Ledger()
ledger.add("Zoë", 1250, "café; two")
export(ledger, Path(sys.argv[1]))
"""


async def test_an_issue_becomes_a_merged_pull_request(tmp_path: Path) -> None:
    keep = tmp_path / "demo"
    variables = {"PATH": SURROUNDINGS["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    argv = [sys.executable, "-m", "agentvine", "demo", "--forge", "--json", "--keep", str(keep)]
    done = await run(argv, cwd=tmp_path, env=variables, timeout=900)

    assert done.exit_code == 0, done.stderr[-4000:]
    account = json.loads(done.stdout)
    assert [step["name"] for step in account["steps"]] == list(STEPS)
    assert all(step["seconds"] is not None and step["proof"] for step in account["steps"])
    assert len(account["sessions"]) == 1
    assert len(account["tasks"]) == len(account["executions"]) == 3

    record = json.loads((keep / "forge" / "record.json").read_text())
    issue, pull = record["issues"]
    _look_at_the_issue(issue, account, pull)
    _look_at_the_pull_request(pull, account)
    _look_at_the_checks(record["jobs"], pull)
    assert {status for _, status in record["webhooks"]} == {204}, record["webhooks"]
    await _look_at_git(account, pull, tmp_path)
    await eventually(lambda: _processes(keep) == [])


def _look_at_the_issue(issue: dict[str, Any], account: dict[str, Any], pull: dict[str, Any]) -> None:
    """One status comment, with the last word in it; one answer of a person."""
    (status,) = [one["body"] for one in issue["all_comments"] if one["user"]["login"] == BOT]
    assert account["tasks"][0] in status
    assert "was merged" in status
    assert pull["html_url"] in status
    assert [one["user"]["login"] for one in issue["all_comments"]] == [BOT, PERSON]


def _look_at_the_pull_request(pull: dict[str, Any], account: dict[str, Any]) -> None:
    """The one there is: its text is the evidence, and the one remark has one answer, in its place."""
    assert pull["number"] == account["pull_request"]
    assert (pull["state"], pull["merged"], pull["user"]["login"]) == ("closed", True, BOT)
    assert EVIDENCE in pull["body"]
    assert account["tasks"][-1] in pull["body"]
    assert pull["head"]["sha"][:12] in pull["body"]
    remark, answer = pull["all_remarks"]
    assert (remark["user"]["login"], answer["user"]["login"]) == (PERSON, BOT)
    assert (answer["path"], answer["position"]) == (remark["path"], remark["position"])
    assert pull["head"]["sha"] in answer["body"]
    assert pull["all_comments"] == []


def _look_at_the_checks(jobs: list[dict[str, Any]], pull: dict[str, Any]) -> None:
    """They failed for the first head, also when it was tried again, and passed for the two that followed."""
    assert [(job["conclusion"], job["run_attempt"]) for job in jobs] == [("failure", 2), ("success", 1), ("success", 1)]
    assert len({job["head_sha"] for job in jobs}) == 3
    assert jobs[-1]["head_sha"] == pull["head"]["sha"]


async def _look_at_git(account: dict[str, Any], pull: dict[str, Any], tmp_path: Path) -> None:
    """`main` holds what was merged, commit upon commit by the three tasks, and it does what the people asked for."""
    git, clone = Git(SURROUNDINGS["PATH"], tmp_path), tmp_path / "clone"
    await git("clone", "--quiet", "--", account["remote"], str(clone), cwd=tmp_path)
    assert (await git("rev-parse", BRANCH, cwd=clone)).strip() == account["merged_sha"]
    assert (await git("rev-parse", f"{BRANCH}^2", cwd=clone)).strip() == pull["head"]["sha"]
    told = await git(
        "log", "--reverse", "--format=%(trailers:key=AgentVine-Task,valueonly,separator=)", "main^..main^2", cwd=clone
    )
    assert told.split() == account["tasks"]
    heads = (await git("for-each-ref", "--format=%(refname:lstrip=3)", "refs/remotes/origin", cwd=clone)).split()
    assert set(heads) == {"HEAD", BRANCH, pull["head"]["ref"]}
    around = {"PATH": SURROUNDINGS["PATH"], "PYTHONPATH": str(clone)}
    done = await run([sys.executable, "-c", EXPORT, "ledger.csv"], cwd=clone, env=around, timeout=60)
    assert done.exit_code == 0, done.stderr
    assert (clone / "ledger.csv").read_bytes().decode() == 'who;what for;amount\r\nZoë;"café; two";12.50\r\n'


def _processes(keep: Path) -> list[str]:
    """Those that have to do with the demo in `keep`, by their command lines or environments."""
    return [str(process) for process in Path("/proc").glob("[1-9]*") if str(keep).encode() in _facts(process)]


def _facts(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    except OSError:  # it is gone
        return b""
