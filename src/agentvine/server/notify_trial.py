"""Tries the channels that an operator has set up, without a server."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import Clock, SystemClock
from agentvine.kit.logs import hide
from agentvine.server.notices import TRIAL, Notice, brief
from agentvine.server.notify_channels import SendFailed, channels
from agentvine.server.settings import ServerSettings, What


@dataclass(frozen=True, slots=True)
class Trial:
    """How one channel took a notice. `failure` None: it did."""

    channel: str
    failure: str | None


async def try_channels(settings: ServerSettings, clock: Clock) -> tuple[Trial, ...]:
    """Send one notice to each. Raises ConfigurationError as a server would at its start."""
    hide(*settings.secrets)
    now = clock.now()
    notice = Notice(
        id=f"{TRIAL}_{int(now.timestamp())}",
        kind=TRIAL,
        what=What.WAITS,
        at=now,
        task_id="tsk_" + "0" * 26,
        title="AgentVine tries this channel",
        repository="",
        type=TaskType.DOCS,
        question="Nobody asks anything. Whoever reads this will be told when somebody does.",
        command="agentvine inbox",
    )
    trials = []
    for channel in await channels(settings, clock):
        try:
            await channel.send([notice])
        except SendFailed as error:
            trials.append(Trial(channel.name, brief(str(error), 300)))
        else:
            trials.append(Trial(channel.name, None))
    return tuple(trials)


async def try_all(environment: Mapping[str, str], *, as_json: bool) -> int:
    """As `try_channels` with the settings in `environment`, and says how it went. Returns the exit code."""
    trials = await try_channels(ServerSettings.load(environment), SystemClock())
    if as_json:
        words = json.dumps([asdict(each) for each in trials], indent=2)
    elif trials:
        words = "\n".join(f"{each.channel}: {each.failure or 'has taken it'}" for each in trials)
    else:
        words = "no channel is set up: AGENTVINE_SERVER_NOTIFY and AGENTVINE_SERVER_WEBHOOK_URLS are empty"
    sys.stdout.write(f"{words}\n")
    return 0 if trials and all(each.failure is None for each in trials) else 1
