"""The demo's forge answers as Gitea describes its own API, and only to whoever shows the token."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentvine.cli.settings import environment
from agentvine.demo.forge.forge import Forge, running_forge
from agentvine.demo.forge.record import BOT, NAME, OWNER
from agentvine.demo.repositories import DemoFailed, Git, make_remote
from agentvine.testing.eventually import eventually
from agentvine.testing.forges.description import recorded

TOKEN = "0123456789abcdef"
BRANCH = "agentvine/feature/x"
REPO = "/repos/{owner}/{repo}"


class Caller:
    """Calls by the templates of the description, and holds what comes back against it."""

    def __init__(self, forge: Forge, client: httpx.AsyncClient) -> None:
        self._forge = forge
        self._client = client

    async def __call__(self, method: str, template: str, body: Any = None, query: str = "", **names: object) -> Any:
        path = template.format(owner=OWNER, repo=NAME, **names)
        headers = {"Authorization": f"token {TOKEN}"}
        answer = await self._client.request(method, f"/api/v1{path}?{query}", headers=headers, json=body)
        described = recorded("gitea")
        told = answer.json() if "json" in answer.headers.get("content-type", "") else answer.text
        assert list(described.request(method, template, query, body)) == []
        assert list(described.answer(method, template, answer.status_code, told)) == []
        assert answer.is_success, answer.text
        return told


@pytest.fixture
async def forge(tmp_path: Path) -> AsyncIterator[Forge]:
    (tmp_path / "home").mkdir()
    git = Git(environment()["PATH"], tmp_path / "home")
    await make_remote(tmp_path, git)
    async with running_forge(tmp_path / "purse.git", tmp_path / "forge", git, TOKEN) as running:
        yield running


@pytest.fixture
async def client(forge: Forge) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=forge.url, timeout=60) as made:
        yield made


async def _push(tmp_path: Path, forge: Forge, token: str = TOKEN) -> str:
    """A branch with one more file, pushed by git over HTTP. Returns its commit."""
    git, tree = Git(environment()["PATH"], tmp_path / "home"), tmp_path / "purse"
    who = {f"GIT_{role}_{part}": "ann" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    (tree / "purse" / "more.py").write_text("def more():\n    return open('/dev/null')\n")
    (tree / "tests" / "test_more.py").write_text(
        "from purse.more import more\n\n\ndef test_more():\n    more().close()\n"
    )
    await git("add", "--all", cwd=tree)
    await git("commit", "--quiet", "--allow-empty", "-m", "feat: more", cwd=tree, more=who)
    shown = base64.b64encode(f"git:{token}".encode()).decode()
    header = f"http.extraHeader=Authorization: Basic {shown}"
    await git("-c", header, "push", "--quiet", forge.repository_url, f"HEAD:refs/heads/{BRANCH}", cwd=tree)
    return (await git("rev-parse", "HEAD", cwd=tree)).strip()


async def test_its_answers_are_those_of_the_description(
    tmp_path: Path, forge: Forge, client: httpx.AsyncClient
) -> None:
    call = Caller(forge, client)
    issue = await forge.activity.open_issue("mira", "Export", "Please.")
    await forge.activity.label(issue, ["agentvine"])
    assert (await call("GET", "/user"))["login"] == BOT
    assert (await call("GET", REPO))["full_name"] == f"{OWNER}/{NAME}"
    assert [one["name"] for one in await call("GET", f"{REPO}/labels")] == ["agentvine", "bug"]
    listed = await call("GET", f"{REPO}/issues", query="state=open&type=issues&labels=agentvine")
    assert [one["number"] for one in listed] == [1]
    assert await call("GET", f"{REPO}/issues", query="state=open&type=issues&labels=bug") == []
    said = await call("POST", f"{REPO}/issues/{{index}}/comments", {"body": "one"}, index=1)
    await call("PATCH", f"{REPO}/issues/comments/{{id}}", {"body": "two"}, id=said["id"])
    assert [one["body"] for one in await call("GET", f"{REPO}/issues/{{index}}/comments", index=1)] == ["two"]
    assert len(await call("GET", f"{REPO}/issues/comments", query="since=2020-01-01T00:00:00Z")) == 1
    await call("DELETE", f"{REPO}/issues/comments/{{id}}", id=said["id"])
    assert (await call("GET", f"{REPO}/issues/{{index}}", index=1))["comments"] == 0

    sha = await _push(tmp_path, forge)
    proposed = {"title": "Export", "body": "text", "head": BRANCH, "base": "main"}
    pull = await call("POST", f"{REPO}/pulls", proposed)
    assert (pull["head"]["sha"], pull["mergeable"]) == (sha, True)
    await _reviewed(call, forge)
    await _checked(call, forge, sha)
    merged = await forge.activity.merge(*forge.record.pulls[0], "mira")
    shown = (await call("GET", f"{REPO}/pulls", query="state=all"))[0]
    assert (shown["merged"], shown["merge_commit_sha"], shown["state"]) == (True, merged, "closed")


async def _reviewed(call: Caller, forge: Forge) -> None:
    await forge.activity.review(*forge.record.pulls[0], "mira", "", [("purse/more.py", 2, "Close it.")])
    (review,) = await call("GET", f"{REPO}/pulls/{{index}}/reviews", index=2)
    remarks = f"{REPO}/pulls/{{index}}/reviews/{{id}}/comments"
    (remark,) = await call("GET", remarks, index=2, id=review["id"])
    assert remark["diff_hunk"].splitlines()[-1] == "+    return open('/dev/null')"
    replies = f"{REPO}/pulls/{{index}}/comments/{{id}}/replies"
    answer = await call("POST", replies, {"body": "Done."}, index=2, id=remark["id"])
    assert (answer["path"], answer["position"], answer["user"]["login"]) == ("purse/more.py", 2, BOT)


async def _checked(call: Caller, forge: Forge, sha: str) -> None:
    """The CI really runs the tests: it fails here, for what only it finds, also when it is asked once more."""
    for attempt in (1, 2):
        await eventually(lambda: forge.record.jobs[0].state != "pending")
        assert (await call("GET", f"{REPO}/commits/{{ref}}/status", ref=sha))["state"] == "failure"
        (run,) = (await call("GET", f"{REPO}/actions/runs", query=f"head_sha={sha}"))["workflow_runs"]
        (job,) = (await call("GET", f"{REPO}/actions/runs/{{run}}/jobs", run=run["id"]))["jobs"]
        assert (job["conclusion"], job["run_attempt"], job["steps"][0]["conclusion"]) == ("failure", attempt, "failure")
        assert "EncodingWarning" in await call("GET", f"{REPO}/actions/jobs/{{job_id}}/logs", job_id=job["id"])
        if attempt == 1:
            again = f"{REPO}/actions/runs/{{run}}/jobs/{{job_id}}/rerun"
            await call("POST", again, run=run["id"], job_id=job["id"])


async def test_nobody_gets_in_without_the_token(tmp_path: Path, forge: Forge, client: httpx.AsyncClient) -> None:
    for shown in ({}, {"Authorization": "token another"}, {"Authorization": "Basic ???"}):
        assert (await client.get("/api/v1/user", headers=shown)).status_code == 401
    with pytest.raises(DemoFailed):
        await _push(tmp_path, forge, "another")
    assert set(await forge.activity.repository.heads()) == {"main"}
