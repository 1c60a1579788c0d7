"""One order through containers that are started with the options of deploy/compose.yaml: `make docker-test`, as root.

Server, PostgreSQL, Redis, the maker of keys and a worker are what compose.yaml says they are. Beside them stand the
model, played from a script, and a git server: those are the world outside, on the network that leads there.
"""

import json
import re
import tomllib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio

from agentvine.cli.settings import environment
from agentvine.demo.repositories import Git, make_remote
from agentvine.kit.process import run
from tests.deploy.compose_file import DEPLOY, Project, read_compose
from tests.deploy.engine import PATH, Engine, groups_left, running_engine
from tests.deploy.images import build_images
from tests.e2e.fleet import until

pytestmark = [pytest.mark.timeout(2400), pytest.mark.asyncio(loop_scope="module")]
KIND = "bugfix"
MODEL_KEY = "sk-ant-canary-that-no-image-and-no-argument-holds"
SERVICES = ("database", "broker", "server", "keys", f"worker-{KIND}")
LOOK = """
echo "secrets:$(ls -d /run/secrets /run/agentvine/key /credentials 2>/dev/null):end"
echo "files:$(find /var/lib/agentvine -type f 2>/dev/null | grep -vE '/objects/|/private/claude-' | tr '\\n' ' '):end"
echo "user:$(id -u):end"
echo "processes:$(ls -d /proc/[0-9]* | wc -l)"
echo "keys:$(grep -rslE 'av_[0-9a-z]{10}_|sk-ant-can|requirepass' /proc/[0-9]*/environ /etc /home 2>/dev/null):end"
echo "network:$(python3 -c 'import socket; socket.create_connection(("server", 8420), 3)' 2>&1 | tail -n 1)"
"""
"""What the agent tries first, from inside its box."""


