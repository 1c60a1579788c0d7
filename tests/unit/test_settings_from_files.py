"""Settings whose value is in a file: what is read, what is refused, and that no secret is told."""

from pathlib import Path

import pytest

from agentvine.kit.configuration import ConfigurationError, Settings
from agentvine.server.settings import ServerSettings
from agentvine.worker.settings import WorkerConfig

GOOD = {"WORKER_NAME": "bugfix-1", "WORKER_TYPE": "bugfix", "API_URL": "http://127.0.0.1:8420"}


def file(folder: Path, content: str | bytes) -> str:
    path = folder / "secret"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def mistakes(environment: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        WorkerConfig.load(environment)
    return caught.value.mistakes


def test_what_has_to_be_json_and_is_not_is_a_mistake_with_an_example() -> None:
    with pytest.raises(ConfigurationError) as caught:
        ServerSettings.load({"AGENTVINE_SERVER_CREDENTIAL_COMMANDS": "forge get"})
    (mistake,) = caught.value.mistakes
    assert mistake.startswith("AGENTVINE_SERVER_CREDENTIAL_COMMANDS: it is no JSON; write, for example, ")


@pytest.mark.parametrize("content", ["av_secret", "av_secret\n", "av_secret\r\n"])
def test_a_secret_may_be_in_a_file_with_or_without_an_end_of_line(tmp_path: Path, content: str) -> None:
    config = WorkerConfig.load({**GOOD, "API_KEY_FILE": file(tmp_path, content)})
    assert config.api_key.get_secret_value() == "av_secret"


@pytest.mark.parametrize("settings", [WorkerConfig, ServerSettings])
def test_every_setting_has_a_file_form(settings: type[Settings], tmp_path: Path) -> None:
    """A file that is not there is a mistake of exactly that setting."""
    for name in settings.model_fields:
        if f"{name}_file" in settings.model_fields:  # which reads it in a way of its own
            continue
        variable = settings.variable(name)
        others = {other: value for other, value in {"API_KEY": "k", **GOOD}.items() if other != variable}
        with pytest.raises(ConfigurationError) as caught:
            settings.load({**others, f"{variable}_FILE": str(tmp_path / "missing")})
        what = f"{variable}_FILE: {tmp_path}/missing cannot be read: No such file or directory"
        assert caught.value.mistakes == (what,)


def test_lists_and_prefixed_settings_are_read_as_from_a_variable(tmp_path: Path) -> None:
    environment = {**GOOD, "API_KEY": "k", "QUEUE_NAMES_FILE": file(tmp_path, "high_priority,default\n")}
    assert WorkerConfig.load(environment).queue_names == ("high_priority", "default")
    url = "postgresql://agentvine:hidden@db/agentvine"
    server = ServerSettings.load({"AGENTVINE_SERVER_DATABASE_URL_FILE": file(tmp_path, url)})
    assert server.database == url
    assert "hidden" not in repr(server)


def test_an_empty_file_counts_as_unset_like_an_empty_variable(tmp_path: Path) -> None:
    empty = file(tmp_path, " \n")
    assert WorkerConfig.load({**GOOD, "API_KEY": "k", "REDIS_URL_FILE": empty}).redis_url is None
    assert WorkerConfig.load({**GOOD, "API_KEY": "k", "REDIS_URL_FILE": ""}).redis_url is None
    assert "API_KEY: it is not set" in mistakes({**GOOD, "API_KEY_FILE": empty})[0]


def test_a_variable_and_its_file_together_are_a_mistake(tmp_path: Path) -> None:
    both = {**GOOD, "API_KEY": "k", "API_KEY_FILE": file(tmp_path, "other")}
    assert mistakes(both) == ("API_KEY_FILE: API_KEY is set as well; keep one of the two",)
    assert WorkerConfig.load({**both, "API_KEY": ""}).api_key.get_secret_value() == "other"


def test_a_flag_goes_before_the_file_which_is_then_not_looked_at(tmp_path: Path) -> None:
    environment = {**GOOD, "API_KEY": "k", "WORKER_ID_FILE": str(tmp_path / "missing")}
    assert WorkerConfig.load(environment, worker_id="wrk_one").worker_id == "wrk_one"


def test_what_cannot_be_read_is_told_once_beside_all_other_mistakes(tmp_path: Path) -> None:
    found = mistakes({"WORKER_NAME": "x", "WORKER_TYPE": "baker", "API_URL_FILE": str(tmp_path), "API_KEY": "k"})
    assert [mistake.partition(":")[0] for mistake in found] == ["API_URL_FILE", "WORKER_TYPE"]
    assert found[0].endswith(f"{tmp_path} cannot be read: Is a directory")


@pytest.mark.parametrize(("content", "why"), [(b"\xff\xfe", "is not UTF-8 text"), (b"x" * 65_537, "is larger than")])
def test_what_is_no_setting_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    assert why in mistakes({**GOOD, "API_KEY_FILE": file(tmp_path, content)})[0]


def test_a_wrong_value_is_told_without_the_value(tmp_path: Path) -> None:
    found = mistakes({**GOOD, "API_KEY_FILE": file(tmp_path, "hidden secret")})
    assert found[0].startswith("API_KEY: ")
    assert "hidden" not in str(found)
