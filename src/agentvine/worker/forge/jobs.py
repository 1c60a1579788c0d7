"""Checks that failed, and the jobs behind them, as all the forges tell of them."""

from agentvine.domain.forge import FailedCheck
from agentvine.kit.logs import logger
from agentvine.worker.forge.base import ForgeRefused, ForgeUnavailable
from agentvine.worker.forge.connection import Refusal
from agentvine.worker.forge.repository_api import RepositoryApi
from agentvine.worker.forge.shown import LOG_BYTES, body, ident, log_tail, numbers_of, word

MOST_LOGS = 10
"""Of one commit's jobs."""

_log = logger("forge")


def told_by_status(number: int, name: str, words: str, address: str) -> FailedCheck:
    """One of which the forge knows no more than a status: it is run elsewhere."""
    return FailedCheck(id=ident("status", number), name=word(name) or "a check", log=body(words), url=word(address))


def job_numbers(check: str, how_many: int, forge: str) -> tuple[int, ...]:
    """The forge's numbers for the job that we call `check`. Raises ForgeRefused for a check that is no job."""
    numbers = numbers_of("job", check)
    if numbers is None or len(numbers) != how_many:
        raise ForgeRefused(f"{forge} cannot run this check again; start it where it is run")
    return numbers


async def log_of(api: RepositoryApi, where: str, job: int) -> str:
    """The end of a job's log; empty where the forge does not give it."""
    try:
        return log_tail(await api.tail(where, LOG_BYTES))
    except (Refusal, ForgeUnavailable) as why:
        _log.warning("no log of a failed job", forge=api.forge, job=job, why=str(why))
        return ""
