"""Identifiers sort by time and fit their patterns."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from agentvine.domain.ids import ExecutionId, KeyId, RequestId, TaskId, WorkerId, WorkOrderId, new_id, short

MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001  hypothesis wants them naive
PREFIXES = {"tsk": TaskId, "wo": WorkOrderId, "exe": ExecutionId, "req": RequestId, "key": KeyId}


@given(at=MOMENTS, prefix=st.sampled_from(sorted(PREFIXES)))
def test_an_id_fits_its_pattern(at: datetime, prefix: str) -> None:
    made = new_id(prefix, at)
    assert TypeAdapter(PREFIXES[prefix]).validate_python(made) == made
    assert short(made) == made[-8:]


@given(at=MOMENTS, later=st.integers(1, 10**9))
def test_ids_sort_by_time(at: datetime, later: int) -> None:
    assert new_id("tsk", at) < new_id("tsk", at + timedelta(milliseconds=later))


def test_ids_of_one_moment_differ() -> None:
    now = datetime(2026, 1, 5, tzinfo=UTC)
    assert len({new_id("exe", now) for _ in range(1000)}) == 1000


@pytest.mark.parametrize("odd", ["", "tsk_", "wo_" + "0" * 26, "tsk_" + "0" * 25, "tsk_" + "U" * 26, "tsk_" + "l" * 26])
def test_other_strings_are_no_task_ids(odd: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(TaskId).validate_python(odd)


@pytest.mark.parametrize("odd", ["wrk_", "wrk_A", "wrk_.x", "wrk_a/b", "wrk_" + "a" * 101, "wrk_a\n"])
def test_other_strings_are_no_worker_ids(odd: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(WorkerId).validate_python(odd)
