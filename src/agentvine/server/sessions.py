"""Which worker process speaks: the session token that a registration gives, shown with each later message.

A token is `avs_<43 characters>_<worker id>`. Like a key's secret it is random, so its SHA-256 is all that is kept, in
the worker's row; the next registration under that id replaces it. It survives a restart of the server.

Nothing is read from the database for most messages: what was found good is remembered for a while. What matters most
does not rest on that. A claim and a renewal read the worker's row anyway and compare the digest there, and whatever
carries a lease's token needs a lease, and all leases of a worker are lost in the transaction that registers it anew.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass

from agentvine.domain.errors import Forbidden, Superseded, Unauthenticated
from agentvine.domain.key import Key, WorkerKey
from agentvine.kit.clock import Clock
from agentvine.store import workers
from agentvine.store.database import Database
from agentvine.wire.protocol import OLDEST, not_spoken, spoken

_TOKEN = re.compile(r"avs_[0-9A-Za-z_-]{43}_(wrk_[0-9a-z][0-9a-z_.-]{0,99})")
_TRUST_SECONDS = 60.0
"""How long a session that was found good is not looked up again. Another server process may have ended it meanwhile."""
_REMEMBERED = 20_000


def new_session(worker_id: str) -> str:
    """A new token for this worker."""
    return f"avs_{secrets.token_urlsafe(32)}_{worker_id}"


def digest_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def superseded(worker_id: str) -> Superseded:
    """The error for a process whose worker another one has become."""
    return Superseded(
        f"another process has registered as {worker_id}; this one has lost all that it held and must end",
        worker=worker_id,
    )


@dataclass(slots=True)
class _Known:
    session: WorkerKey
    key: Key
    """The key as it was when `session` was made of it."""
    until: float


class Sessions:
    """The sessions of the workers that speak with this server process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._of_worker: dict[str, str] = {}

    async def speaking(self, key: Key, token: str) -> WorkerKey:
        """`key` in the hands of the worker that `token` names.

        Raises `Unauthenticated` for what is no token, `Superseded` for one that is worth nothing any more, `Forbidden`
        for one that another key was given, `UpgradeRequired` for one that was given by a server that speaks otherwise.
        """
        known = self._known.get(token)
        if known is None or known.until < self._clock.elapsed() or known.session.id != key.id:
            return await self._look_up(key, token)
        if known.key is not key:
            known.key, known.session = key, WorkerKey.of(key, known.session.worker_id, known.session.session)
        return known.session

    def began(self, worker_id: str) -> None:
        """This worker registered anew: what was known of it holds no more."""
        token = self._of_worker.pop(worker_id, None)
        if token is not None:
            self._known.pop(token, None)

    async def _look_up(self, key: Key, token: str) -> WorkerKey:
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise Unauthenticated("this is no session token; register, and send the one that comes back")
        worker_id, digest = match[1], digest_of(token)
        session = WorkerKey.of(key, worker_id, digest)
        there = await self._database.read(lambda unit: workers.claimer(unit, worker_id))
        if there is None:
            return session  # of nobody: whatever it says, it is told that there is no such worker
        if there.session is None or not secrets.compare_digest(there.session, digest):
            raise superseded(worker_id)
        if there.key_id != key.id:
            raise Forbidden("another key registered this worker", needs={"worker": worker_id})
        if not spoken(there.protocol):
            raise not_spoken(there.protocol, "worker" if there.protocol < OLDEST else "server")
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
            self._of_worker.clear()
        self.began(worker_id)
        self._known[token] = _Known(session, key, self._clock.elapsed() + _TRUST_SECONDS)
        self._of_worker[worker_id] = token
        return session
