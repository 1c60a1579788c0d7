"""Honest work is delivered: in every ecosystem, also where it is unusual."""

from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker_types import TaskType
from tests.proof.case import Honest
from tests.proof.court import Court


async def test_it_is_delivered(honest: Honest, court: Court) -> None:
    trial = await court.try_(honest)
    assert trial.order.status is OrderStatus.COMPLETED, (str(trial), trial.failing)
    assert trial.evidence is not None
    assert trial.evidence.passed
    assert len(trial.told) == len(honest.turns)
    if honest.type is TaskType.REVIEW:
        assert trial.report is not None
        assert not trial.left, trial.refs
    else:
        assert trial.left
