"""deploy/compose.yaml, read as Compose reads it, and what `docker run` would have to be told to do the same.

A key that is not known here is refused: a test with containers then cannot pass without an option that the file has.
"""

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

DEPLOY = Path(__file__).parents[2] / "deploy"
_VARIABLE = re.compile(r"\$\{([A-Z_]+):-([^}]*)\}")
_HEALTH = {"interval": "interval", "timeout": "timeout", "retries": "retries", "start_period": "start-period"}


def read_compose(variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file with its variables filled in; they have to have a default, which also stands for an empty one."""
    given = variables or {}

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(each) for key, each in value.items()}
        if isinstance(value, list):
            return [filled(each) for each in value]
        if isinstance(value, str):
            text = _VARIABLE.sub(lambda found: given.get(found[1]) or found[2], value)
            assert "${" not in text, f"a variable without a default: {value}"
            return text
        return value

    whole: dict[str, Any] = filled(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))
    return whole


@dataclass(frozen=True, slots=True)
class Project:
    """The services, as containers of a project called `name` whose secrets are in the folder `secrets`."""

    name: str
    secrets: Path
    whole: Mapping[str, Any]

    def service(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.whole["services"][name]
        return found

    def network(self, name: str) -> list[str]:
        """Arguments of `docker network create`."""
        told = self.whole["networks"][name]
        assert not told.keys() - {"internal", "driver_opts"}, told
        options = [f"--opt={key}={value}" for key, value in told.get("driver_opts", {}).items()]
        return [*(["--internal"] if told.get("internal") else []), *options, f"{self.name}_{name}"]

    def run(self, name: str) -> list[str]:
        """Arguments of `docker run --detach` for a service; it is on its first network only."""
        service = self.service(name)
        options: list[str] = [f"--name={self.name}-{name}"]
        if "networks" in service:
            options += [f"--network-alias={name}", f"--network={self.name}_{service['networks'][0]}"]
        for key, value in service.items():
            options += _OPTIONS[key](value)
        for secret in service.get("secrets", []):
            source = self.secrets / Path(self.whole["secrets"][secret]["file"]).name
            options.append(f"--volume={source}:/run/secrets/{secret}:ro")
        for volume in service.get("volumes", []):
            source, _, rest = volume.partition(":")
            assert source in self.whole["volumes"], volume
            options.append(f"--volume={self.name}_{source}:{rest}")
        program, *words = service.get("entrypoint", [None])
        if program is not None:
            options.append(f"--entrypoint={program}")
        return [*options, service["image"], *words, *service.get("command", [])]

    def further_networks(self, name: str) -> list[str]:
        """What the container has to be connected to besides."""
        return [f"{self.name}_{network}" for network in self.service(name)["networks"][1:]]


def _one(option: str) -> Callable[[Any], list[str]]:
    return lambda value: [f"--{option}={str(value).lower() if isinstance(value, bool) else value}"]


def _each(option: str) -> Callable[[Any], list[str]]:
    return lambda values: [f"--{option}={value}" for value in values]


def _nothing(_: object) -> list[str]:
    return []


def _security(values: list[str]) -> list[str]:
    prefix = "seccomp=./"
    full = [f"seccomp={DEPLOY / value.removeprefix(prefix)}" if value.startswith(prefix) else value for value in values]
    return [f"--security-opt={value}" for value in full]


def _environment(values: Mapping[str, str]) -> list[str]:
    return [f"--env={name}={value}" for name, value in values.items()]


def _logging(value: Mapping[str, Any]) -> list[str]:
    options = [f"--log-opt={name}={setting}" for name, setting in value["options"].items()]
    return [f"--log-driver={value['driver']}", *options]


def _stop_after(value: str) -> list[str]:
    assert value.endswith("s"), value
    return [f"--stop-timeout={value.removesuffix('s')}"]


def _health(value: Mapping[str, Any]) -> list[str]:
    if value.get("disable"):
        return ["--no-healthcheck"]
    kind, *words = value["test"]
    command = words[0] if kind == "CMD-SHELL" else shlex.join(words)
    assert not value.keys() - {"test", *_HEALTH}, value
    times = [f"--health-{option}={value[key]}" for key, option in _HEALTH.items() if key in value]
    return [f"--health-cmd={command}", *times]


_OPTIONS: dict[str, Callable[[Any], list[str]]] = {
    "cap_drop": _each("cap-drop"),
    "cpus": _one("cpus"),
    "environment": _environment,
    "healthcheck": _health,
    "init": _one("init"),
    "logging": _logging,
    "mem_limit": _one("memory"),
    "memswap_limit": _one("memory-swap"),
    "network_mode": _one("network"),
    "pids_limit": _one("pids-limit"),
    "ports": _each("publish"),
    "read_only": _one("read-only"),
    "restart": _one("restart"),
    "security_opt": _security,
    "shm_size": _one("shm-size"),
    "stop_grace_period": _stop_after,
    "tmpfs": _each("tmpfs"),
    "user": _one("user"),
    # What `run` itself sees to, or its caller: the images, and the order in which things start.
    **dict.fromkeys(
        ("build", "command", "depends_on", "entrypoint", "image", "networks", "profiles", "secrets", "volumes"),
        _nothing,
    ),
}
