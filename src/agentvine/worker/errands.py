"""The worker's errands to forges: take one, run it, bring back what came of it. One loop, beside everything else.

A worker that is told to leave drops what it is at: the server gives it to somebody else, and it can be run twice.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar, cast, runtime_checkable

from pydantic import ValidationError

from agentvine.domain.base import Model
from agentvine.domain.errand import (
    ErrandResult,
    LookAtIssue,
    LookAtPull,
    LookForWork,
    RunAgain,
    Say,
)
from agentvine.domain.errors import AgentVineError, Forbidden, LeaseLost, NotFound, TooLarge, Unavailable
from agentvine.domain.retry import FailureReason
from agentvine.kit import failpoints
from agentvine.kit.backoff import Backoff
from agentvine.kit.logs import logger
from agentvine.kit.shutdown import Shutdown
from agentvine.wire.errands import ErrandClaim, ErrandHeld, ErrandPlane, GivenErrand
from agentvine.wire.lending import HandedCredential
from agentvine.wire.messages import LARGEST_BODY
from agentvine.worker.forge.base import ForgeRefused, ForgeUnavailable, Lookout
from agentvine.worker.git_errors import GitFailed, GitTrouble, RepositoryProblem

POLL_SECONDS = 50.0
_SHARE = 0.75
"""Of the time that the server gives for an errand, what is used at most."""
_LARGEST_RESULT = LARGEST_BODY // 2
_CUTS = (16_384, 4096, 1024, 200)
"""To how many characters texts are cut, one after the other, until a result fits."""
_LONGEST_ERROR = 2000
_NO_WAY = "this worker knows no such forge, or has no token for the repository"
_NOT_LET_IN = FailureReason.REPOSITORY_AUTH_FAILED
"""Another worker may have a better token."""
_PASSING = frozenset({GitTrouble.UNREACHABLE, GitTrouble.TIMEOUT})
_log = logger("errands")


@runtime_checkable
class Errands(Protocol):
    """An executor that can also run errands."""

    async def lookout(self, url: str, lent: HandedCredential | None) -> Lookout | None:
        """What sees the forge of a repository, with this worker's own credential, else with the one that is `lent`.

        None: it is on no forge that this worker knows, or there is nothing to sign in with. Raises GitFailed if the
        credential cannot be found out.
        """
        ...


class ErrandLoop:
    """Takes errands one after the other until the worker is told to leave."""

    def __init__(
        self, plane: ErrandPlane, worker_id: str, errands: Errands, shutdown: Shutdown, backoff: Backoff | None = None
    ) -> None:
        self._plane = plane
        self._worker_id = worker_id
        self._errands = errands
        self._shutdown = shutdown
        self._backoff = backoff or Backoff(first=1.0, most=300.0)

    async def run(self) -> None:
        """Until told to leave; raises nothing that the server or a forge can be the cause of."""
        attempt, loop = 0, asyncio.get_running_loop()
        while not self._shutdown.draining.is_set():
            began = loop.time()
            try:
                found = await self.run_one(POLL_SECONDS)
                attempt = 0
                if not found and loop.time() - began < POLL_SECONDS / 2:  # a server that does not wait is not pressed
                    await self._rest(self._backoff.delay(1))
            except AgentVineError as error:
                attempt += 1
                delay = self._backoff.delay(attempt)
                _log.info("no errands at present", again_in=round(delay, 1), reason=error.message)
                await self._rest(delay)
        await asyncio.Event().wait()  # the worker finishes what it has; its other loops go on until it ends them all

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._shutdown.draining.wait()

    async def run_one(self, wait_seconds: float) -> bool:
        """Take one errand and run it; False if there was none. Raises what the server says of the claim or the result,
        but for an errand that is somebody else's by now."""
        given = await self._claim(wait_seconds)
        if given is None:
            return False
        await failpoints.reached("errand.after_claim")
        result = await self._result(given)
        await failpoints.reached("errand.before_result")
        try:
            await self._end(given, result)
        except (LeaseLost, NotFound) as error:
            _log.info("an errand was somebody else's", errand_id=given.id, reason=error.message)
        await failpoints.reached("errand.after_result")
        return True

    async def _claim(self, wait_seconds: float) -> GivenErrand | None:
        """None also if the worker is told to leave meanwhile."""
        ask = ErrandClaim(worker_id=self._worker_id, wait_seconds=wait_seconds)
        asking = asyncio.create_task(self._plane.claim_errand(ask))
        leaving = asyncio.create_task(self._shutdown.draining.wait())
        try:
            await asyncio.wait({asking, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else None
        finally:
            leaving.cancel()
            asking.cancel()

    async def _result(self, given: GivenErrand) -> ErrandResult:
        """What came of it, whatever that is."""
        try:
            async with asyncio.timeout(given.lease_seconds * _SHARE):
                return fitting(await self._ran(given))
        except TimeoutError:
            return self._failed(f"the forge took longer than {given.lease_seconds * _SHARE:.0f} s")
        except ForgeUnavailable as error:
            return self._failed(str(error), retry_after_seconds=error.retry_after)
        except ForgeRefused as error:
            return self._failed(str(error), for_good=True, unable=error.reason is _NOT_LET_IN)
        except GitFailed as error:
            mine = error.reason is _NOT_LET_IN
            return self._failed(str(error), for_good=error.trouble not in _PASSING, unable=mine)
        except RepositoryProblem as error:
            return self._failed(str(error))
        except ValidationError as error:  # whoever writes there must not hold up all other errands
            _log.warning("a forge shows what cannot be understood", errand_id=given.id, exc_info=error)
            return self._failed("the forge shows something that this worker does not understand; its log says what")

    async def _ran(self, given: GivenErrand) -> ErrandResult:
        errand = given.errand
        there, why = await self._errands.lookout(errand.repository, None), _NO_WAY
        if there is None:
            try:
                there = await self._errands.lookout(errand.repository, await self._lent(given))
            except Forbidden as error:  # over this line, or to this key, the server lends nothing
                why = f"{_NO_WAY} and is lent none: {error.message}"
            except Unavailable as error:  # what is kept for this one repository cannot be had: others need not wait
                return self._failed(error.message, retry_after_seconds=error.facts.get("retry_after"))
        if there is None:
            return self._failed(why, unable=True)
        done: dict[str, object] = {}
        match errand:
            case LookAtPull():
                done["pull"] = await there.pull(errand)
            case LookForWork():
                done["work"] = await there.work(errand)
            case LookAtIssue():
                done["issue"] = await there.issue(errand)
            case Say():
                done["said"] = await there.say(errand)
            case RunAgain():
                await there.run_again(errand)
        return ErrandResult.model_validate({"worker_id": self._worker_id, **done})

    async def _lent(self, given: GivenErrand) -> HandedCredential | None:
        """What the server keeps for the repository; None if it keeps nothing. Raises `Forbidden`."""
        try:
            return await self._plane.errand_credential(given.id, ErrandHeld(worker_id=self._worker_id))
        except (NotFound, LeaseLost) as error:
            _log.info("no credential for an errand", errand_id=given.id, reason=error.message)
            return None

    async def _end(self, given: GivenErrand, result: ErrandResult) -> None:
        try:
            await self._plane.end_errand(given.id, result)
        except TooLarge:
            await self._plane.end_errand(given.id, self._failed("the forge shows more than can be brought back"))

    def _failed(self, why: str, **more: object) -> ErrandResult:
        told = why.replace("\0", "")[:_LONGEST_ERROR] or "it failed"
        return ErrandResult.model_validate({"worker_id": self._worker_id, "error": told, **more})


def fitting(result: ErrandResult) -> ErrandResult:
    """`result` with all texts cut until it can be sent; of logs the end stays, of everything else the start."""
    for most in _CUTS:
        if len(result.model_dump_json()) <= _LARGEST_RESULT:
            break
        result = _mapped(result, partial(_cut, most))
    return result


def _cut(most: int, text: str, name: str) -> str:
    return text[-most:] if name == "log" else text[:most]


_M = TypeVar("_M")


def _mapped(value: _M, change: Callable[[str, str], str], name: str = "") -> _M:
    """`value` with `change(text, name of its field)` in the place of each text."""
    changed: object = value
    if isinstance(value, str):
        changed = change(value, name)
    elif isinstance(value, tuple):
        changed = tuple(_mapped(one, change, name) for one in value)
    elif isinstance(value, Model):
        changed = value.model_copy(update={field: _mapped(one, change, field) for field, one in value})
    return cast("_M", changed)
