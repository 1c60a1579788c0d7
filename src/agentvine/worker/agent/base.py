"""The port behind which a coding agent works. Claude Code is the one that we ship; another plugs in here.

One `run` is one process of the agent, from its start to its end. A conversation may take several: a repair or a
resumption goes on with the `session_id` of an earlier run, also on another machine, because the transcript is kept by
`Transcript` and not by the agent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from agentvine.domain.execution import Usage
from agentvine.domain.retry import Failure
from agentvine.domain.worker_types import WorkerProfile

Entry = dict[str, JsonValue]
"""One entry of a transcript, as the agent writes it."""


@dataclass(frozen=True, slots=True)
class Watchdog:
    """How long each silence may last, in seconds; each has a failure reason of its own."""

    first_message: float = 120.0
    idle: float = 600.0
    after_result: float = 30.0
    total: float = 3600.0


@dataclass(frozen=True, slots=True)
class ModelAccess:
    """Where the model is reached and by what key. The only place where the worker's model key is held."""

    base_url: str | None
    api_key: str | None = field(repr=False)
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one run shall do.

    `session_id` is a UUID that the worker chose. With `resumes` the conversation of that session goes on; `prompt` is
    then what is said next, None if it goes on with the call at which it was parked. `private` is a directory for this
    execution alone, outside the workspace: HOME and configuration of the agent live there and go with it.
    """

    execution_id: str
    profile: WorkerProfile
    workspace: Path
    private: Path
    session_id: str
    prompt: str | None
    instructions: str
    """Appended to the agent's own system prompt."""
    resumes: bool = False
    model: ModelAccess = ModelAccess(None, None)
    budget_usd: float = 5.0
    max_turns: int = 200
    watchdog: Watchdog = Watchdog()
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the agent's own commands may need on top of a minimal environment (PATH of a prepared tool chain …)."""
    output_schema: Mapping[str, JsonValue] | None = None
    """JSON Schema of the final answer, where a type wants structure (review)."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the agent is about to use."""

    id: str
    name: str
    input: Mapping[str, JsonValue]


class Decision(StrEnum):
    """What becomes of a call."""

    ALLOW = "allow"
    DENY = "deny"
    PARK = "park"
    """Stop here, keep everything, and come back to this very call when it is decided. `reason` is told to the agent if
    it cannot be stopped here, because the call is not alone in its turn."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says of a call; `reason` is told to the agent, also beside the result of an allowed call."""

    decision: Decision
    reason: str = ""
    answer: str | None = None
    """What a call that asks the controller is answered."""
    changed_input: Mapping[str, JsonValue] | None = None
    """With what input an allowed call is to be made instead; `reason` tells the agent."""


class ToolGate(Protocol):
    """Asked before every tool call, without exception."""

    async def __call__(self, call: ToolCall) -> Verdict: ...


class Transcript(Protocol):
    """Where the conversation is kept while it happens."""

    async def append(self, entries: Sequence[Entry]) -> None:
        """Keep `entries`; returns when they are handed on, and never raises for a slow or absent server."""
        ...

    async def load(self) -> Sequence[Entry]:
        """All entries of the session so far, for a resumption; empty if there are none."""
        ...


class Meter(Protocol):
    """Told what was used, while it is being used, as the total of this run."""

    def __call__(self, usage: Usage) -> None: ...


class News(Protocol):
    """What people say while the agent works."""

    def take(self) -> str:
        """What is new since the last time, in words for the agent; empty if nothing is."""
        ...

    def heard(self) -> None:
        """The model has answered to what was taken: it is part of the conversation now."""
        ...


@dataclass(frozen=True, slots=True)
class AgentResult:
    """How a run ended. `failure` None: the agent says that it is finished, which proves nothing yet."""

    usage: Usage
    final_text: str = ""
    structured: JsonValue = None
    failure: Failure | None = None
    parked: ToolCall | None = None
    """The call at which the run was stopped; a run that resumes without a prompt comes back to it."""


class Agent(Protocol):
    """A coding agent."""

    async def run(
        self,
        assignment: Assignment,
        gate: ToolGate,
        transcript: Transcript,
        meter: Meter,
        news: News | None = None,
    ) -> AgentResult:
        """Work on `assignment` until the agent ends by itself or has to be ended. `news` reaches it with its next turn.

        Never raises for what the agent or the model does: that is a `Failure` in the result. On cancellation, and in
        every other case, no process of the run is left when this returns.
        """
        ...
