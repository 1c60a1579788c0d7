"""The desk of errands: what the server wants of forges, given out to workers, and what they bring back.

An errand stands in the database under a key such as `pull:<task>`. Whoever wants something wishes it in the transaction
that makes it wanted; what comes back is handed to whoever handles keys of that prefix, in the transaction that ends the
errand. An errand is gone then, unless it was wished again since it was given out; one that is to stand is wished again
by its handler, for later. A wish never puts off an earlier one, so a ring that comes in the middle is not lost.

A worker that has no way to a forge says so, and the errand is offered to the others; only when none is left, something
is wrong. What went wrong is tried again, slower and slower, or when somebody has changed something (`ring`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random, SystemRandom
from typing import Protocol

from pydantic import ValidationError

from agentvine.domain.errand import Errand, ErrandResult
from agentvine.domain.errors import AgentVineError, LeaseLost
from agentvine.domain.ids import new_id
from agentvine.domain.key import Key
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.repository_settings import RepositorySettings, address_of
from agentvine.kit.backoff import Backoff
from agentvine.kit.clock import Clock
from agentvine.kit.logs import logger
from agentvine.server.holding import own_worker
from agentvine.server.permits import bad_key, known, permit_errand, runs_errands
from agentvine.store import errands, keys, repositories
from agentvine.store.errands import Kept, Taker
from agentvine.store.repositories import Known
from agentvine.store.unit import Unit
from agentvine.wire.channels import Ring
from agentvine.wire.errands import ErrandClaim, GivenErrand

LEASE_SECONDS = 120.0
"""How long a worker has for one errand; it gives up earlier by itself."""
FOR_GOOD_SECONDS = 3600.0
"""About how long until what a person has to mend is tried again unasked."""
LONGEST_WAIT_SECONDS = 86_400.0
_FIRST, _LONGEST = 5.0, 900.0
_log = logger("errands")


@dataclass(frozen=True, slots=True)
class Trouble:
    """An errand that did not come off."""

    why: str
    """For people: what to mend, or what the forge said."""
    for_good: bool
    """A person has to mend something."""
    tries: int
    """How often it was tried in a row."""


class NotTaken(Exception):
    """What was brought back could not be handled; the message says why. Nothing of it was kept."""


class Handler(Protocol):
    """Takes what comes back for the keys of one prefix; called in the transaction that ends the errand.

    An AgentVineError or a ValidationError that it raises makes the errand one that did not come off.
    `name` is the key without its prefix.
    """

    def arrived(self, unit: Unit, name: str, errand: Errand, result: ErrandResult) -> None:
        """It was done. What is to stand is to be wished again."""
        ...

    def failed(self, unit: Unit, name: str, errand: Errand, trouble: Trouble) -> None:
        """It was not done, and will be tried again, unless it is forgotten here."""
        ...


class Errands:
    """Runs inside transactions, as `Orders` does."""

    def __init__(self, clock: Clock, random: Random | None = None) -> None:
        """`random` spreads what is tried again."""
        self._clock = clock
        self._random = random or SystemRandom()
        self._backoff = Backoff(_FIRST, _LONGEST, random=self._random)
        self._handlers: dict[str, Handler] = {}

    def handled_by(self, prefix: str, handler: Handler) -> None:
        """Have `handler` told what comes of errands whose keys begin with `<prefix>:`."""
        self._handlers[prefix] = handler

    # ── wishes ───────────────────────────────────────────────────────────────────────────────────────────────────

    def wish(self, unit: Unit, key: str, errand: Errand, due: datetime | None = None) -> None:
        """Have the errand run at `due` (None: now), or earlier if that was wished before.

        Wished again with other words, the new words count, also if a worker is on its way with the old ones.
        """
        now = self._clock.now()
        if errands.wish(unit, new_id("err", now), key, errand, due or now):
            unit.ring(Ring(kind="errand", repository=errand.repository))

    def forget(self, unit: Unit, key: str) -> None:
        """It is not wanted any more. Harmless if there is none."""
        errands.forget(unit, key)

    def ring(self, unit: Unit, repository: str, *, at: datetime | None = None, afresh: bool = False) -> int:
        """Make all that is wanted of a repository, however it is spelled, due now, or at `at`. Returns how many that
        changed. What failed keeps its distance, unless `afresh`: somebody has mended something.
        """
        changed = errands.hasten(unit, _spelled(unit, repository), at or self._clock.now(), afresh=afresh)
        if changed:
            unit.ring(Ring(kind="errand", repository=repository))
        return changed

    def rung_for(self, unit: Unit, repository: str, at: datetime, pulls_at: datetime) -> int:
        """As `ring`, with a moment of their own for looks at pull requests. Returns how many of these that changed."""
        spelled = _spelled(unit, repository)
        others = errands.hasten(unit, spelled, at, afresh=False, pulls=False)
        pulls = errands.hasten(unit, spelled, pulls_at, afresh=False, pulls=True)
        if others or pulls:
            unit.ring(Ring(kind="errand", repository=repository))
        return pulls

    # ── workers ──────────────────────────────────────────────────────────────────────────────────────────────────

    def claim(self, unit: Unit, ask: ErrandClaim, key: Key) -> GivenErrand | None:
        """Something for this worker; what it has already, if it has not brought that back.

        Raises `Unauthenticated` for a key that has ended, `NotFound`, `Forbidden`, `Superseded`.
        """
        claimer = own_worker(unit, ask.worker_id, key)
        now = self._clock.now()
        if not claimer.key_usable(now):
            raise bad_key()
        if claimer.draining:
            return None
        kept = errands.given_to(unit, ask.worker_id)
        if kept is not None and not _runs(unit, key, kept.errand.repository):  # it was given with another key
            errands.release_all(unit, ask.worker_id)
            kept = None
        if kept is None:
            kept = errands.ready(unit, taker_of(unit, ask.worker_id, key), now)
        if kept is None:
            return None
        errands.give(unit, kept.id, ask.worker_id, now + timedelta(seconds=LEASE_SECONDS))
        return GivenErrand(id=kept.id, errand=kept.errand, lease_seconds=LEASE_SECONDS)

    def end(self, unit: Unit, errand_id: str, result: ErrandResult, key: Key) -> None:
        """A worker has brought something back. Raises as `claim`, `LeaseLost` if it is not that worker's, and
        `NotTaken`."""
        own_worker(unit, result.worker_id, key)
        kept = errands.locked(unit, known("errand", errand_id))
        if kept is None or kept.worker_id != result.worker_id:
            raise LeaseLost("this errand is somebody else's by now, or done", status="lost")
        permit_errand(key, kept.errand.repository, repositories.settings(unit, kept.errand.repository))
        if not (result.error or result.unable):
            errands.finish(unit, kept)
            self._tell(kept, lambda handler, name: handler.arrived(unit, name, kept.errand, result))
            self._ring_again(unit, kept)
        elif result.unable and self._others(unit, kept, result.worker_id):
            errands.offer_to_others(unit, kept, result.worker_id)
            unit.ring(Ring(kind="errand", repository=kept.errand.repository))
        else:
            self._failed(unit, kept, result)

    def _ring_again(self, unit: Unit, kept: Kept) -> None:
        """What was wished meanwhile is there for the next one."""
        if not kept.fresh:
            unit.ring(Ring(kind="errand", repository=kept.errand.repository))

    def _failed(self, unit: Unit, kept: Kept, result: ErrandResult) -> None:
        for_good = result.for_good or result.unable
        why = result.error or "no worker has a way to this forge"
        delay = self._random.uniform(0.75, 1.25) * FOR_GOOD_SECONDS if for_good else self._backoff.delay(kept.tries)
        delay = min(max(delay, result.retry_after_seconds or 0.0), LONGEST_WAIT_SECONDS)
        errands.put_off(unit, kept, self._clock.now() + timedelta(seconds=delay), why)
        _log.warning("an errand failed", key=kept.key, kind=kept.errand.kind, for_good=for_good, why=why[:500])
        trouble = Trouble(why, for_good, kept.tries)
        self._tell(kept, lambda handler, name: handler.failed(unit, name, kept.errand, trouble))

    def _others(self, unit: Unit, kept: Kept, worker_id: str) -> bool:
        """True if there is a worker that may do it and has not said that it cannot."""
        now = self._clock.now()
        for _, key_id in errands.able_workers(unit, (*kept.unable, worker_id)):
            key = keys.get(unit, key_id)
            if key is not None and key.usable(now) and _runs(unit, key, kept.errand.repository):
                return True
        return False

    def unattended(self, unit: Unit, known: Sequence[Known]) -> dict[str, str]:
        """Of which of these repositories something is wanted that no worker may do: by their ids, what is missing."""
        wanted = {address_of(url) for url in errands.repositories(unit)}
        wanted_in_any_case = {address.lower() for address in wanted}
        ids = {key_id for _, key_id in errands.able_workers(unit, ())}
        found = [keys.get(unit, key_id) for key_id in sorted(ids)]
        there = [key for key in found if key is not None and key.usable(self._clock.now())]
        missing = {}
        for one in known:
            settings = one.repository.settings
            is_wanted = one.address in wanted or settings.folded in wanted_in_any_case
            if is_wanted and not any(runs_errands(key, settings.repository, settings) for key in there):
                missing[one.repository.id] = _missing(settings, anybody=bool(there))
        return missing

    def _tell(self, kept: Kept, tell: Callable[[Handler, str], None]) -> None:
        prefix, _, name = kept.key.partition(":")
        handler = self._handlers.get(prefix)
        if handler is None:
            return
        try:
            tell(handler, name)
        except AgentVineError as error:
            raise NotTaken(error.message) from error
        except ValidationError as error:
            raise NotTaken("the server cannot make anything of what the forge shows; its log says why") from error


def taker_of(unit: Unit, worker_id: str, key: Key) -> Taker:
    """Whose errands a worker may run with this key."""
    if not key.scope.restricted:
        return Taker(worker_id)
    return Taker(worker_id, tuple(url for url in errands.repositories(unit) if _runs(unit, key, url)))


def _spelled(unit: Unit, repository: str) -> list[str]:
    """How errands spell this repository."""
    address, known = address_of(repository), repositories.of(unit, repository)
    same = known.is_at if known is not None else lambda url: address_of(url) == address
    return [there for there in errands.repositories(unit) if same(there)]


def _missing(settings: RepositorySettings, *, anybody: bool) -> str:
    if not anybody:
        return "nobody looks at its forge: no worker is there"
    level = settings.permission_level or PermissionLevel.AUTONOMOUS
    return (
        "nobody looks at its forge: no worker is there whose key is for all types, for this repository and for the "
        f"level {level.value}; start one with a key of `agentvine keys create NAME --role worker`"
    )


def _runs(unit: Unit, key: Key, repository: str) -> bool:
    return runs_errands(key, repository, repositories.settings(unit, repository))
