"""What people say of an order while it is worked on, on its way to the agent."""

from collections.abc import Sequence

from agentvine.domain.errors import AgentVineError, Unavailable
from agentvine.kit.backoff import Backoff
from agentvine.kit.doorbell import pause
from agentvine.kit.logs import logger
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.messages import Claimed, Comment, CommentsWanted
from agentvine.worker.agent import prompts
from agentvine.worker.storing import insist

_LONG_POLL_SECONDS = 30.0
_MOST_AT_ONCE = 8_500
"""Characters: what a hook says beyond 10,000 Claude Code puts into a file, of which the model sees the beginning."""

_log = logger("hearing")


class Hearing:
    """Implements `News` with the comments of one order.

    A comment counts as heard when the model has answered to what held it. It may be told twice, to a session that goes
    on after its worker was lost, but it is not left out.
    """

    def __init__(self, plane: ControlPlane, claimed: Claimed) -> None:
        self.number = 0
        """Up to which comment the agent has heard."""
        self._plane = plane
        self._claimed = claimed
        self._told = 0
        self._known: list[Comment] = []
        self._notice = ""

    async def listen(self) -> None:
        """Take down what is said, as it is said; ends when the order is not ours any more."""
        backoff, attempt = Backoff(first=0.5, most=15.0), 0
        while True:
            try:
                await self._look(_LONG_POLL_SECONDS)
                attempt = 0
            except Unavailable as error:
                attempt += 1
                _log.info("cannot hear comments", attempt=attempt, reason=error.message)
                await pause(backoff.delay(attempt))
            except AgentVineError as error:
                _log.info("no more comments are heard", reason=error.message)
                return

    async def catch_up(self) -> None:
        """Know all that was said until now. Raises LeaseLost."""
        while await insist(lambda: self._look(0.0)):
            pass

    def skip(self, heard: int) -> None:
        """The conversation that goes on has heard all up to number `heard` before."""
        self.number = self._told = heard
        self._known = [comment for comment in self._known if comment.number > heard]

    def tell(self, notice: str) -> None:
        """Let the agent hear this of its worker's, with what it hears next."""
        self._notice = notice

    def take(self) -> str:
        """As in `News`; never more than a hook can say."""
        taken: list[Comment] = []
        for comment in self._known:
            if taken and sum(len(one.text) for one in (*taken, comment)) > _MOST_AT_ONCE:
                break
            taken.append(comment)
        return self._words(taken)

    def take_all(self) -> str:
        """As `take`, for a prompt, which can say everything."""
        return self._words(self._known)

    def heard(self) -> None:
        """As in `News`."""
        self.number = self._told

    def _words(self, taken: Sequence[Comment]) -> str:
        words = "\n".join(part for part in (self._notice, prompts.said(taken)) if part)
        self._notice = ""
        if taken:
            self._told = taken[-1].number
            self._known = self._known[len(taken) :]
            _log.info("told the agent", work_order_id=self._claimed.order.id, up_to=self._told)
        return words

    async def _look(self, seconds: float) -> bool:
        """True if something was new."""
        after = self._known[-1].number if self._known else self._told
        wanted = CommentsWanted(token=self._claimed.lease.token, after=after, wait_seconds=seconds)
        page = await self._plane.comments(self._claimed.order.id, wanted)
        newest = self._known[-1].number if self._known else self._told
        self._known += [comment for comment in page.comments if comment.number > newest]
        return bool(page.comments)
