"""Repositories as an operator tells of them on the command line, and the real worker that gets their credentials."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from agentvine.domain.errors import Unavailable
from agentvine.domain.forge import ForgeKind
from agentvine.domain.git_credential import GitCredential
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.repository_settings import RepositorySettings, address_of
from agentvine.domain.task import NewTask
from agentvine.domain.work_order import OrderStatus, WorkOrder
from agentvine.kit.clock import SystemClock
from agentvine.kit.configuration import ConfigurationError
from agentvine.kit.sealed import make_key, read_key
from agentvine.kit.shutdown import Shutdown
from agentvine.server.app import create_app
from agentvine.server.main import serve
from agentvine.server.settings import ServerSettings
from agentvine.testing.cast import REPOSITORY, a_task, a_worker, registration
from agentvine.testing.databases import sqlite_database
from agentvine.testing.eventually import eventually
from agentvine.testing.git_repository import GitRepository
from agentvine.testing.git_server import GitServer
from agentvine.testing.http import http_site
from agentvine.testing.site import WORKER, in_process_site
from agentvine.wire import administration as adm
from agentvine.wire import messages as m
from agentvine.wire import routes
from agentvine.worker.executor import make_executor
from agentvine.worker.forge.choice import Forges
from agentvine.worker.forge.sites import KNOWN
from agentvine.worker.main import run_worker
from agentvine.worker.settings import WorkerConfig
from tests.integration.town import REPOSITORY as TOWN_REPOSITORY
from tests.integration.town import Town, running_town

TOKEN, MADE = "kept-token-0123456789", "made-token-0123456789"
COMMANDS = {
    "forge": (sys.executable, "-c", f"print('username=robot\\npassword={MADE}')"),
    "broken": ("sh", "-c", f"echo {MADE}; exit 3"),
}


@asynccontextmanager
async def working(town: Town) -> AsyncIterator[None]:
    """A real worker, which nobody has given a credential."""
    key = await town.desk.create_key(adm.NewKey(name="real", scope=WORKER))
    values = {
        "worker_name": "real",
        "worker_type": "docs",
        "api_url": town.url,
        "api_key": key.secret,
        "workspace_dir": town.where / "worker",
        "poll_interval": 1.0,
    }
    shutdown = Shutdown()
    life = asyncio.create_task(run_worker(WorkerConfig.model_validate(values), make_executor, shutdown))
    try:
        yield
    finally:
        shutdown.stop()
        await life


async def outcome(town: Town, url: str) -> WorkOrder:
    """How an order ends that names a branch which is not there: as that, if the worker could look."""
    asked = NewTask.model_validate({"type": "docs", "title": "look", "repository": url, "branch": "not-there"})
    task = await town.desk.submit(asked)

    async def over() -> WorkOrder | None:
        order = await town.desk.work_order(task.work_order_id)
        return order if order.status is OrderStatus.FAILED else None

    found = await eventually(over)
    assert found is not None
    return found


def reason(order: WorkOrder) -> str:
    assert order.failure is not None
    assert TOKEN not in order.failure.detail
    assert MADE not in order.failure.detail
    return order.failure.reason.value


async def test_a_worker_fetches_with_what_the_server_keeps_while_it_keeps_it(tmp_path: Path) -> None:
    made = await GitRepository.create(tmp_path / "made", {"a.txt": "a"})
    await made.bare_copy(tmp_path / "remotes" / "shop.git")
    async with (
        GitServer(tmp_path / "remotes", password=TOKEN) as git,
        running_town(tmp_path, credential_commands=COMMANDS) as town,
        working(town),
    ):
        url = git.url("shop.git")
        assert reason(await outcome(town, url)) == "repository_auth_failed"
        added = await town.ok("repo", "add", url, "--token", "--username", "robot", stdin=f"{TOKEN}\n".encode())
        assert TOKEN not in added
        assert reason(await outcome(town, url.removesuffix(".git"))) == "branch_not_found"
        assert reason(await outcome(town, url)) == "branch_not_found"
        git.password = MADE
        await town.ok("repo", "set", "shop", "--credential-command", "forge")
        assert reason(await outcome(town, url)) == "branch_not_found"
        await town.ok("repo", "set", "shop", "--no-credential")
        assert reason(await outcome(town, url)) == "repository_auth_failed"
        entries = (await town.desk.audit(limit=200)).items
        kinds = [one.data["kind"] for one in entries if one.kind.value == "credential.handed_out"]
        assert kinds == ["command forge", "token", "token"]
        for place in (tmp_path / "data", tmp_path / "worker"):
            for path in place.rglob("*"):
                if path.is_file():
                    content = path.read_bytes()
                    assert TOKEN.encode() not in content, path
                    assert MADE.encode() not in content, path


async def test_repositories_on_the_command_line(tmp_path: Path) -> None:
    async with running_town(tmp_path) as town:
        url = "https://git.example/acme/shop.git"
        limits = ["--permission", "supervised", "--concurrency", "2", "--budget-per-day", "20", "--branch", "trunk"]
        lists = [
            "--protect",
            "infra/**",
            "--protect",
            ".github",
            "--test",
            "make test",
            "--host",
            "packages.example:443",
        ]
        people = ["--label", "agentvine", "--user", "kim", "--intake-type", "bugfix", "--no-follow-up", "--webhook"]
        saved = await town.json("repo", "add", url, *limits, *lists, *people)
        assert isinstance(saved, dict)
        kept = adm.SavedRepository.model_validate(saved)
        secret = kept.webhook_secret
        assert secret
        there = saved["repository"]
        assert isinstance(there, dict)
        there |= {"trouble": "nobody looks at its forge: no worker is there"}
        assert kept.repository.settings.protected == ("infra/**", ".github")
        assert kept.repository.settings.intake.users == ("kim",)
        assert not kept.repository.settings.follow_up.enabled
        again = await town.refused(
            "repo", "add", url.upper().replace("HTTPS", "https").replace("ACME/SHOP.GIT", "acme/shop")
        )
        assert "is known already" in again
        for typed in (
            "shop",
            "acme/shop",
            "https://GIT.example/acme/shop/",
            kept.repository.id,
            kept.repository.id[-8:],
        ):
            assert await town.json("repo", "show", typed) == there, typed
        shown = await town.ok("repo", "show", "shop")
        for part in (
            "supervised",
            "infra/**, .github",
            "make test",
            "$0 of $20.00",
            "a secret is kept",
            "kim",
            "bugfix",
        ):
            assert part in shown, part
        assert secret not in shown
        assert url in await town.ok("repo", "list")
        assert await town.json("repo", "list") == [there]
        await town.ok("repo", "set", "shop", "--clear", "protect", "--clear", "permission", "--reviewer", "lee")
        settings = (await town.desk.repository(kept.repository.id)).settings
        assert (settings.protected, settings.permission_level, settings.follow_up.users) == ((), None, ("lee",))
        assert settings.concurrency == 2
        wrong = await town.refused("repo", "set", "shop", "--concurrency", "0", "--user", "-x y")
        assert "--concurrency: " in wrong
        assert "--user number 1: write a user's name" in wrong and "or more" in wrong and "pattern" not in wrong
        assert "nothing to change" in await town.refused("repo", "set", "shop")
        assert "repo list" in await town.refused("repo", "show", "nowhere")
        assert "--clear" in await town.refused("repo", "set", "shop", "--clear", "nonsense", code=2)
        both = ("--clear", "budget-per-day", "--budget-per-day", "3")
        assert "either --budget-per-day" in await town.refused("repo", "set", "shop", *both, code=2)
        assert "write a number" in await town.refused("repo", "set", "shop", "--budget-per-day", "nan", code=2)
        assert "--no-credential does that" in await town.refused("repo", "set", "shop", "--clear", "token", code=2)
        assert (await town.desk.repository(kept.repository.id)).settings.budget_per_day_usd == 20
        assert "such a credential" in await town.refused("repo", "set", "shop", "--token")
        submitted = await town.ok("submit", "--type", "docs", "--repo", f"{url}/", "--title", "t")
        assert (await town.desk.task(submitted.split()[0])).task.asked.branch == "trunk"
        assert url in await town.ok("repo", "remove", "shop")
        assert await town.json("repo", "list") == []


async def test_a_command_that_gives_nothing_is_told_without_what_it_said(tmp_path: Path) -> None:
    async with running_town(tmp_path, credential_commands=COMMANDS) as town:
        await town.json("repo", "add", TOWN_REPOSITORY, "--credential-command", "broken")
        await town.submitted()
        claimed = await town.working()
        with pytest.raises(Unavailable, match="it ended with 3") as refused:
            await town.plane.credential(claimed.order.id, m.Held(token=claimed.lease.token))
        assert MADE not in refused.value.message
        assert (tmp_path / "data" / "secrets.key").stat().st_mode & 0o777 == 0o600


async def test_a_key_that_is_gone_is_told_and_mended_by_another_token(tmp_path: Path) -> None:
    url = sqlite_database(tmp_path)
    async with in_process_site(url, tmp_path) as site:
        desk = await site.front_desk()
        await desk.add_repository(new_repository())
        await desk.submit(a_task())
    async with in_process_site(url, tmp_path) as site:  # with another key
        desk, worker = await site.front_desk(), await a_worker(site)
        claimed = await worker.take_and_start()
        held = m.Held(token=claimed.lease.token)
        with pytest.raises(Unavailable, match="put back the key, or set it anew"):
            await worker.plane.credential(claimed.order.id, held)
        there = (await desk.repositories()).items[0]
        await desk.change_repository(there.id, adm.RepositoryChanges(credential=new_repository().credential))
        assert await worker.plane.credential(claimed.order.id, held) is not None
        other = await desk.add_repository(new_repository("https://git.example/team/other"))
        swap = "UPDATE repositories SET secret = (SELECT secret FROM repositories WHERE id = :other) WHERE id = :id"
        await site.database.write(lambda unit: unit.run(swap, id=there.id, other=other.repository.id))
        with pytest.raises(Unavailable, match="sealed for another"):
            await worker.plane.credential(claimed.order.id, held)


async def test_an_order_that_came_while_the_level_was_said_is_lowered_when_it_is_claimed(
    database_url: str, tmp_path: Path
) -> None:
    async with in_process_site(database_url, tmp_path) as site:
        desk, worker = await site.front_desk(), await a_worker(site)
        there = (await desk.add_repository(new_repository())).repository
        task = await desk.submit(a_task())
        said = there.settings.model_copy(update={"permission_level": PermissionLevel.HUMAN_REQUIRED})
        slipped = "UPDATE repositories SET settings = :said WHERE id = :id"  # as if it had been submitted just before
        await site.database.write(lambda unit: unit.run(slipped, id=there.id, said=said.model_dump_json()))
        assert (await desk.task(task.id)).task.permission_level is PermissionLevel.AUTONOMOUS
        claimed = await worker.take()
        assert claimed.order.permission_level is claimed.task.permission_level is PermissionLevel.HUMAN_REQUIRED


def new_repository(url: str = REPOSITORY) -> adm.NewRepository:
    settings = RepositorySettings(repository=url)
    return adm.NewRepository.model_validate({"settings": settings, "credential": {"token": TOKEN}})


async def test_no_secret_is_sent_in_the_clear(tmp_path: Path) -> None:
    async with http_site(sqlite_database(tmp_path), tmp_path) as site:
        desk = await site.front_desk()
        await desk.add_repository(new_repository())
        await desk.submit(a_task())
        secret = await site.site.secret(WORKER)
        headers = {"Authorization": f"Bearer {secret}"}
        async with httpx.AsyncClient(base_url=site.url, headers=headers, timeout=60) as http:
            registered = await http.post(routes.REGISTER.url(), json=registration("wrk_far").model_dump(mode="json"))
            headers[routes.SESSION_HEADER] = registered.json()["session"]
            asked = m.ClaimRequest(worker_id="wrk_far", execution_id="exe_" + "1" * 26)
            answer = await http.post(routes.CLAIM.url(), json=asked.model_dump(mode="json"), headers=headers)
            claimed = m.Claimed.model_validate_json(answer.content)
        path = routes.HAND_OUT.url(work_order_id=claimed.order.id)
        open_ = replace(site.services, credentials_over_http=True)
        for services, peer, scheme, forwarded, good in (
            (site.services, "127.0.0.1", "http", None, True),
            (site.services, "::1", "http", "https", True),
            (site.services, "192.0.2.7", "https", None, True),
            (site.services, "192.0.2.7", "http", None, False),
            (site.services, "192.0.2.7", "http", "https", False),
            (site.services, "127.0.0.1", "http", "http", False),
            (site.services, "127.0.0.1", "http", "http, https", False),
            (open_, "192.0.2.7", "http", None, True),
        ):
            transport = httpx.ASGITransport(create_app(services), client=(peer, 4711))
            sent = headers | ({"X-Forwarded-Proto": forwarded} if forwarded else {})
            async with httpx.AsyncClient(transport=transport, base_url=f"{scheme}://server", headers=sent) as http:
                answer = await http.post(path, json={"token": claimed.lease.token})
            assert (answer.status_code == 200) == good, (peer, scheme, forwarded)
            assert (TOKEN in answer.text) == good
            if good:
                assert answer.headers["Cache-Control"] == "no-store"
            else:
                assert answer.status_code == 403
                assert "AGENTVINE_SERVER_CREDENTIALS_OVER_HTTP" in answer.text


async def test_a_worker_takes_a_forge_for_what_the_server_was_told_it_is() -> None:
    class Kept:
        async def of(self, url: str) -> GitCredential | None:
            return GitCredential.model_validate({"pattern": url, "secret": TOKEN})

    forges = Forges(KNOWN, Kept(), SystemClock())
    unknown, known = "http://git.example:3000/acme/shop.git", "https://github.com/acme/shop"
    assert await forges.lookout(unknown) is None
    forges.know(unknown, ForgeKind.GITEA)
    assert (await forges.of(unknown)).opens_pull_requests
    assert await forges.lookout(unknown.removesuffix(".git")) is not None
    assert await forges.lookout("http://git.example:3000/acme/other") is None
    forges.know(unknown, None)
    assert await forges.lookout(unknown) is None
    assert await forges.lookout(known) is not None
    forges.know(known, ForgeKind.NONE)
    assert not (await forges.of(known)).opens_pull_requests


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://Git.Example/acme/shop.git", "https://git.example:443/acme/shop/"),
        ("git@git.example:acme/shop.git", "ssh://git@GIT.example:22/acme/shop"),
        ("file:///srv/shop/", "file:///srv//shop"),
        ("git://Git.Example/shop.git", "git://git.example/shop.git"),
    ],
)
def test_two_spellings_are_one_repository(one: str, other: str) -> None:
    assert address_of(one) == address_of(other)
    for different in (one.replace("shop", "shops"), one.replace("shop", "Shop")):
        assert address_of(different) != address_of(one)


async def test_the_key_itself_is_no_name_of_its_file(tmp_path: Path) -> None:
    told = {"AGENTVINE_SERVER_DATA_DIR": str(tmp_path / "data"), "AGENTVINE_SERVER_PORT": "0"}
    made = tmp_path / "made.key"
    make_key(made)
    with pytest.raises(ConfigurationError) as caught:
        await serve(ServerSettings.load({**told, "AGENTVINE_SERVER_SECRETS_KEY": read_key(made)}), Shutdown())
    assert "name that file" in caught.value.mistakes[0]
    assert read_key(made) not in caught.value.mistakes[0]