@dataclass(frozen=True, slots=True)
class Town:
    """What runs, and how to speak to it."""

    docker: Engine
    project: Project
    task: str
    """The order that was delivered."""

    async def inside(self, service: str, *command: str) -> str:
        return await self.docker("exec", f"{self.project.name}-{service}", *command)

    async def admin(self, *arguments: str) -> str:
        return await self.inside("server", "agentvine-admin", *arguments)

    async def started_as(self, service: str) -> dict[str, object]:
        found: list[dict[str, object]] = json.loads(
            await self.docker("inspect", f"{self.project.name}-{service}", timeout=30)
        )
        return found[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town() -> AsyncIterator[Town]:
    """Everything, up to a delivered order. What indexes gave is kept in DOCKER_TEST_CACHE, if that is set."""
    kept = environment().get("DOCKER_TEST_CACHE")
    with TemporaryDirectory(prefix="agentvine-cache-") as fresh:
        cache = Path(kept or fresh)
        cache.mkdir(parents=True, exist_ok=True)
        async with running_engine() as docker:
            await build_images(docker, cache)
            project = Project(
                "t", await _secrets(docker.folder), read_compose({"ANTHROPIC_BASE_URL": "http://model:8430"})
            )
            await _world(docker, project)
            for service in SERVICES:
                await _start(docker, project, service)
            yield Town(docker, project, await _deliver(docker))
    assert not groups_left()


def secrets_of(project: Project) -> set[str]:
    """Whatever in the files of secrets is long enough to be one."""
    return {word for path in project.secrets.iterdir() for word in re.findall(r"[\w-]{20,}", path.read_text())}


async def _secrets(folder: Path) -> Path:
    made = folder / "secrets"
    told = {"PATH": PATH, "ANTHROPIC_API_KEY": MODEL_KEY}
    done = await run(["sh", str(DEPLOY / "prepare.sh"), str(made)], cwd=folder, env=told, timeout=30)
    assert done.exit_code == 0, done.stderr
    return made


async def _world(docker: Engine, project: Project) -> None:
    """The networks, and on the one that leads out the model and the git server."""
    for network in project.whole["networks"]:
        await docker("network", "create", *project.network(network))
    outside = docker.folder / "outside"
    (outside / "home").mkdir(parents=True)
    await make_remote(outside, Git(PATH, outside / "home"))
    script = tomllib.loads(files("agentvine.demo").joinpath("data/script.toml").read_text(encoding="utf-8"))
    (scenario,) = [each for each in script["scenarios"] if each["name"] == KIND]
    look = {"name": "Bash", "input": {"command": LOOK, "description": "Look around"}}
    scenario["turns"].insert(0, {"text": "I'll look around.", "tool_calls": [look]})
    (outside / "script.json").write_text(json.dumps({"scenarios": [scenario]}))
    await run(["chown", "-R", "10001:10001", str(outside)], cwd=outside, env={"PATH": PATH}, timeout=30)
    beside = ["run", "--detach", "--no-healthcheck", f"--network={project.name}_egress", f"--volume={outside}:/outside"]
    play = "import asyncio; from pathlib import Path; from agentvine.demo.scripted_model import run; "
    play += "asyncio.run(run(Path('/outside/script.json'), 8430, '0.0.0.0'))"
    await docker(*beside, "--name=model", "--entrypoint=python3", "agentvine-worker", "-c", play)
    daemon = ["daemon", "--base-path=/outside", "--export-all", "--enable=receive-pack", "--listen=0.0.0.0"]
    await docker(*beside, "--name=remote", "--entrypoint=git", "agentvine-worker", *daemon)


async def _start(docker: Engine, project: Project, service: str) -> None:
    """As Compose does: the next one only when this one is well, or, if it is to end, has ended well."""
    name = f"{project.name}-{service}"
    told = project.run(service)
    await docker("create", *told)
    for network in project.further_networks(service):
        await docker("network", "connect", f"--alias={service}", network, name)
    await docker("start", name)
    state = "{{.State.Status}} {{.State.ExitCode}} {{if .State.Health}}{{.State.Health.Status}}{{end}}"

    async def well() -> bool:
        status, code, *health = (await docker("inspect", "--format", state, name)).split()
        if status == "exited" or health == ["unhealthy"]:
            assert (status, code) == ("exited", "0"), f"{service}: {status}; {await docker('logs', name)}"
            return True
        return health == ["healthy"]

    await until(well, f"{service} is well", 120)


async def _deliver(docker: Engine) -> str:
    """Submit one order, as a person would, and wait until it is over."""
    wanted = ["--type", KIND, "--repo", "git://remote/purse.git", "--branch", "main"]
    title = "Splitting an amount loses cents"
    admin = ["exec", "t-server", "agentvine-admin"]
    task = (await docker(*admin, "submit", *wanted, "--title", title)).split()[-1]
    try:
        await docker(*admin, "wait", task, "--timeout", "300", timeout=330)
    except AssertionError as error:
        told = [
            await docker(*admin, "show", task),
            await docker("logs", f"t-worker-{KIND}"),
            await docker("logs", "model"),
        ]
        raise AssertionError("\n".join([str(error), *told])) from None
    return task


def tool_results(transcript: str) -> list[str]:
    """What the agent's tools gave back."""
    contents = [json.loads(line).get("message", {}).get("content") for line in transcript.splitlines()]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return [str(part["content"]) for part in parts if part["type"] == "tool_result"]


async def test_the_order_is_proven_and_delivered(town: Town) -> None:
    evidence = json.loads(await town.admin("evidence", "show", town.task, "--json"))
    text = json.dumps(evidence)
    assert "bubblewrap" in text, text[:2000]
    sha = await town.docker("exec", "remote", "git", "-C", "/outside/purse.git", "log", "-1", "--format=%B", "main")
    assert "AgentVine-Task:" in sha


async def test_the_agent_sees_no_secret_no_neighbour_and_no_network(town: Town) -> None:
    told = await town.admin("logs", town.task, "--json")
    (seen,) = [text for text in tool_results(told) if text.startswith("secrets:")]
    assert "secrets::end" in seen, seen
    assert "files::end" in seen, f"of the worker's folder more than borrowed objects and Claude's own: {seen}"
    assert "user:1000:end" in seen, seen
    assert "keys::end" in seen, seen
    assert "network:socket.gaierror" in seen, seen
    assert not [secret for secret in secrets_of(town.project) if secret in told]


@pytest.mark.parametrize("service", ["database", "broker", "server", f"worker-{KIND}"])
async def test_a_container_is_as_confined_as_the_file_says(town: Town, service: str) -> None:
    told, found = town.project.service(service), await town.started_as(service)
    host = found["HostConfig"]
    assert isinstance(host, dict)
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["PidsLimit"] == told["pids_limit"]
    assert await town.inside(service, "sh", "-c", "touch /x 2>/dev/null || echo closed") == "closed"
    status = await town.inside(service, "cat", "/proc/1/status")
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert lines["CapEff"] == lines["CapBnd"] == "0000000000000000"
    assert (lines["NoNewPrivs"], lines["Seccomp"]) == ("1", "2")
    assert lines["Uid"].split()[0] == str(told.get("user", "10001")).split(":")[0]
    files = "/sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes"  # cgroup v2, and v1
    bound = await town.inside(service, "sh", "-c", f"cat {files} 2>/dev/null || true")
    assert int(bound) == int(str(told["mem_limit"])[:-1]) * {"m": 1 << 20, "g": 1 << 30}[str(told["mem_limit"])[-1]]


async def test_a_worker_reaches_the_server_and_the_broker_and_not_the_database(town: Town) -> None:
    reach = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)"

    async def reached(service: str, host: str, port: int) -> bool:
        asked = f"python3 -c '{reach}' {host} {port} 2>/dev/null && echo yes || echo no"
        return await town.inside(service, "sh", "-c", asked) == "yes"

    worker = f"worker-{KIND}"
    assert [await reached(worker, *place) for place in (("server", 8420), ("broker", 6379), ("model", 8430))] == [
        True
    ] * 3
    assert not await reached(worker, "database", 5432)
    assert not await reached("broker", "database", 5432)
    assert await reached("server", "database", 5432)
    assert not await reached("server", "model", 8430)


