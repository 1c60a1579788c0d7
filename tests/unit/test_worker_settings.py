"""A worker's configuration: what is read, what is refused, and how that is said."""

from pathlib import Path

import pytest

from agentvine.domain.worker_types import PROFILES, TaskType
from agentvine.kit.configuration import ConfigurationError
from agentvine.worker.settings import WorkerConfig

GOOD = {
    "WORKER_NAME": "bugfix-1",
    "WORKER_TYPE": "bugfix",
    "API_URL": "http://127.0.0.1:8420",
    "API_KEY": "av_0123456789_secret",
}


def mistakes(**changed: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        WorkerConfig.load({**GOOD, **changed})
    return caught.value.mistakes


def test_four_settings_are_enough_and_the_others_have_their_defaults() -> None:
    config = WorkerConfig.load(GOOD)
    assert (config.worker_name, config.worker_type, config.api_url) == (
        "bugfix-1",
        TaskType.BUGFIX,
        "http://127.0.0.1:8420",
    )
    assert config.redis_url is None
    assert (config.poll_interval, config.heartbeat_interval, config.task_timeout) == (10, 30, 3600)
    assert config.queue_names == ("high_priority", "default", "low_priority")
    assert (config.specializations, config.tools) == ((), ())
    assert (config.workspace_dir, config.cleanup_workspace) == (Path("/tmp/agentvine"), True)
    assert (config.grace_seconds, config.max_repairs) == (300, 3)


@pytest.mark.parametrize("type", TaskType)
def test_slots_are_those_of_the_type_unless_told_otherwise(type: TaskType) -> None:
    assert WorkerConfig.load({**GOOD, "WORKER_TYPE": type}).slots == PROFILES[type].slots
    assert WorkerConfig.load({**GOOD, "WORKER_TYPE": type, "MAX_CONCURRENT_TASKS": "7"}).slots == 7


def test_the_server_is_told_the_tools_of_the_profile_unless_others_are_named() -> None:
    assert WorkerConfig.load(GOOD).told_the_server.tools == PROFILES[TaskType.BUGFIX].tools
    narrowed = WorkerConfig.load({**GOOD, "TOOLS": "test_write"})
    assert narrowed.told_the_server.tools == ("test_write",)
    with pytest.raises(ConfigurationError, match="there is no tool 'one'; the tools are code_write, "):
        WorkerConfig.load({**GOOD, "TOOLS": "test_write,one"})


@pytest.mark.parametrize("text", ["python,fastapi", " python , fastapi,", '["python", "fastapi"]'])
def test_lists_are_separated_by_commas_or_json(text: str) -> None:
    assert WorkerConfig.load({**GOOD, "SPECIALIZATIONS": text}).specializations == ("python", "fastapi")


def test_an_override_goes_before_the_environment_and_none_says_nothing() -> None:
    config = WorkerConfig.load(GOOD, worker_name="other", api_url=None, queue_names=("default",))
    assert (config.worker_name, config.api_url, config.queue_names) == ("other", GOOD["API_URL"], ("default",))


def test_an_empty_variable_counts_as_unset() -> None:
    assert WorkerConfig.load({**GOOD, "REDIS_URL": "", "POLL_INTERVAL": " "}).redis_url is None
    assert "API_URL: it is not set" in mistakes(API_URL="")[0]


def test_nothing_is_read_from_anywhere_else() -> None:
    with pytest.raises(ConfigurationError) as caught:
        WorkerConfig.load({"PATH": "/bin"})
    assert [mistake.partition(":")[0] for mistake in caught.value.mistakes] == [
        "WORKER_NAME",
        "WORKER_TYPE",
        "API_URL",
        "API_KEY",
    ]


def test_all_mistakes_are_told_at_once_each_with_what_to_write() -> None:
    found = mistakes(
        WORKER_TYPE="baker",
        API_URL="127.0.0.1:8420",
        API_KEY="two words",
        REDIS_URL="http://x",
        POLL_INTERVAL="nan",
        TASK_TIMEOUT="0",
        QUEUE_NAMES="default,No Queue",
        SPECIALIZATIONS='["python"',
        CLEANUP_WORKSPACE="perhaps",
        WORKER_ID="one",
    )
    assert {mistake.partition(":")[0] for mistake in found} == {
        "WORKER_TYPE",
        "API_URL",
        "API_KEY",
        "REDIS_URL",
        "POLL_INTERVAL",
        "TASK_TIMEOUT",
        "QUEUE_NAMES",
        "SPECIALIZATIONS",
        "CLEANUP_WORKSPACE",
        "WORKER_ID",
    }
    assert all("; write, for example, " in mistake for mistake in found)
    assert "(item 2)" in next(mistake for mistake in found if mistake.startswith("QUEUE_NAMES"))


@pytest.mark.parametrize("url", ["ftp://host", "http://", "nonsense", "http://host/api/v1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    assert "API_URL" in mistakes(API_URL=url)[0]


@pytest.mark.parametrize("url", ["redis://h:1/0", "rediss://h", "unix:///run/broker.sock?password=x"])
def test_every_form_of_redis_address_is_taken(url: str) -> None:
    assert WorkerConfig.load({**GOOD, "REDIS_URL": url}).redis_url == url


def test_no_secret_is_shown() -> None:
    config = WorkerConfig.load({**GOOD, "ANTHROPIC_API_KEY": "sk-ant-hidden", "REDIS_URL": "redis://:hidden@h"})
    assert "secret" not in f"{config!r} {config}".replace("SecretStr", "")
    assert "hidden" not in f"{config!r} {config}"
    assert "hidden" not in str(mistakes(API_KEY="hidden secret", REDIS_URL="hidden"))


def test_an_unknown_flag_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="COLOUR"):
        WorkerConfig.load(GOOD, colour="red")


def test_the_time_limits_become_the_agents_watchdog() -> None:
    watchdog = WorkerConfig.load({**GOOD, "AGENT_IDLE_TIMEOUT": "5", "TASK_TIMEOUT": "50"}).watchdog
    assert (watchdog.first_message, watchdog.idle, watchdog.after_result, watchdog.total) == (120, 5, 30, 50)
