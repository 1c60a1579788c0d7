"""What the real Claude Code is given in tests: an assignment, and a transcript that stays in memory."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from agentvine.domain.worker_types import PROFILES, TaskType
from agentvine.worker.agent.base import Assignment, Entry, ModelAccess, Watchdog

PATIENT = Watchdog(first_message=240, idle=240, after_result=60, total=240)
"""Limits that no busy machine reaches; a test of one of them makes that one short."""


@dataclass
class MemoryTranscript:
    """A `Transcript` that keeps everything here."""

    entries: list[Entry] = field(default_factory=list)

    async def append(self, entries: Sequence[Entry]) -> None:
        """As in `Transcript`."""
        self.entries += entries

    async def load(self) -> Sequence[Entry]:
        """As in `Transcript`."""
        return tuple(self.entries)


def an_assignment(workspace: Path, private: Path, model: ModelAccess, /, **changes: object) -> Assignment:
    """A feature to build in `workspace`, with all the patience there is; `changes` replace fields of it."""
    assignment = Assignment(
        execution_id="exe_" + "0" * 26,
        profile=PROFILES[TaskType.FEATURE],
        workspace=workspace,
        private=private,
        session_id=str(uuid.uuid4()),
        prompt="Please build it.",
        instructions="",
        model=model,
        watchdog=PATIENT,
    )
    return replace(assignment, **changes)  # type: ignore[arg-type]
