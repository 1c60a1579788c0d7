"""Webhooks of forges. One only rings: what stands in it is believed so far as to look at the forge earlier.

Of a body nothing is read but which repository it is about, and that only to find the secret with which it has to be
signed. So a repetition, a wrong order or an invention of events costs a look at most, and many at once cost one. Of
each open pull request there is a look as well: the more there are, the longer until they are all looked at again.

How forges sign, over the bytes of the body as they were sent:

    GitHub           X-Hub-Signature-256: `sha256=` and the HMAC-SHA256 in hexadecimal
                     (https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries)
    Gitea            X-Gitea-Signature: the HMAC-SHA256 in hexadecimal (https://docs.gitea.com/usage/webhooks)
    Forgejo          X-Forgejo-Signature, the same (https://forgejo.org/docs/latest/user/webhooks/)
    GitLab           X-Gitlab-Token: the secret itself; or, with a signing token, webhook-signature: `v1,` and the
                     HMAC-SHA256 in base64 over `<webhook-id>.<webhook-timestamp>.<body>`
                     (https://docs.gitlab.com/user/project/integrations/webhooks/, https://www.standardwebhooks.com)
"""

import base64
import binascii
import hashlib
import hmac
import json
import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from agentvine.domain.errors import InvalidInput, Unauthenticated, Unavailable
from agentvine.domain.forge import ForgeKind
from agentvine.domain.repository import check_repository
from agentvine.domain.repository_settings import forge_of
from agentvine.kit.logs import logger
from agentvine.server.bodies import check_json
from agentvine.server.worker_desk import ControlPlaneService
from agentvine.store import repositories
from agentvine.store.repositories import Known
from agentvine.store.unit import Unit

BODY_SECONDS = 10.0
BETWEEN_RINGS = 5.0
"""Seconds from one look at a repository to the next, however often it is rung for."""
SECONDS_A_PULL = 1.0
"""What each look at a pull request that was rung for adds until the next such looks at pull requests of the repository:
one costs a handful of calls, and forges allow some thousand in an hour."""
_REMEMBERED = 1000
_LONGEST_URL = 1000
_NO_SECRET = "0" * 64
"""Checked in the place of a secret that there is none of, so that both take the same time."""
_GITHUB = ("clone_url", "ssh_url", "html_url")
_PLACES: Mapping[ForgeKind, tuple[str, tuple[str, ...]]] = {
    ForgeKind.GITHUB: ("repository", _GITHUB),
    ForgeKind.GITEA: ("repository", _GITHUB),
    ForgeKind.FORGEJO: ("repository", _GITHUB),
    ForgeKind.GITLAB: ("project", ("git_http_url", "git_ssh_url", "web_url")),
}
"""Where a body says which repository it is about: in which object, under which names."""
_DELIVERIES = ("x-github-delivery", "x-forgejo-delivery", "x-gitea-delivery", "x-gitlab-event-uuid", "webhook-id")
_log = logger("webhooks")

Headers = Mapping[str, str]
"""By names in lower case."""


class NotJson(Exception):
    """What came is no JSON object; the message says why."""


@dataclass
class _Round:
    """Looks that were rung for: all at one moment, and how many."""

    at: float = -math.inf
    pulls: int = 0

    def joined(self, now: float) -> float:
        """When to look for one more ring: with a round that is still to come, else after the last one's time."""
        if self.at <= now:
            self.at, self.pulls = max(now, self.at + max(BETWEEN_RINGS, self.pulls * SECONDS_A_PULL)), 0
        return self.at


@dataclass(frozen=True)
class _Pace:
    """Of one repository."""

    pulls: _Round = field(default_factory=_Round)
    others: _Round = field(default_factory=_Round)


