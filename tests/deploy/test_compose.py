"""deploy/compose.yaml keeps to its schema and to what docs/deployment.md says of it."""

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from agentvine.domain.worker_types import PROFILES, TaskType
from agentvine.server.settings import ServerSettings
from agentvine.worker.settings import WorkerConfig
from tests.deploy.compose_file import DEPLOY, Project, read_compose

COMPOSE = read_compose()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
WORKERS = {kind: SERVICES[f"worker-{kind}"] for kind in TaskType}
SCHEMA = json.loads((Path(__file__).parent / "schemas" / "compose.json").read_text())
_UNITS = {"m": 1 << 20, "g": 1 << 30}


def size(text: str) -> int:
    return int(text[:-1]) * _UNITS[text[-1]]


def variables(service: dict[str, Any]) -> dict[str, str]:
    """The environment, with the `_FILE` settings replaced by values: the files are not here."""
    made = {"API_KEY": "k", "REDIS_URL": "redis://broker", "ANTHROPIC_API_KEY": "k", "DATABASE_URL": "postgresql://d/a"}
    told = dict(service["environment"])
    for name in [name for name in told if name.endswith("_FILE")]:
        plain = name.removesuffix("_FILE")
        told[plain] = made.get(plain.removeprefix("AGENTVINE_SERVER_"), "x")
        del told[name]
    return told


def test_it_keeps_to_the_schema_of_the_specification() -> None:
    jsonschema.validate(COMPOSE, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"services": {"x": {"image": "y", "capdrop": ["ALL"]}}}, SCHEMA)


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert {"mem_limit", "cpus", "pids_limit"} <= service.keys()
    assert not service.keys() & {"privileged", "cap_add", "pid", "ipc", "devices", "userns_mode"}
    assert service.get("network_mode", "none") == "none"
    assert not any(volume.startswith(("/", ".")) for volume in service.get("volumes", [])), "nothing of the host"


def test_only_workers_have_the_options_that_a_sandbox_needs() -> None:
    for name, service in SERVICES.items():
        more = set(service["security_opt"]) - {"no-new-privileges:true"}
        wanted = {"seccomp=./seccomp-worker.json", "systempaths=unconfined", "apparmor=unconfined"}
        assert more == (wanted if name.startswith("worker-") else set()), name


def test_who_can_speak_to_whom() -> None:
    networks = {name: set(service.get("networks", [])) for name, service in SERVICES.items()}
    assert networks["database"] == {"database"}
    assert {name for name, on in networks.items() if "database" in on} == {"database", "server"}
    assert networks["broker"] == networks["keys"] == {"control"}
    assert all(networks[f"worker-{kind}"] == {"control", "egress"} for kind in TaskType)
    assert "egress" not in networks["server"]
    assert [name for name, told in COMPOSE["networks"].items() if told.get("internal")] == ["database", "control"]
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"server": ["127.0.0.1:8420:8420"]}


def test_there_is_a_worker_of_each_type_with_a_key_and_a_place_of_its_own() -> None:
    assert {name for name in SERVICES if name.startswith("worker-")} == {f"worker-{kind}" for kind in TaskType}
    for kind, service in WORKERS.items():
        mine = [f"work-{kind}:/var/lib/agentvine", f"key-{kind}:/run/agentvine:ro"]
        assert service["volumes"] == [*mine, "credentials:/credentials:ro"]
        assert f"key-{kind}:/keys/{kind}" in SERVICES["keys"]["volumes"]


@pytest.mark.parametrize("kind", TaskType)
def test_a_worker_takes_its_settings_and_its_container_holds_what_they_allow(kind: TaskType) -> None:
    service = WORKERS[kind]
    config = WorkerConfig.load(variables(service))
    assert (config.worker_type, config.slots, config.sandbox) == (kind, PROFILES[kind].slots, "bubblewrap")
    spare = 512 << 20
    assert size(service["mem_limit"]) >= config.slots * config.limits.memory_bytes + spare
    assert service["memswap_limit"] == service["mem_limit"], "or limits on memory are kept by swapping"
    assert service["pids_limit"] >= config.slots * config.limits.processes + 200
    assert int(service["stop_grace_period"].removesuffix("s")) >= config.grace_seconds + 15


def test_the_server_takes_its_settings() -> None:
    settings = ServerSettings.load({**variables(SERVICES["server"]), "AGENTVINE_SERVER_FIRST_KEY": "x"})
    assert settings.database.startswith("postgresql://")


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_can_be_run_as_it_stands_and_no_secret_is_in_its_arguments(name: str) -> None:
    project = Project("p", Path("/secrets"), COMPOSE)
    arguments = project.run(name)
    assert "--read-only=true" in arguments
    for secret in SERVICES[name].get("secrets", []):
        assert f"--volume=/secrets/{secret}:/run/secrets/{secret}:ro" in arguments
    told = SERVICES[name].get("environment", {}).keys() - {"GIT_CREDENTIALS"}  # a path
    secret_words = ("KEY", "PASSWORD", "REDIS_URL", "DATABASE_URL")
    assert not [each for each in told if any(word in each for word in secret_words) and not each.endswith("_FILE")]


def test_secrets_are_declared_used_and_made() -> None:
    declared = set(COMPOSE["secrets"])
    assert declared == {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    script = (DEPLOY / "prepare.sh").read_text()
    assert all(f"keep {secret} " in script for secret in declared)


def test_the_filter_of_system_calls_allows_what_a_box_needs_and_nothing_that_breaks_out() -> None:
    rules = json.loads((DEPLOY / "seccomp-worker.json").read_text())
    assert rules["defaultAction"] == "SCMP_ACT_ERRNO"
    plain = {
        name
        for rule in rules["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args")
        for name in rule["names"]
    }
    assert {"clone", "unshare", "mount", "umount2", "pivot_root", "sethostname", "seccomp"} <= plain
    dangerous = """
        add_key bpf chroot clone3 delete_module finit_module fsconfig fsmount fsopen init_module io_uring_setup keyctl
        kexec_load move_mount open_by_handle_at open_tree perf_event_open ptrace reboot request_key setns socket
        swapon userfaultfd
    """
    assert not plain & set(dangerous.split())
    sockets = [rule for rule in rules["syscalls"] if "socket" in rule["names"]]
    assert [rule["args"] for rule in sockets] == [[{"index": 0, "value": 38, "op": "SCMP_CMP_LT"}]]


def test_the_image_is_made_of_what_the_project_needs_to_run() -> None:
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    assert "postgres" in project["optional-dependencies"]
    recipe = (DEPLOY / "Dockerfile").read_text()
    assert "ARG BASE=python:3.13-slim" in recipe
    assert recipe.count("USER 10001:10001") == 2
    assert recipe.count("HEALTHCHECK") == 2
    ignored = (DEPLOY.parent / ".dockerignore").read_text().splitlines()
    assert "*" in ignored, "the context is an allow-list"
    assert not [line for line in ignored if line.startswith("!") and ("secret" in line or ".git" in line)]
