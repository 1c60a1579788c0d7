"""Everything inside a sandbox is searched for the worker's secrets, while Claude does its work there as ever.

The worker is a process of its own, as it would be installed: its secrets are in its environment, in a file that it
reads, and at the end of a command that it asks.
"""

import json
import os
import re
import sys
from datetime import timedelta
from pathlib import Path

from agentvine.demo.script import Scenario, Script, ToolCall, Turn
from agentvine.demo.scripted_model import serve
from agentvine.domain.work_order import OrderStatus
from agentvine.kit.clock import SystemClock
from agentvine.kit.process import spawn
from agentvine.testing.git_repository import GitRepository, git
from agentvine.testing.git_server import GitServer
from agentvine.testing.stage import stage
from tests.security.cases import toml

MODEL_KEY, PASSWORD, BROKER = "cnry-model-9d30c1", "cnry-git-52be7f", "cnry-redis-c81a06"
VISIBLE = "cnry-visible-7a11d2"
"""Stands in the repository: a search that does not find this finds nothing at all."""

SEARCH = """
import json, os, re, stat, subprocess, sys

needles = [needle[::-1].encode() for needle in json.load(open("needles.json"))]
found, looked = [], {"files": 0, "processes": 0, "regions": 0}

def look(where, content):
    found.extend(f"{needle[::-1].decode()} in {where}" for needle in needles if needle in content)

def bring(path):
    try:
        with open(path, "rb") as file:
            return file.read(50_000_000)
    except OSError:
        return b""

# Files that changed since the secrets exist. What is older cannot hold them.
find = ["find", "/", "(", "-path", "/proc", "-o", "-path", "/sys", ")", "-prune", "-o", "-type", "f"]
listed = subprocess.run([*find, "-newerct", BEGAN, "-print0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
for path in filter(None, listed.stdout.split(b"\\0")):
    looked["files"] += 1
    look(os.fsdecode(path), bring(path))

def memory(pid):
    with open(f"/proc/{pid}/mem", "rb", 0) as file:
        for line in open(f"/proc/{pid}/maps"):
            begin, end, rights = re.match(r"(\\\\w+)-(\\\\w+) (\\\\S+)", line).groups()
            size = int(end, 16) - int(begin, 16)
            if rights.startswith("rw") and size <= 1 << 26:
                try:
                    file.seek(int(begin, 16))
                    look(f"the memory of {pid}", file.read(size))
                    looked["regions"] += 1
                except (OSError, ValueError, OverflowError):
                    pass

for pid in (name for name in os.listdir("/proc") if name.isdigit()):
    looked["processes"] += 1
    for name in ("environ", "cmdline", "maps", "mountinfo", "status", "comm", "net/unix", "net/tcp"):
        look(f"/proc/{pid}/{name}", bring(f"/proc/{pid}/{name}"))
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            look(f"/proc/{pid}/fd/{name}", os.readlink(f"/proc/{pid}/fd/{name}").encode())
            if stat.S_ISREG(os.stat(f"/proc/{pid}/fd/{name}").st_mode):
                look(f"what /proc/{pid}/fd/{name} holds", bring(f"/proc/{pid}/fd/{name}"))
        if int(pid) != os.getpid():
            memory(pid)
    except OSError:
        pass
for name in ("cmdline", "keys", "key-users", "net/unix", "mounts"):
    look(f"/proc/{name}", bring(f"/proc/{name}"))
print("searched by", sys.argv[1], json.dumps(looked), "found:", json.dumps(sorted(set(found))))
"""


def _files(needles: list[str]) -> dict[str, str]:
    began = f"{SystemClock().now() - timedelta(seconds=2):%Y-%m-%d %H:%M:%S +0000}"
    search = "python3 search.py"
    return {
        "search.py": SEARCH.replace("\\\\", "\\").replace("BEGAN", repr(began)),
        "needles.json": json.dumps([needle[::-1] for needle in needles]),
        "visible.txt": VISIBLE,
        "docs/index.md": "Welcome.\n",
        **toml(f"{search} tests", setup=f"! grep -q refs/heads .git/HEAD || {search} set-up > .git/said"),
    }


def _scenario() -> Scenario:
    work = ToolCall(name="Write", input={"file_path": "{workspace}/docs/note.md", "content": "A note.\n"})
    look = ToolCall(name="Bash", input={"command": "cat .git/said; python3 search.py agent", "description": "Search"})
    commit = ToolCall(
        name="Bash", input={"command": "git add docs && git commit -qm 'docs: a note'", "description": "-"}
    )
    done = Turn(text="The note is written.", expect=("searched by agent",))
    return Scenario(name="search", turns=(Turn(text="I work.", tool_calls=(work, look, commit)), done))


def _found(text: str) -> dict[str, set[str]]:
    """What each search found, by who made it. It is told backwards, so that one search is not found by the next."""
    told = re.findall(r"searched by ([\w-]+) ({.*?}) found: (\[.*?\])", text.replace('\\"', '"'))
    assert all(json.loads(looked)["processes"] > 2 for _, looked, _ in told)
    return {by: {one.partition(" in ")[0][::-1] for one in json.loads(found)} for by, _, found in told}


async def test_no_secret_is_anywhere_inside_while_claude_works(tmp_path: Path) -> None:
    async with stage(tmp_path) as there, GitServer(tmp_path, password=PASSWORD) as remote:
        files = _files([MODEL_KEY, PASSWORD, BROKER, there.worker_key, VISIBLE])
        repository = await GitRepository.create(tmp_path / "origin", files)
        await repository.bare_copy(tmp_path / "remote.git")
        helper = tmp_path / "helper"
        helper.write_text(f"#!/bin/sh\necho username=bot\necho password={PASSWORD}\n")
        helper.chmod(0o700)
        async with serve(Script(scenarios=(_scenario(),))) as model:
            environment = {
                "PATH": os.defpath,
                "HOME": str(tmp_path),
                "WORKER_NAME": "one",
                "WORKER_TYPE": "docs",
                "API_URL": there.proxy.url,
                "API_KEY": there.worker_key,
                "REDIS_URL": f"redis://:{BROKER}@127.0.0.1:1/0",
                "ANTHROPIC_BASE_URL": model.url,
                "ANTHROPIC_API_KEY": MODEL_KEY,
                "GIT_CREDENTIAL_COMMAND": str(helper),
                "WORKSPACE_DIR": str(tmp_path / "work"),
                "MAX_REPAIRS": "0",
            }
            argv, log = [sys.executable, "-m", "agentvine", "worker"], tmp_path / "worker.log"
            task = await there.submit(type="docs", repository=remote.url("remote.git"))
            async with await spawn(argv, cwd=tmp_path, env=environment, output=log, guarded=True):
                order = await there.until(task, OrderStatus.COMPLETED, 90)
            execution = (await there.desk.task(task.id)).executions[-1]
            evidence = await there.desk.evidence(execution.id)
            heard = "\n".join(request.raw.decode() for request in model.model.requests)
            assert model.model.failures == []
    assert order.failure is None
    assert await git("show", "main:docs/note.md", cwd=tmp_path / "remote.git") == "A note.\n"
    assert _found(heard) == {"set-up": {VISIBLE}, "agent": {VISIBLE}}
    said = "\n".join(record.output_tail for record in evidence.commands)
    assert _found(said) == {"tests": {VISIBLE}}