class Webhooks:
    """Of one server process."""

    def __init__(self, control: ControlPlaneService, body_seconds: float = BODY_SECONDS) -> None:
        self._control = control
        self.body_seconds = body_seconds
        """How long a body may take to arrive."""
        self._rung: OrderedDict[str, _Pace] = OrderedDict()
        self._deliveries: OrderedDict[str, None] = OrderedDict()

    async def take(self, kind: ForgeKind, headers: Headers, body: bytes) -> None:
        """Ring for the repository that a signed body is about.

        Raises `NotJson`, and `Unauthenticated`, the same for a repository that is not known, one that is on a forge
        of another kind, one that has no secret, and a signature that is missing or wrong.
        """
        urls = tuple(_urls(kind, _object(body)))
        known, secret = await self._secret_of(urls)
        fits = signed(kind, headers, body, secret or _NO_SECRET)
        if not fits or known is None or secret is None or not _is_of(kind, known):
            raise Unauthenticated("no repository that is known here is signed for like that")
        self._note(headers, known)
        await self._ring(known)

    async def _secret_of(self, urls: tuple[str, ...]) -> tuple[Known | None, str | None]:
        def look(unit: Unit) -> Known | None:
            return next((known for url in urls if (known := repositories.of(unit, url)) is not None), None)

        known = await self._control.database.read(look)
        try:
            return known, self._control.repositories.webhook_secret(known) if known is not None else None
        except Unavailable as error:  # a stranger is not told that there is a secret
            _log.error("no webhook of a repository can be checked", why=error.message)
            return known, None

    async def _ring(self, known: Known) -> None:
        """For now, or for as soon as the last time is long enough ago: then all that rang meanwhile is one look."""
        repository, elapsed, now = known.repository, self._control.clock.elapsed(), self._control.clock.now()
        pace = self._rung.setdefault(repository.id, _Pace())
        self._rung.move_to_end(repository.id)
        if len(self._rung) > _REMEMBERED:
            self._rung.popitem(last=False)
        at, pulls_at = (now + timedelta(seconds=one.joined(elapsed) - elapsed) for one in (pace.others, pace.pulls))
        url, errands = repository.settings.repository, self._control.errands
        pace.pulls.pulls += await self._control.database.write(lambda unit: errands.rung_for(unit, url, at, pulls_at))

    def _note(self, headers: Headers, known: Known) -> None:
        """For the log alone: whether this delivery came before."""
        delivery = next((headers[name] for name in _DELIVERIES if headers.get(name)), "")[:100]
        again = delivery in self._deliveries
        if delivery:
            self._deliveries[delivery] = None
            if len(self._deliveries) > _REMEMBERED:
                self._deliveries.popitem(last=False)
        _log.info("a forge rang", repository=known.address, delivery=delivery, again=again)


def _is_of(kind: ForgeKind, known: Known) -> bool:
    """Whether the forge of a repository can be of this kind. Forgejo also sends what Gitea does."""
    said = forge_of(known.repository.settings)
    return said is None or said is kind or {said, kind} == {ForgeKind.GITEA, ForgeKind.FORGEJO}


def signed(kind: ForgeKind, headers: Headers, body: bytes, secret: str) -> bool:
    """Whether `body` was signed with `secret`, as forges of this kind do it. Takes the same time for any secret."""
    key = secret.encode()
    match kind:
        case ForgeKind.GITHUB:
            return _same(headers.get("x-hub-signature-256", ""), f"sha256={_hex(key, body)}")
        case ForgeKind.GITEA | ForgeKind.FORGEJO:
            shown = headers.get("x-forgejo-signature") or headers.get("x-gitea-signature", "")
            return _same(shown, _hex(key, body))
        case ForgeKind.GITLAB:
            by_token = _same(headers.get("x-gitlab-token", ""), secret)
            return _has_standard_signature(headers, body, secret) or by_token
        case ForgeKind.NONE:
            return False


def _has_standard_signature(headers: Headers, body: bytes, secret: str) -> bool:
    """One of the signatures in the header is enough; there are several while a secret is being changed."""
    message = f"{headers.get('webhook-id', '')}.{headers.get('webhook-timestamp', '')}.".encode() + body
    wanted = [base64.b64encode(_digest(key, message)).decode() for key in _standard_keys(secret)]
    shown = [one.removeprefix("v1,") for one in headers.get("webhook-signature", "").split(" ")[:10]]
    return any([_same(one, each) for one in shown for each in wanted])  # noqa: C419  all of them, whatever the first says


def _standard_keys(secret: str) -> Iterator[bytes]:
    """The secret as it stands and, if it is written as the specification says, what it encodes."""
    yield secret.encode()
    if secret.startswith("whsec_"):
        try:
            yield base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            return


def _hex(key: bytes, body: bytes) -> str:
    return hmac.new(key, body, hashlib.sha256).hexdigest()


def _digest(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")


def _same(shown: str, wanted: str) -> bool:
    return hmac.compare_digest(shown.encode("utf-8", "replace"), wanted.encode())


def _object(body: bytes) -> Mapping[str, object]:
    """The body as JSON. Raises `NotJson`."""
    try:
        check_json(body)
    except InvalidInput as error:
        raise NotJson(error.message) from error
    told = json.loads(body)
    if not isinstance(told, dict):
        raise NotJson("a JSON object is expected")
    return told


def _urls(kind: ForgeKind, told: Mapping[str, object]) -> Iterator[str]:
    """The addresses under which the repository may be known."""
    place, names = _PLACES[kind]
    about = told.get(place)
    for name in names:
        url = about.get(name) if isinstance(about, dict) else None
        if not isinstance(url, str) or not 0 < len(url) <= _LONGEST_URL:
            continue
        with suppress(ValueError):
            yield check_repository(url)
