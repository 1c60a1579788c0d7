"""Which forge a repository is on, and how it is spoken to."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from agentvine.domain.errand import LookAtIssue, LookAtPull, LookForWork, RunAgain, Say, WorkSeen
from agentvine.domain.forge import ForgeKind, IssueSeen, PullSeen, Said
from agentvine.domain.repository_settings import address_of
from agentvine.domain.retry import FailureReason
from agentvine.kit.backoff import Backoff
from agentvine.kit.clock import Clock
from agentvine.kit.logs import hide, logger, redact
from agentvine.worker.credentials import Credentials
from agentvine.worker.forge.app_token import App, AppTokens
from agentvine.worker.forge.base import Forge, ForgeRefused, Lookout, Proposal, Review
from agentvine.worker.forge.connection import PATIENCE, READ_SECONDS, Authorize, Connection
from agentvine.worker.forge.courier import Courier
from agentvine.worker.forge.desk import Desk
from agentvine.worker.forge.gitea import GiteaDesk
from agentvine.worker.forge.gitea_window import GiteaWindow
from agentvine.worker.forge.github import HEADERS, GitHubDesk
from agentvine.worker.forge.github_window import GitHubWindow
from agentvine.worker.forge.gitlab import GitLabDesk
from agentvine.worker.forge.gitlab_window import GitLabWindow
from agentvine.worker.forge.none import NoForge
from agentvine.worker.forge.sites import ForgeSite
from agentvine.worker.forge.watch import Watch
from agentvine.worker.forge.window import Window

_log = logger("forge")
_T = TypeVar("_T")


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
        self._told: dict[str, ForgeSite] = {}

    def know(self, url: str, kind: ForgeKind | None) -> None:
        """Take the forge of the repository at `url` for one of this kind, as an operator has said to the server.

        It is reached at the root of the repository's own host; what this worker's operator says of a site goes before.
        """
        address = address_of(url)
        host = address.partition("://")[2].partition("/")[0]
        scheme = "http" if address.startswith("http://") else "https"
        self._told.pop(address, None)
        if kind is not None and host:
            self._told[address] = ForgeSite(kind=kind, url=f"{scheme}://{host}")

    async def of(self, url: str) -> Forge:
        """The forge on which the repository at `url` is, ready to be used with its credential.

        `NoForge` for an address of no known forge, and where there is nothing to sign in with: the branch is pushed all
        the same. Raises GitFailed if the credential cannot be found out.
        """
        hosted = await self._hosted(url)
        if hosted is None:
            return NoForge()
        if isinstance(hosted, ForgeSite):
            _log.warning("no token for the forge: branches are pushed, and nothing is opened", forge=hosted.url)
            return NoForge()
        return hosted

    async def _hosted(self, url: str) -> "HostedForge | ForgeSite | None":
        """The forge, or only its site if there is nothing to sign in with; None if it is on none."""
        told = self._told.get(address_of(url))
        if told is not None and told.kind is ForgeKind.NONE:
            return None
        for site in (*self._sites, *([told] if told is not None else [])):
            repository = site.repository_of(url)
            if repository is None:
                continue
            if site.kind is ForgeKind.NONE:
                return None
            if site.url in self._apps:
                return HostedForge(self, site, repository, None)
            found = await self._credentials.of(f"{site.url}/{repository}")
            if found is None or found.secret is None:
                return site
            return HostedForge(self, site, repository, found.secret)
        return None

    async def lookout(self, url: str) -> Lookout | None:
        """Who looks at the repository at `url` for us; None where there is no forge, or nothing to sign in with.

        Raises GitFailed if the credential cannot be found out.
        """
        hosted = await self._hosted(url)
        return HostedLookout(hosted) if isinstance(hosted, HostedForge) else None

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

    def watch(self, window: Window, who: str, web: str) -> Watch:
        """A watch at `window`."""
        return Watch(window, who, web, backoff=self._manner.backoff)

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
        return await self._through(lambda courier: courier.propose(wanted))

    async def review(self, review: Review) -> str | None:
        """As in `Forge`."""
        remarks = tuple(replace(one, text=redact(one.text)) for one in review.remarks)
        clean = replace(review, text=redact(review.text), remarks=remarks)
        return await self._through(lambda courier: courier.review(clean))

    async def _through(self, do: Callable[[Courier], Awaitable[str | None]]) -> str | None:
        async def deliver(connection: Connection) -> str | None:
            desk = _DESKS[self._site.kind](connection, self._repository)
            return await do(self._forges.courier(desk, self._named(connection)))

        return await self.connected(deliver)

    async def watching(self, do: Callable[[Watch], Awaitable[_T]]) -> _T:
        """What `do` gives, with somebody who looks at this repository. Raises what `do` raises, and ForgeProblem."""

        async def look(connection: Connection) -> _T:
            account = None if self._token else await self._forges.app(self._site).account(self._repository)
            window = _WINDOWS[self._site.kind](connection, self._repository, account)
            web = f"{self._site.url}/{self._repository}"
            return await do(self._forges.watch(window, self._named(connection), web))

        return await self.connected(look)

    async def connected(self, do: Callable[[Connection], Awaitable[_T]]) -> _T:
        """What `do` gives, with another token of the app if the one that was kept is not taken any more."""
        try:
            return await self._connected(do)
        except ForgeRefused as refused:
            if self._token is not None or refused.reason is not FailureReason.REPOSITORY_AUTH_FAILED:
                raise
        self._forges.app(self._site).forget(self._repository)
        return await self._connected(do)

    async def _connected(self, do: Callable[[Connection], Awaitable[_T]]) -> _T:
        async with self._forges.connection(self._site, self._headers) as connection:
            return await do(connection)

    def _named(self, connection: Connection) -> str:
        return f"{connection.name}/{self._repository}"

    async def _headers(self) -> Mapping[str, str]:
        token = self._token.get_secret_value() if self._token else await self._app_token()
        scheme = "token" if self._site.kind in {ForgeKind.GITEA, ForgeKind.FORGEJO} else "Bearer"
        return {"Authorization": f"{scheme} {token}"}

    async def _app_token(self) -> str:
        return await self._forges.app(self._site).of(self._repository)


class HostedLookout:
    """Implements `Lookout` for one repository."""

    def __init__(self, forge: HostedForge) -> None:
        self._forge = forge

    async def pull(self, wanted: LookAtPull) -> PullSeen | None:
        """As in `Lookout`."""
        return await self._forge.watching(lambda watch: watch.pull(wanted))

    async def work(self, wanted: LookForWork) -> WorkSeen:
        """As in `Lookout`."""
        return await self._forge.watching(lambda watch: watch.work(wanted))

    async def issue(self, wanted: LookAtIssue) -> IssueSeen | None:
        """As in `Lookout`."""
        return await self._forge.watching(lambda watch: watch.issue(wanted))

    async def say(self, wanted: Say) -> Said:
        """As in `Lookout`. What looks like a secret is taken out."""
        clean = wanted.model_copy(update={"text": redact(wanted.text)})
        return await self._forge.watching(lambda watch: watch.say(clean))

    async def run_again(self, wanted: RunAgain) -> None:
        """As in `Lookout`."""
        await self._forge.watching(lambda watch: watch.run_again(wanted))


_DESKS: Mapping[ForgeKind, type[GitHubDesk] | type[GitLabDesk] | type[GiteaDesk]] = {
    ForgeKind.GITHUB: GitHubDesk,
    ForgeKind.GITLAB: GitLabDesk,
    ForgeKind.GITEA: GiteaDesk,
    ForgeKind.FORGEJO: GiteaDesk,
}

_WINDOWS: Mapping[ForgeKind, type[GitHubWindow] | type[GitLabWindow] | type[GiteaWindow]] = {
    ForgeKind.GITHUB: GitHubWindow,
    ForgeKind.GITLAB: GitLabWindow,
    ForgeKind.GITEA: GiteaWindow,
    ForgeKind.FORGEJO: GiteaWindow,
}
