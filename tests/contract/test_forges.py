"""Every forge, and none, held against the same suite and against what the forges publish about their APIs."""

import shutil
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agentvine.domain.forge import ForgeKind
from agentvine.kit.clock import SystemClock
from agentvine.kit.process import run
from agentvine.testing.forges.conformance import ForgeConformance
from agentvine.testing.forges.description import Description, in_file
from agentvine.testing.forges.gitea import GiteaServer
from agentvine.testing.forges.github import GitHubServer
from agentvine.testing.forges.gitlab import GitLabServer
from agentvine.testing.forges.played import BRANCH, DEAF, HEAD, HURRIED, OneToken, Played, a_proposal, a_review
from agentvine.testing.forges.server import UNKNOWN, Fault
from agentvine.testing.forges.stories import MARK, a_look, a_wish
from agentvine.testing.forges.watching import LookoutConformance
from agentvine.testing.forges.world import BOT, NAME, OWNER
from agentvine.worker.credentials import NoCredentials
from agentvine.worker.forge.base import ForgeRefused
from agentvine.worker.forge.choice import Forges
from agentvine.worker.forge.marking import marked
from agentvine.worker.forge.none import NoForge
from agentvine.worker.forge.sites import KNOWN, ForgeSite

ROOT = Path(__file__).parents[2]
PUBLISHED = Path(sys.prefix) / "share" / "openapi" / "api.github.com.json"


@pytest.fixture
async def github_description() -> Description:
    """GitHub's own; fetched if `make` has not done it."""
    if not PUBLISHED.exists():
        fetch = ["bash", str(ROOT / "scripts/fetch_openapi.sh"), str(PUBLISHED)]
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(Path.home())}
        done = await run(fetch, cwd=ROOT, env=env, timeout=110)
        if done.exit_code != 0:
            pytest.fail(f"GitHub's API description could not be fetched; `make test` does it first: {done.stderr}")
    return in_file(PUBLISHED)


async def test_what_cannot_be_fetched_is_told(tmp_path: Path) -> None:
    """On a machine without npm, whose registry does not answer."""
    for tool in ("bash", "mkdir", "dirname", "flock", "mktemp", "rm", "uname"):
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / tool).symlink_to(found)
    argv = [str(tmp_path / "bash"), str(ROOT / "scripts/fetch_openapi.sh"), str(tmp_path / "x/api.json")]
    nobody = {"npm_config_registry": "http://127.0.0.1:9/", "npm_config_fetch_retries": "0"}
    env = {"PATH": str(tmp_path), "HOME": str(tmp_path), **nobody}
    done = await run(argv, cwd=ROOT, env=env, timeout=100)
    assert done.exit_code == 1
    assert "can it reach its registry?" in done.stderr
    assert not (tmp_path / "x/api.json").exists()


class TestGitHub(ForgeConformance):
    @pytest.fixture
    def played(self, github_description: Description) -> Played:
        return Played(ForgeKind.GITHUB, lambda: GitHubServer(github_description))


class TestGitLab(ForgeConformance):
    @pytest.fixture
    def played(self) -> Played:
        return Played(ForgeKind.GITLAB, GitLabServer)


class TestGitea(ForgeConformance):
    @pytest.fixture
    def played(self) -> Played:
        return Played(ForgeKind.GITEA, GiteaServer)


class TestLookingAtGitHub(LookoutConformance):
    @pytest.fixture
    def played(self, github_description: Description) -> Played:
        return Played(ForgeKind.GITHUB, lambda: GitHubServer(github_description))


class TestLookingAtGitLab(LookoutConformance):
    @pytest.fixture
    def played(self) -> Played:
        return Played(ForgeKind.GITLAB, GitLabServer)


class TestLookingAtGitea(LookoutConformance):
    @pytest.fixture
    def played(self) -> Played:
        return Played(ForgeKind.GITEA, GiteaServer)


class TestNoForge:
    async def test_it_opens_and_reviews_nothing(self) -> None:
        forges = Forges(KNOWN, OneToken(), SystemClock(), HURRIED)
        for url in ("file:///srv/git/shop.git", "https://git.example.org/acme/shop", "git@git.example.org:acme/shop"):
            forge = await forges.of(url)
            assert isinstance(forge, NoForge)
            assert not forge.opens_pull_requests
            assert await forge.propose(a_proposal()) is None
            assert await forge.review(a_review()) is None