async def test_no_secret_is_in_an_image_an_argument_or_an_environment(town: Town) -> None:
    told = [await town.docker("history", "--no-trunc", f"agentvine-{image}") for image in ("server", "worker")]
    told += [json.dumps(await town.started_as(service)) for service in SERVICES]
    processes = "cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'"
    told += [await town.inside(service, "sh", "-c", processes) for service in ("server", f"worker-{KIND}")]
    assert not [secret for secret in secrets_of(town.project) if secret in "".join(told)]
    places = "--exclude-dir=proc --exclude-dir=sys"
    look = f"grep -rsl -e no-image-holds-this -e {MODEL_KEY} / {places} || true"
    for image in ("agentvine-server", "agentvine-worker"):
        assert not await town.docker("run", "--rm", "--network=none", "--entrypoint=sh", image, "-c", look)


async def test_the_server_holds_no_agent_and_neither_image_a_development_tool(town: Town) -> None:
    agent = "/opt/agentvine/lib/python3*/site-packages/claude_agent_sdk/_bundled"
    look = f"ls -d {agent} /opt/agentvine/bin/ruff 2>/dev/null || true"
    assert not await town.inside("server", "sh", "-c", look)
    assert (await town.inside(f"worker-{KIND}", "sh", "-c", look)).endswith("_bundled")


async def test_keys_are_made_once(town: Town) -> None:
    before = await town.admin("keys", "list", "--json")
    await town.docker("start", "--attach", "t-keys")
    assert [key["id"] for key in json.loads(await town.admin("keys", "list", "--json"))] == [
        key["id"] for key in json.loads(before)
    ]


async def test_a_worker_that_is_stopped_leaves_at_once_and_well(town: Town) -> None:
    await town.docker("stop", f"t-worker-{KIND}", timeout=60)
    found = await town.started_as(f"worker-{KIND}")
    state = found["State"]
    assert isinstance(state, dict)
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False), await town.docker("logs", f"t-worker-{KIND}")
