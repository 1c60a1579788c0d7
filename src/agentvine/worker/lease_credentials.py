"""Credentials that the server keeps, for the repositories of what this worker holds, as long as it holds it.

They stay in this process's memory. What an operator has stored on this host goes before them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agentvine.domain.errors import AgentVineError, Forbidden, LeaseLost, NotFound
from agentvine.domain.git_credential import GitCredential
from agentvine.domain.repository_settings import address_of
from agentvine.kit.clock import Clock
from agentvine.kit.logs import hide
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.lending import HandedCredential
from agentvine.wire.messages import Claimed, Held
from agentvine.worker.git_errors import GitFailed, GitTrouble

_FRESH_SECONDS = 300.0
"""How long one is not asked for again: a command of the server's may give tokens that end."""


@dataclass(frozen=True, slots=True)
class _Asked:
    credential: GitCredential | None
    until: float


class LeaseCredentials:
    """Implements `Credentials`."""

    def __init__(self, plane: ControlPlane, clock: Clock) -> None:
        self._plane = plane
        self._clock = clock
        self._held: dict[str, list[Claimed]] = {}
        self._lent: dict[str, list[GitCredential]] = {}
        self._asked: dict[str, _Asked] = {}

    @contextmanager
    def holding(self, claimed: Claimed) -> Iterator[None]:
        """While the block lasts, ask with the lease of this order."""
        address = address_of(claimed.order.repository)
        there = self._held.setdefault(address, [])
        there.append(claimed)
        try:
            yield
        finally:
            there.remove(claimed)
            if not there:
                self._held.pop(address, None)
                self._asked.pop(address, None)

    @contextmanager
    def lent(self, url: str, handed: HandedCredential | None) -> Iterator[None]:
        """While the block lasts, `handed` is the one for `url`; it came with an errand."""
        if handed is None:
            yield
            return
        address = address_of(url)
        credential = _credential(address, handed)
        there = self._lent.setdefault(address, [])
        there.append(credential)
        try:
            yield
        finally:
            there.remove(credential)

    async def of(self, url: str) -> GitCredential | None:
        """As in `Credentials`."""
        address = address_of(url)
        if lent := self._lent.get(address):
            return lent[-1]
        asked = self._asked.get(address)
        if asked is not None and self._clock.elapsed() < asked.until:
            return asked.credential
        for claimed in reversed(self._held.get(address, ())):
            if (fresh := await self._ask(address, claimed)) is not None:
                return fresh.credential
        return None

    async def _ask(self, address: str, claimed: Claimed) -> _Asked | None:
        """What the server gives for this lease; None if that is over, or the server knows of no such thing."""
        what = f"find the credential for {address}"
        try:
            handed = await self._plane.credential(claimed.order.id, Held(token=claimed.lease.token))
        except (LeaseLost, NotFound):
            return None
        except Forbidden as refused:
            raise GitFailed(what, None, f"fatal: {refused.message}", GitTrouble.AUTH_FAILED) from refused
        except AgentVineError as error:
            raise GitFailed(what, None, f"fatal: {error.message}", GitTrouble.UNREACHABLE) from error
        asked = _Asked(_credential(address, handed) if handed else None, self._clock.elapsed() + _FRESH_SECONDS)
        if address in self._held:
            self._asked[address] = asked
        return asked


def _credential(address: str, handed: HandedCredential) -> GitCredential:
    hide(handed.secret)
    return GitCredential.model_validate({"pattern": address, "username": handed.username, "secret": handed.secret})