class TestGitHubAlone:
    """What the others do not have."""

    @pytest.fixture
    async def server(self, github_description: Description) -> AsyncIterator[GitHubServer]:
        async with GitHubServer(github_description) as server:
            server.world.branches[BRANCH] = HEAD
            yield server
            assert server.violations == []

    async def test_an_app_signs_in_and_keeps_its_token(self, server: GitHubServer, tmp_path: Path) -> None:
        forges = an_app(server, tmp_path)
        forge = await forges.of(f"git@127.0.0.1:{OWNER}/{NAME}.git")
        for _ in range(2):
            assert await forge.propose(a_proposal()) is not None
        assert server.given == 1
        server.token = "revoked by GitHub"
        assert await forge.propose(a_proposal(text="new words")) is not None
        assert server.given == 2

    async def test_a_token_that_is_about_to_end_is_renewed(self, server: GitHubServer, tmp_path: Path) -> None:
        server.lifetime = timedelta(minutes=4)
        forge = await an_app(server, tmp_path).of(f"{server.url}/{OWNER}/{NAME}")
        assert await forge.propose(a_proposal()) is not None
        assert server.given > 1

    @pytest.mark.parametrize("fault", [Fault.CUT_AFTER, Fault.TWICE, Fault.LIMITED, Fault.BAD_GATEWAY])
    async def test_signing_in_survives_what_everything_survives(
        self, server: GitHubServer, tmp_path: Path, fault: Fault
    ) -> None:
        for number in range(2):
            server.calls.clear()
            server.world.pulls.clear()
            server.faults = {number: fault}
            forge = await an_app(server, tmp_path).of(f"{server.url}/{OWNER}/{NAME}")
            assert await forge.propose(a_proposal()) is not None
            assert len(server.world.pulls) == 1

    async def test_an_app_that_is_not_installed(self, server: GitHubServer, tmp_path: Path) -> None:
        forge = await an_app(server, tmp_path).of(f"{server.url}/{OWNER}/gone")
        with pytest.raises(ForgeRefused, match="is not installed for acme/gone"):
            await forge.propose(a_proposal())

    async def test_a_repository_that_was_renamed_is_found(self, server: GitHubServer) -> None:
        forge = await Forges([at(server)], OneToken(), SystemClock(), HURRIED).of(f"{server.url}/{server.moved_from}")
        assert await forge.propose(a_proposal()) is not None
        assert len(server.world.pulls) == 1

    async def test_what_is_there_is_found_after_the_owner_was_renamed(self, server: GitHubServer) -> None:
        """The repository is found, but branches of the former owner are not."""
        server.moved_from = f"former/{NAME}"
        forge = await Forges([at(server)], OneToken(), SystemClock(), HURRIED).of(f"{server.url}/{server.moved_from}")
        first = await forge.propose(a_proposal())
        assert await forge.propose(a_proposal(text="new words")) == first
        assert await forge.review(a_review()) is not None
        (pull,) = server.world.pulls
        assert "new words" in pull.body
        assert len(pull.posted) == 1
        pull.state = "closed"
        with pytest.raises(ForgeRefused, match="reopen it"):
            await forge.propose(a_proposal())

    async def test_the_new_name_of_a_branch_is_told(self, server: GitHubServer) -> None:
        server.world.renamed["master"] = "main"
        forge = await Forges([at(server)], OneToken(), SystemClock(), HURRIED).of(f"{server.url}/{OWNER}/{NAME}")
        with pytest.raises(ForgeRefused, match="is called 'main' now"):
            await forge.propose(a_proposal(target="master"))

    async def test_a_plan_without_drafts(self, server: GitHubServer) -> None:
        server.world.drafts = False
        forge = await Forges([at(server)], OneToken(), SystemClock(), HURRIED).of(f"{server.url}/{OWNER}/{NAME}")
        assert await forge.propose(a_proposal(draft=True)) is not None
        assert not server.world.pulls[0].draft

    async def test_what_the_settings_of_the_forge_add(self, server: GitHubServer) -> None:
        site = at(server, labels=("agentvine", "automated"), reviewers=("noor", "team/core"), draft=True)
        forge = await Forges([site], OneToken(), SystemClock(), HURRIED).of(f"{server.url}/{OWNER}/{NAME}")
        await forge.propose(a_proposal())
        (pull,) = server.world.pulls
        assert (pull.labels, pull.reviewers) == (["agentvine", "automated"], ["mira", "noor", "team/core"])
        assert pull.draft


