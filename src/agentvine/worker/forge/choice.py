"""Which forge a repository is on, and how it is spoken to."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from pydantic import SecretStr

from agentvine.domain.forge import ForgeKind
from agentvine.domain.retry import FailureReason
from agentvine.kit.backoff import Backoff
from agentvine.kit.clock import Clock
from agentvine.kit.logs import hide, logger, redact
from agentvine.worker.credentials import Credentials
from agentvine.worker.forge.app_token import App, AppTokens
from agentvine.worker.forge.base import Forge, ForgeRefused, Proposal, Review
from agentvine.worker.forge.connection import PATIENCE, READ_SECONDS, Authorize, Connection
from agentvine.worker.forge.courier import Courier
from agentvine.worker.forge.desk import Desk
from agentvine.worker.forge.gitea import GiteaDesk
from agentvine.worker.forge.github import HEADERS, GitHubDesk
from agentvine.worker.forge.gitlab import GitLabDesk
from agentvine.worker.forge.none import NoForge
from agentvine.worker.forge.sites import ForgeSite

_log = logger("forge")


@dataclass(frozen=True, slots=True)
class Manner:
    """How patiently forges are spoken to."""

    patience: float = PATIENCE
    read_seconds: float = READ_SECONDS
    backoff: Backoff | None = None


class Forges:
    """All forges of a worker. Tokens come from where git's credentials come from, or from a GitHub App.

    Raises ConfigurationError for an app whose key cannot be read.
    """

    def __init__(
        self, sites: Iterable[ForgeSite], credentials: Credentials, clock: Clock, manner: Manner = Manner()
    ) -> None:
        self._sites = tuple(sites)
        self._credentials = credentials
        self._clock = clock
        self._manner = manner
        self._apps = {site.url: self._tokens(site) for site in self._sites if site.app_id}

    async def of(self, url: str) -> Forge:
        """The forge on which the repository at `url` is, ready to be used with its credential.

        `NoForge` for an address of no known forge, and where there is nothing to sign in with: the branch is pushed all
        the same. Raises GitFailed if the credential cannot be found out.
        """
        for site in self._sites:
            repository = site.repository_of(url)
            if repository is None:
                continue
            if site.kind is ForgeKind.NONE:
                return NoForge()
            if site.url in self._apps:
                return HostedForge(self, site, repository, None)
            found = await self._credentials.of(f"{site.url}/{repository}")
            if found is None or found.secret is None:
                _log.warning("no token for the forge: branches are pushed, and nothing is opened", forge=site.url)
                return NoForge()
            return HostedForge(self, site, repository, found.secret)
        return NoForge()

    def connection(self, site: ForgeSite, authorize: Authorize) -> Connection:
        """A connection to the API of `site`."""
        return Connection(
            urlsplit(site.url).netloc,
            site.api_address,
            authorize,
            clock=self._clock,
            headers=HEADERS if site.kind is ForgeKind.GITHUB else None,
            patience=self._manner.patience,
            read_seconds=self._manner.read_seconds,
            backoff=self._manner.backoff,
        )

    def courier(self, desk: Desk, who: str) -> Courier:
        """A courier to `desk`."""
        return Courier(desk, who, backoff=self._manner.backoff)

    def app(self, site: ForgeSite) -> AppTokens:
        """The tokens of the app of `site`."""
        return self._apps[site.url]

    def _tokens(self, site: ForgeSite) -> AppTokens:
        assert site.app_id is not None and site.app_key_file is not None  # noqa: S101 - ForgeSite sees to it
        app = App.of(site.app_id, site.app_key_file)
        return AppTokens(app, self._clock, lambda authorize: self.connection(site, authorize))


class HostedForge:
    """Implements `Forge` for one repository. `token` None: the forge's app gives one."""

    opens_pull_requests = True

    def __init__(self, forges: Forges, site: ForgeSite, repository: str, token: SecretStr | None) -> None:
        self._forges = forges
        self._site = site
        self._repository = repository
        self._token = token
        if token is not None:
            hide(token.get_secret_value())

    async def propose(self, proposal: Proposal) -> str | None:
        """As in `Forge`; with the labels and reviewers of the forge's settings besides its own."""
        wanted = replace(
            proposal,
            title=redact(proposal.title),
            text=redact(proposal.text),
            labels=tuple(dict.fromkeys((*proposal.labels, *self._site.labels))),
            reviewers=tuple(dict.fromkeys((*proposal.reviewers, *self._site.reviewers))),
            draft=proposal.draft or self._site.draft,
        )
        return await self._with_a_fresh_token(lambda courier: courier.propose(wanted))

    async def review(self, review: Review) -> str | None:
        """As in `Forge`."""
        remarks = tuple(replace(one, text=redact(one.text)) for one in review.remarks)
        clean = replace(review, text=redact(review.text), remarks=remarks)
        return await self._with_a_fresh_token(lambda courier: courier.review(clean))

    async def _with_a_fresh_token(self, do: Callable[[Courier], Awaitable[str | None]]) -> str | None:
        """Do it, with another token of the app if the one that was kept is not taken any more."""
        try:
            return await self._with(do)
        except ForgeRefused as refused:
            if self._token is not None or refused.reason is not FailureReason.REPOSITORY_AUTH_FAILED:
                raise
        self._forges.app(self._site).forget(self._repository)
        return await self._with(do)

    async def _with(self, do: Callable[[Courier], Awaitable[str | None]]) -> str | None:
        async with self._forges.connection(self._site, self._headers) as connection:
            desk = _DESKS[self._site.kind](connection, self._repository)
            return await do(self._forges.courier(desk, f"{connection.name}/{self._repository}"))

    async def _headers(self) -> Mapping[str, str]:
        token = self._token.get_secret_value() if self._token else await self._app_token()
        scheme = "token" if self._site.kind in {ForgeKind.GITEA, ForgeKind.FORGEJO} else "Bearer"
        return {"Authorization": f"{scheme} {token}"}

    async def _app_token(self) -> str:
        return await self._forges.app(self._site).of(self._repository)


_DESKS: Mapping[ForgeKind, type[GitHubDesk] | type[GitLabDesk] | type[GiteaDesk]] = {
    ForgeKind.GITHUB: GitHubDesk,
    ForgeKind.GITLAB: GitLabDesk,
    ForgeKind.GITEA: GiteaDesk,
    ForgeKind.FORGEJO: GiteaDesk,
}
