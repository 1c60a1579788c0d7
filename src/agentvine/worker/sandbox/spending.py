"""What one box spends of its budget: who may ask next, and what is owed for each request that was sent."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from agentvine.domain.execution import Usage
from agentvine.worker.sandbox.judgement import Asked, Refusal
from agentvine.worker.sandbox.metering import AnswerMeter, PriceList


class Charge:
    """What one request costs, from its admission to its end.

    Once it may have been sent it is paid for: by what its answer tells, or by what was set aside for it when that is
    not read to its end.
    """

    def __init__(self, asked: Asked, size: int, prices: PriceList, grown: Callable[[], None]) -> None:
        self._asked = asked
        self._prices = prices
        self._grown = grown
        self._meter = AnswerMeter(asked.stream, size, most=asked.max_tokens)
        self._whole = False
        self._reserve = self._most(size)
        self.told = False
        """Whether the answer has said anything about its size."""
        self.owed = True
        """False: it was not sent, or the model refused it."""

    def read(self, piece: bytes) -> None:
        """Take the next bytes of the answer."""
        if self._meter.read(piece):
            self.told = True
            self._grown()

    def complete(self) -> None:
        """The answer was read to its end."""
        self._meter.end()
        self._whole = True

    def settle(self) -> None:
        """Nothing more will come."""
        if not self._whole:
            self._meter.give_up()

    @property
    def usage(self) -> Usage:
        """What is known so far."""
        return self._meter.tokens.usage(self._cost(self._meter), 1)

    @property
    def held(self) -> float:
        """Dollars that nobody else may spend while this runs."""
        return max(self._reserve, self._cost(self._meter))

    def _most(self, size: int) -> float:
        meter = AnswerMeter(self._asked.stream, size, most=self._asked.max_tokens)
        meter.give_up()
        return self._cost(meter)

    def _cost(self, meter: AnswerMeter) -> float:
        fast, us_only = self._asked.speed == "fast", self._asked.inference_geo == "us"
        return self._prices.cost(self._asked.model, meter.tokens, fast=fast, us_only=us_only)


class Spending:
    """The account of one box, over all its runs. `tell` is told the total whenever it grows.

    As long as anything is left a request may run alone, whatever it may cost. Beside others it runs only if the most
    that it may cost (`max_tokens` of output, and its size as input) fits into what they leave; else it waits for them.
    So the budget is exceeded by one answer at the most, as far as a request's size tells its tokens.
    """

    def __init__(self, budget: float, prices: PriceList, tell: Callable[[Usage], None]) -> None:
        self._budget = budget
        self._prices = prices
        self._tell = tell
        self._finished = Usage()
        self._running: set[Charge] = set()
        self._changed = asyncio.Event()

    @property
    def usage(self) -> Usage:
        """What has been used so far, answers under way included."""
        return sum((charge.usage for charge in self._running if charge.told and charge.owed), self._finished)

    @property
    def spent(self) -> bool:
        """Whether the budget is used up."""
        return self.usage.cost_usd >= self._budget

    @asynccontextmanager
    async def charge(self, asked: Asked, size: int, *, free: bool) -> AsyncIterator[Charge]:
        """Admit a request of `size` bytes, as soon as it may run, and settle it at the end of the block.

        `free`: it costs nothing, and need not wait. Raises Refusal when the budget is spent.
        """
        charge = Charge(asked, size, self._prices, self._grown)
        if free:
            charge.owed = False
            yield charge
            return
        while not self._fits(charge):
            await self._changed.wait()
        self._running.add(charge)
        try:
            yield charge
        finally:
            self._running.remove(charge)
            if charge.owed:
                charge.settle()
                self._finished += charge.usage
                self._grown()
            self._changed.set()
            self._changed = asyncio.Event()

    def _grown(self) -> None:
        self._tell(self.usage)

    def _fits(self, charge: Charge) -> bool:
        """Raises Refusal."""
        if self.spent:
            spent = self.usage.cost_usd
            raise Refusal(402, "billing_error", f"the budget of ${self._budget:.2f} is spent (${spent:.2f})")
        held = sum(other.held for other in self._running)
        return not self._running or self._finished.cost_usd + held + charge.held <= self._budget
