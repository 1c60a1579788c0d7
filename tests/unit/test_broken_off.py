"""Which conversations are gone on with, and at what they stopped."""

from datetime import UTC, datetime

import pytest

from agentvine.domain.execution import Execution, Outcome, Usage
from agentvine.domain.retry import GOES_ON, RETRY_RULES, Failure, FailureReason
from agentvine.domain.worker_types import TaskType
from agentvine.worker.agent.base import Entry
from agentvine.worker.agent.sessions import SessionTranscript

ID = "0" * 26


def execution(
    outcome: Outcome, reason: FailureReason | None = None, turns: int = 1, session: str | None = "s"
) -> Execution:
    return Execution(
        id=f"exe_{ID}",
        work_order_id=f"wo_{ID}",
        task_id=f"tsk_{ID}",
        type=TaskType.DOCS,
        worker_id="wrk_1",
        attempt=1,
        lease_token=1,
        outcome=outcome,
        failure=Failure(reason=reason) if reason else None,
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        usage=Usage(turns=turns),
        session_id=session,
    )


@pytest.mark.parametrize("reason", list(FailureReason))
def test_what_was_broken_off_is_gone_on_with_and_what_was_judged_is_not(reason: FailureReason) -> None:
    assert execution(Outcome.FAILED, reason).broken_off == (reason in GOES_ON)
    if reason in GOES_ON:
        assert RETRY_RULES[reason].retry
    silent = execution(Outcome.FAILED, reason, turns=0)
    assert silent.broken_off == (reason in GOES_ON and reason.startswith("model_")), "it may be what makes it fail"
    assert not execution(Outcome.FAILED, reason, session=None).broken_off


def test_a_worker_that_leaves_or_is_lost_breaks_off() -> None:
    assert execution(Outcome.RELEASED, turns=0).broken_off
    assert execution(Outcome.LOST, turns=0).broken_off
    assert not execution(Outcome.COMPLETED).broken_off
    assert not execution(Outcome.PARKED).broken_off
    assert not execution(Outcome.LOST, session=None).broken_off


CALL: Entry = {"message": {"content": [{"type": "tool_use", "id": "t1", "name": "Bash"}]}}
RESULT: Entry = {"message": {"content": [{"type": "tool_result", "tool_use_id": "t1"}]}}
DEFERRED: Entry = {"attachment": {"type": "hook_deferred_tool", "toolUseID": "t1"}}
ASIDE: Entry = {"isSidechain": True, "message": {"content": [{"type": "tool_use", "id": "t2", "name": "Read"}]}}
WORDS: Entry = {"message": {"content": "Please."}}


@pytest.mark.parametrize(
    ("entries", "parked", "unfinished"),
    [
        ((WORDS, CALL, RESULT), False, ()),
        ((WORDS, CALL), False, ("Bash",)),
        ((WORDS, CALL, DEFERRED), True, ("Bash",)),
        ((WORDS, CALL, DEFERRED, RESULT), False, ()),
        ((WORDS, CALL, RESULT, ASIDE), False, ()),
        ((), False, ()),
    ],
)
async def test_at_what_a_conversation_stopped(
    entries: tuple[Entry, ...], parked: bool, unfinished: tuple[str, ...]
) -> None:
    transcript = SessionTranscript(None, f"exe_{ID}", 1)  # type: ignore[arg-type]  # nothing is sent
    await transcript.append(entries)
    assert (transcript.parked, transcript.unfinished) == (parked, unfinished)
