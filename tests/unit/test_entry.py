"""What the starting commands make of their options."""

from pathlib import Path

import pytest
import typer

from agentvine.domain.worker_types import TaskType
from agentvine.entry import SERVER_FLAGS, WORKER_FLAGS, handed_on, workers_wanted
from agentvine.server.settings import ServerSettings
from agentvine.up import CannotStart, for_server
from agentvine.worker.settings import WorkerConfig

WITHOUT_A_FLAG = {"listen_fd", "pulse_fd", "share_port", "first_key"}
WITHOUT_A_FLAG |= {"anthropic_api_key", "anthropic_base_url", "anthropic_model"}
"""Secrets, and what one process hands to another."""


def test_workers_are_counted_by_type() -> None:
    assert workers_wanted("feature=1, bugfix=2") == {TaskType.FEATURE: 1, TaskType.BUGFIX: 2}
    assert workers_wanted("docs=0,") == {TaskType.DOCS: 0}
    assert workers_wanted("") == {}


@pytest.mark.parametrize(
    "text", ["dance=1", "feature", "feature=", "feature=x", "feature=-1", "feature=1001", "feature=" + "9" * 5000, "=1"]
)
def test_a_mistyped_count_is_a_usage_error_that_says_what_to_write(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"the types are feature|=NUMBER"):
        workers_wanted(text)


def test_what_is_started_gets_no_more_of_the_environment_than_it_needs() -> None:
    needed = {"PATH": "/bin", "HOME": "/h", "ANTHROPIC_API_KEY": "k", "https_proxy": "p", "GIT_SSH_COMMAND": "s"}
    others = {
        "AGENTVINE_API_KEY": "secret",
        "API_KEY": "secret",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "WORKER_TYPE": "docs",
    }
    assert handed_on({**needed, **others}) == needed


def test_every_flag_is_a_setting() -> None:
    assert {flag.setting for flag in SERVER_FLAGS} <= set(ServerSettings.model_fields)
    assert {flag.setting for flag in WORKER_FLAGS} <= set(WorkerConfig.model_fields)
    assert not {flag.setting for flag in (*SERVER_FLAGS, *WORKER_FLAGS)} & WITHOUT_A_FLAG


def test_settings_of_the_server_reach_the_server_of_up(tmp_path: Path) -> None:
    around = {"AGENTVINE_SERVER_POLICY": "policy.toml", "AGENTVINE_SERVER_LEASE_SECONDS": "20", "OTHER": "x"}
    wanted = {"AGENTVINE_SERVER_POLICY": str(tmp_path / "policy.toml"), "AGENTVINE_SERVER_LEASE_SECONDS": "20"}
    assert for_server(around, tmp_path) == wanted
    assert for_server({"AGENTVINE_SERVER_POLICY": "/etc/policy.toml"}, tmp_path) == {
        "AGENTVINE_SERVER_POLICY": "/etc/policy.toml"
    }


@pytest.mark.parametrize("name", ["PORT", "SHARE_PORT", "PULSE_FD", "DATA_DIR", "DATABASE_URL", "REDIS_URL"])
def test_what_up_decides_itself_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=f"AGENTVINE_SERVER_{name} is not for `agentvine up`: "):
        for_server({f"AGENTVINE_SERVER_{name}": "x"}, tmp_path)
