"""Plays a demo for somebody who watches it in a terminal."""

from rich.console import Console

from agentvine.demo.fleet import Stage
from agentvine.demo.forge.story import STEPS
from agentvine.demo.forge.story import demo as of_the_forge
from agentvine.demo.forge.told import Told
from agentvine.demo.main import demo as of_six_types
from agentvine.demo.show import Show


async def six_types(stage: Stage, *, as_json: bool) -> bool:
    """Six workers deliver six tasks. Returns whether they did; raises DemoFailed."""
    show = Show(Console(stderr=True))
    ledger = await of_six_types(stage, show)
    show.finale(ledger, real=stage.real)
    if as_json:
        print(ledger.report().model_dump_json(indent=2))
    return ledger.succeeded


async def one_issue(stage: Stage, *, as_json: bool) -> bool:
    """An issue on a forge becomes a merged pull request. Returns whether it did; raises DemoFailed."""
    told = Told(Console(stderr=True), STEPS)
    account = await of_the_forge(stage, told)
    told.finale(account)
    if as_json:
        print(account.model_dump_json(indent=2))
    return account.succeeded
