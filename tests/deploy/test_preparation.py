"""What happens before the first order: secrets are made, and a key for each worker type."""

import os
import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from agentvine.cli.settings import environment
from agentvine.client.admin import HTTPFrontDesk
from agentvine.domain.errors import Unauthenticated
from agentvine.domain.key import Role
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.worker_types import TaskType
from agentvine.kit.process import Completed, run
from agentvine.server.settings import ServerSettings
from agentvine.testing.http import FIRST_KEY, api, server_on
from agentvine.worker.settings import WorkerConfig
from tests.deploy.compose_file import DEPLOY, read_compose

PATH = environment()["PATH"]
SECRETS = set(read_compose()["secrets"])


async def prepare(folder: Path, more: Mapping[str, str] | None = None) -> Completed:
    argv = ["sh", str(DEPLOY / "prepare.sh"), str(folder)]
    return await run(argv, cwd=folder.parent, env={"PATH": PATH, **(more or {})}, timeout=30)


async def test_secrets_are_made_once_for_their_readers_alone(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    first = await prepare(folder, {"ANTHROPIC_API_KEY": "sk-ant-one"})
    assert first.exit_code == 0, first.stderr
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert made.keys() == SECRETS
    assert not [value for value in made.values() if value.strip() in first.stdout + first.stderr]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        found = path.stat()
        reader = 999 if path.name in {"database_password", "broker_conf"} else 10001
        expected = (reader, 0o600) if os.geteuid() == 0 else (os.geteuid(), 0o644)
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == expected, path.name
    again = await prepare(folder, {"ANTHROPIC_API_KEY": "sk-ant-two"})
    assert again.exit_code == 0
    assert {path.name: path.read_text() for path in folder.iterdir()} == made
    await prepare(tmp_path / "others", {"ANTHROPIC_API_KEY": "sk-ant-one"})
    others = {path.name: path.read_text() for path in (tmp_path / "others").iterdir()}
    assert [name for name in made if made[name] == others[name]] == ["anthropic_api_key"]


async def test_what_is_made_is_what_the_settings_and_the_services_take(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    await prepare(folder, {"ANTHROPIC_API_KEY": "sk-ant-one"})
    server = ServerSettings.load(
        {
            "AGENTVINE_SERVER_DATABASE_URL_FILE": str(folder / "database_url"),
            "AGENTVINE_SERVER_REDIS_URL_FILE": str(folder / "redis_url"),
        }
    )
    password = (folder / "database_password").read_text()
    assert server.database == f"postgresql://agentvine:{password}@database:5432/agentvine"
    broker = (folder / "broker_conf").read_text().split()
    assert server.redis_url == f"redis://:{broker[1]}@broker:6379/0"
    assert (broker[0], len(broker[1]), len(password)) == ("requirepass", 40, 40)
    worker = {"WORKER_NAME": "x", "WORKER_TYPE": "docs", "API_URL": "http://server:8420", "API_KEY": "k"}
    config = WorkerConfig.load(
        {
            **worker,
            "REDIS_URL_FILE": str(folder / "redis_url"),
            "ANTHROPIC_API_KEY_FILE": str(folder / "anthropic_api_key"),
        }
    )
    assert config.model_access.api_key == "sk-ant-one"
    key = (folder / "admin_key").read_text().strip()
    assert re.fullmatch(r"av_[0-9a-z]{10}_[0-9A-Za-z_-]{43}", key)
    async with server_on(tmp_path / "data", first_key=key) as url, api(url, key) as client:
        assert (await HTTPFrontDesk(client).who_am_i()).key.scope.role is Role.ADMIN


async def test_without_a_key_of_the_model_it_says_so_and_can_be_run_again(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    refused = await prepare(folder)
    assert refused.exit_code == 1
    assert "ANTHROPIC_API_KEY" in refused.stderr
    kept = (folder / "admin_key").read_text()
    assert (await prepare(folder, {"ANTHROPIC_API_KEY": "sk-ant-one"})).exit_code == 0
    assert (folder / "admin_key").read_text() == kept


async def make_keys(url: str, folder: Path) -> Completed:
    (folder / "admin").write_text(FIRST_KEY)
    argv = [sys.executable, "-I", str(DEPLOY / "worker_keys.py"), url, str(folder / "admin"), str(folder / "keys")]
    return await run(argv, cwd=folder, env={"PATH": PATH}, timeout=30)


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """A folder with an empty one for each type, as the volumes are."""
    for kind in TaskType:
        (tmp_path / "keys" / kind).mkdir(parents=True)
    return tmp_path


async def test_each_type_gets_a_key_for_itself_alone_and_one_can_run_errands(places: Path) -> None:
    async with server_on(places / "data") as url:
        done = await make_keys(url, places)
        assert done.exit_code == 0, done.stderr
        for kind in TaskType:
            file = places / "keys" / kind / "key"
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert list(file.parent.iterdir()) == [file]
            assert file.read_text().strip() not in done.stdout + done.stderr
            async with api(url, file.read_text().strip()) as client:
                scope = (await HTTPFrontDesk(client).who_am_i()).key.scope
            assert (scope.role, scope.worker_types) == (Role.WORKER, () if kind is TaskType.DOCS else (kind,))
            assert not scope.repositories and scope.permission_level is PermissionLevel.AUTONOMOUS


async def test_keys_that_are_good_stay_and_others_are_replaced(places: Path) -> None:
    bugfix, docs = (places / "keys" / kind / "key" for kind in (TaskType.BUGFIX, TaskType.DOCS))
    async with server_on(places / "data") as url, api(url, FIRST_KEY) as client:
        await make_keys(url, places)
        kept, ended = bugfix.read_text(), docs.read_text()
        async with api(url, ended.strip()) as old:
            mine = (await HTTPFrontDesk(old).who_am_i()).key.id
        await HTTPFrontDesk(client).revoke_key(mine)
        done = await make_keys(url, places)
        assert done.stdout.splitlines() == [
            f"{kind}: {'a key was made' if kind is TaskType.DOCS else 'its key is good'}" for kind in sorted(TaskType)
        ]
        assert (bugfix.read_text(), docs.read_text() != ended) == (kept, True)
        async with api(url, ended.strip()) as old:
            with pytest.raises(Unauthenticated):
                await HTTPFrontDesk(old).who_am_i()


async def test_no_key_is_lost_when_the_server_is_not_there(places: Path) -> None:
    file = places / "keys" / TaskType.DOCS / "key"
    file.write_text("av_kept")
    done = await make_keys("http://127.0.0.1:9", places)
    assert done.exit_code == 1
    assert file.read_text() == "av_kept"