class TestLookingAtGitHubAlone:
    @pytest.fixture
    async def server(self, github_description: Description) -> AsyncIterator[GitHubServer]:
        async with GitHubServer(github_description) as server:
            server.world.branches[BRANCH] = HEAD
            yield server
            assert server.violations == []

    async def test_an_app_knows_its_own_words(self, server: GitHubServer, tmp_path: Path) -> None:
        """Its tokens may not ask who they are."""
        server.world.add(BRANCH)
        server.world.talk(1, "github-actions[bot]", "A remark of ours.", "calc.py", 3)
        server.world.talk(1, "mira", "Not ours.", "calc.py", 3)
        lookout = await an_app(server, tmp_path).lookout(f"{server.url}/{OWNER}/{NAME}")
        assert lookout is not None
        seen = await lookout.pull(a_look())
        assert seen is not None
        assert [one.ours for one in seen.comments] == [True, False]
        assert "GET /user" not in server.calls
        server.token = "revoked by GitHub"
        assert await lookout.pull(a_look()) == seen

    async def test_a_token_that_may_not_see_check_runs_is_shown_jobs(self, server: GitHubServer) -> None:
        server.sees_checks = False
        server.world.add(BRANCH)
        server.world.fail("test", "Run pytest", "E  assert\n")
        lookout = await Forges([at(server)], OneToken(), SystemClock(), HURRIED).lookout(f"{server.url}/{OWNER}/{NAME}")
        assert lookout is not None
        seen = await lookout.pull(a_look())
        assert seen is not None
        assert [(one.name, one.step, one.log) for one in seen.failed] == [("test", "Run pytest", "E  assert")]

    async def test_a_repository_that_was_renamed_is_found(self, server: GitHubServer) -> None:
        forges = Forges([at(server)], OneToken(), SystemClock(), HURRIED)
        lookout = await forges.lookout(f"{server.url}/{server.moved_from}")
        assert lookout is not None
        server.world.write("An area")
        await lookout.say(a_wish())
        await lookout.say(a_wish("It is done."))
        assert [MARK in one.body and "done" in one.body for one in server.world.talks] == [True]

    async def test_a_log_that_is_gone_or_led_astray(self, server: GitHubServer) -> None:
        server.world.add(BRANCH)
        server.world.fail("test", "Run pytest", "E  assert\n")
        lookout = await Forges([at(server)], OneToken(), SystemClock(), HURRIED).lookout(f"{server.url}/{OWNER}/{NAME}")
        assert lookout is not None
        for there in ("file:///etc/passwd", "ftp://127.0.0.1/x", "http://"):
            server.logs_at = there
            seen = await lookout.pull(a_look())
            assert seen is not None
            assert [(one.name, one.step, one.log) for one in seen.failed] == [("test", "Run pytest", "")]


