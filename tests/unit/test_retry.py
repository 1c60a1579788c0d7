"""The retry table is complete, and its delays are what it says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentvine.domain.retry import RETRY_RULES, FailureReason, RetryRule


def test_every_reason_has_a_rule_and_every_rule_a_reason() -> None:
    assert set(RETRY_RULES) == set(FailureReason)


def test_what_is_never_retried_counts() -> None:
    assert all(rule.counts for rule in RETRY_RULES.values() if not rule.retry)


@pytest.mark.parametrize(
    "reason", ["model_overloaded", "model_rate_limited", "model_auth_failed", "disk_full", "drained", "self_fenced"]
)
def test_what_is_not_the_orders_fault_does_not_count(reason: str) -> None:
    rule = RETRY_RULES[FailureReason(reason)]
    assert rule.retry
    assert not rule.counts


@given(first=st.floats(0, 100), most=st.floats(0, 10_000), attempt=st.integers(-3, 10_000))
def test_delays_grow_to_a_bound(first: float, most: float, attempt: int) -> None:
    rule = RetryRule(retry=True, first_delay=first, most_delay=most)
    assert 0 <= rule.delay(attempt) <= most
    assert rule.delay(attempt) <= rule.delay(attempt + 1)
    assert rule.delay(1) == min(first, most)
