"""How long a forge asks us to wait, and which forge a repository is on."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from agentvine.domain.forge import ForgeKind
from agentvine.kit.clock import SystemClock
from agentvine.kit.configuration import ConfigurationError
from agentvine.testing.forges.played import OneToken
from agentvine.worker.credentials import NoCredentials
from agentvine.worker.forge.choice import Forges, HostedForge
from agentvine.worker.forge.limits import limit_of, retry_after
from agentvine.worker.forge.none import NoForge
from agentvine.worker.forge.sites import KNOWN, ForgeSite, parse_forges, read_forges

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


class TestLimits:
    @pytest.mark.parametrize(
        ("status", "headers", "said", "wait"),
        [
            (429, {"Retry-After": "7"}, "", 7.0),
            (429, {"Retry-After": "Wed, 04 Mar 2026 05:06:37 GMT"}, "", 30.0),
            (429, {"RateLimit-Reset": str(int(NOW.timestamp()) + 90), "RateLimit-Remaining": "0"}, "", 90.0),
            (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW.timestamp()) + 90)}, "", 90.0),
            (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, "", 0.0),
            (403, {"X-RateLimit-Remaining": "4999"}, "You have exceeded a secondary rate limit", 60.0),
            (403, {}, "You have triggered an abuse detection mechanism. Please wait a few minutes.", 60.0),
            (422, {}, "Validation Failed; was submitted too quickly", 60.0),
            (422, {"Retry-After": "9"}, "A pull request already exists for acme:x.", None),
            (403, {"X-RateLimit-Remaining": "4999"}, "Resource not accessible by integration", None),
            (429, {}, "", 60.0),
            (429, {"Retry-After": "999999999"}, "", 86_400.0),
            (404, {"X-RateLimit-Remaining": "0"}, "", None),
        ],
    )
    def test_how_long(self, status: int, headers: dict[str, str], said: str, wait: float | None) -> None:
        assert limit_of(httpx.Response(status, headers=headers), said, NOW) == wait

    def test_what_is_no_time(self) -> None:
        assert retry_after(httpx.Response(503, headers={"Retry-After": "soon"}), NOW) is None
        past = {"Retry-After": "Wed, 04 Mar 2020 05:06:37 GMT"}
        assert retry_after(httpx.Response(503, headers=past), NOW + timedelta(1)) == 0.0


class TestSites:
    @pytest.mark.parametrize(
        ("site", "api"),
        [
            (ForgeSite(kind=ForgeKind.GITHUB, url="https://github.com"), "https://api.github.com"),
            (ForgeSite(kind=ForgeKind.GITHUB, url="https://ghe.example.org/"), "https://ghe.example.org/api/v3"),
            (ForgeSite(kind=ForgeKind.GITLAB, url="https://x.example/git"), "https://x.example/git/api/v4"),
            (ForgeSite(kind=ForgeKind.FORGEJO, url="https://codeberg.org"), "https://codeberg.org/api/v1"),
            (ForgeSite(kind=ForgeKind.GITEA, url="https://a", api="http://b:3000/api/v1"), "http://b:3000/api/v1"),
        ],
    )
    def test_where_the_api_is(self, site: ForgeSite, api: str) -> None:
        assert site.api_address == api

    @pytest.mark.parametrize(
        ("url", "name"),
        [
            ("https://x.example/git/acme/sub/shop.git", "acme/sub/shop"),
            ("https://X.example:443/git/acme/shop", "acme/shop"),
            ("git@x.example:acme/shop.git", "acme/shop"),
            ("ssh://git@x.example:2222/acme/shop.git", "acme/shop"),
            ("http://x.example/git/acme/shop", None),
            ("https://x.example:8443/git/acme/shop", None),
            ("https://x.example/gitea/acme/shop", None),
            ("https://x.example/git", None),
            ("https://x.example.evil.org/git/acme/shop", None),
            ("file:///git/acme/shop", None),
        ],
    )
    def test_which_repositories_are_there(self, url: str, name: str | None) -> None:
        assert ForgeSite(kind=ForgeKind.GITLAB, url="https://x.example/git").repository_of(url) == name

    def test_the_file(self) -> None:
        told = parse_forges(
            b'[[forge]]\nkind = "gitlab"\nurl = "https://git.example.org"\nreviewers = ["mira"]\ndraft = true\n'
            b'[[forge]]\nkind = "none"\nurl = "https://github.com"\n',
            "forges.toml",
        )
        assert [(site.kind.value, site.url) for site in told] == [
            ("gitlab", "https://git.example.org"),
            ("none", "https://github.com"),
            ("gitlab", "https://gitlab.com"),
            ("forgejo", "https://codeberg.org"),
        ]
        assert told[0].draft
        assert read_forges(None) == KNOWN

    @pytest.mark.parametrize(
        ("content", "mistake"),
        [
            ('kind = "x"', "forge.0.kind"),
            ('kind = "gitea"\nurl = "git.example.org"', "write an address"),
            ('kind = "gitea"\nurl = "https://me:secret@git.example.org"', "no credentials in an address"),
            ('kind = "github"\nurl = "https://a"\napp_id = "1"', "needs both"),
            ('kind = "gitea"\nurl = "https://a"\napp_id = "1"\napp_key_file = "x"', "only GitHub"),
            ('kind = "gitea"\nurl = "https://a"\ntoken = "secret"', "forge.0.token"),
        ],
    )
    def test_mistakes_are_told_without_secrets(self, content: str, mistake: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            parse_forges(f"[[forge]]\n{content}\n".encode(), "forges.toml")
        assert mistake in str(caught.value)
        assert "secret" not in str(caught.value)

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"FORGES: .* cannot be read"):
            read_forges(tmp_path / "forges.toml")
        site = ForgeSite(kind=ForgeKind.GITHUB, url="https://a", app_id="1", app_key_file=tmp_path / "app.pem")
        with pytest.raises(ConfigurationError, match=r"app\.pem cannot be read"):
            Forges([site], NoCredentials(), SystemClock())
        (tmp_path / "app.pem").write_text("no key")
        with pytest.raises(ConfigurationError, match="is no private key"):
            Forges([site], NoCredentials(), SystemClock())

    async def test_a_forge_without_a_token_is_none(self) -> None:
        url = "https://github.com/acme/shop"
        assert isinstance(await Forges(KNOWN, NoCredentials(), SystemClock()).of(url), NoForge)
        assert isinstance(await Forges(KNOWN, OneToken(), SystemClock()).of(url), HostedForge)
        pushed_only = ForgeSite(kind=ForgeKind.NONE, url="https://github.com")
        assert isinstance(await Forges([pushed_only], OneToken(), SystemClock()).of(url), NoForge)