class TestLookingAtAnOldGitea:
    """What came late to Gitea's API, and not to Forgejo's."""

    async def test_without_answers_in_threads(self) -> None:
        played = Played(ForgeKind.FORGEJO, GiteaServer)
        async with played.watched() as (server, lookout):
            assert isinstance(server, GiteaServer)
            server.answers = False
            pull = server.world.add(BRANCH)
            first = server.world.talk(1, "noor", "This is wrong.", "calc.py", 3)
            for fault in (Fault.CUT_AFTER, Fault.TWICE, Fault.BAD_GATEWAY):
                server.faults = {len(server.calls) + 7: fault}
                answer = a_wish("It is mended.", thread=server.thread_of(first))
                said = await lookout.say(answer)
                assert await lookout.say(answer) == said
                remarks = [remark for review in pull.reviews for remark in review.comments]
                assert [(one.path, one.line, MARK in one.body) for one in remarks] == [("calc.py", 3, True)]
                assert said.id == f"remark-{remarks[0].id}"
                seen = await lookout.pull(a_look())
                assert seen is not None
                assert [(one.thread, one.ours) for one in seen.comments] == [
                    (server.thread_of(first), False),
                    (server.thread_of(first), True),
                ]
                pull.reviews.clear()
            assert server.violations == []

    async def test_without_telling_who_we_are_nothing_is_said_twice(self) -> None:
        """Whose a comment is shows in what comes after an answer that was lost. Copies of others are let alone."""
        played = Played(ForgeKind.GITEA, GiteaServer)
        for fault in sorted(UNKNOWN - {Fault.SLOW}):
            async with played.watched() as (server, lookout):
                assert isinstance(server, GiteaServer)
                server.tells_account = False
                copied = server.world.talk(server.world.write("An area").number, "mallory", marked("Old.", MARK, 1000))
                ours = server.world.talk(1, BOT, marked("Old.", MARK, 1000))
                asked = "GET /user", "GET /repos/{owner}/{repo}/issues/{index}/comments"
                server.faults = {len(asked): fault}
                await lookout.say(a_wish("It is done."))
                assert server.calls[: len(asked)] == [*asked]
                assert server.done.count("POST /repos/{owner}/{repo}/issues/{index}/comments") == 1
                assert server.world.talks == [copied, ours]
                assert "It is done." in ours.body
                assert server.violations == []

    async def test_without_jobs_and_without_telling_who_we_are(self) -> None:
        played = Played(ForgeKind.GITEA, GiteaServer)
        async with played.watched() as (server, lookout):
            assert isinstance(server, GiteaServer)
            server.actions = server.tells_account = False
            server.world.add(BRANCH)
            server.world.statuses = {"ci/woodpecker": "failure"}
            await lookout.say(a_wish())
            await lookout.say(a_wish("It is done."))
            assert len(server.world.talks) == 1
            seen = await lookout.pull(a_look())
            assert seen is not None
            assert [(one.name, one.log, one.can_run_again) for one in seen.failed] == [
                ("ci/woodpecker", "ci/woodpecker: failure", False)
            ]
            assert [one.ours for one in seen.comments] == [True]
            assert server.violations == []


class TestAGiteaWithShortPages:
    async def test_lists_are_read_to_their_end(self) -> None:
        for tells_total in (True, False):
            async with Played(ForgeKind.GITEA, GiteaServer).running() as (server, forge):
                assert isinstance(server, GiteaServer)
                server.longest_page, server.tells_total = 2, tells_total
                pull = server.world.add(BRANCH)
                for number in range(4):
                    server.world.add(f"other/{number}")
                url = await forge.review(a_review())
                assert url is not None and f"/pulls/{pull.number}#" in url
                assert [call for call in server.calls if call.endswith("/pulls")] == [
                    "GET /repos/{owner}/{repo}/pulls"
                ] * 3
                assert server.violations == []


class TestAnswersWithoutEnd:
    async def test_one_that_drips_is_given_up_and_what_was_done_is_found(self) -> None:
        async with Played(ForgeKind.GITEA, GiteaServer).running(DEAF) as (server, forge):
            server.faults = {await _opening_call(): Fault.DRIPPING}
            url = await forge.propose(a_proposal())
            (pull,) = server.world.pulls
            assert url is not None and url.endswith(f"/pulls/{pull.number}")

    async def test_one_that_floods_is_not_kept(self) -> None:
        async with Played(ForgeKind.GITEA, GiteaServer).running() as (server, forge):
            server.faults = {0: Fault.FLOODING}
            with pytest.raises(ForgeRefused, match="more than 67108864 bytes"):
                await forge.propose(a_proposal())
            assert len(server.calls) == 1


async def _opening_call() -> int:
    """Its number."""
    async with Played(ForgeKind.GITEA, GiteaServer).running() as (server, forge):
        await forge.propose(a_proposal())
        return next(number for number, call in enumerate(server.calls) if not call.startswith("GET"))


class TestNobodyLooks:
    async def test_without_a_forge_or_a_token(self) -> None:
        known = Forges(KNOWN, OneToken(), SystemClock(), HURRIED)
        assert await known.lookout("file:///srv/git/shop.git") is None
        assert await known.lookout("https://github.com/acme/shop") is not None
        assert await Forges(KNOWN, NoCredentials(), SystemClock()).lookout("https://github.com/acme/shop") is None


def at(server: GitHubServer, **more: object) -> ForgeSite:
    return ForgeSite.model_validate({"kind": "github", "url": server.url, "labels": (), **more})


@cache
def a_key() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


def an_app(server: GitHubServer, folder: Path) -> Forges:
    """Forges of which `server` is one, where an app signs in."""
    key = a_key()
    file = folder / "app.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    server.app_key = key.public_key()
    site = at(server, app_id="4711", app_key_file=str(file))
    return Forges([site], OneToken(), SystemClock(), HURRIED)
