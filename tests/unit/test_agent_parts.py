"""The small parts around an agent's run: its meter, its pulse, what its end means."""

import pytest

from agentvine.domain.retry import FailureReason
from agentvine.worker.agent.base import Watchdog
from agentvine.worker.agent.metering import StreamMeter
from agentvine.worker.agent.watchdog import Pulse
from agentvine.worker.delivery import own_branch


def test_the_last_word_on_an_answer_counts() -> None:
    meter = StreamMeter()
    meter.count("m1", "claude-sonnet-4-6", {"input_tokens": 100, "output_tokens": 1}, main=True)
    meter.count("m1", "claude-sonnet-4-6", {"input_tokens": 100, "output_tokens": 50}, main=True)
    meter.count("m2", "claude-sonnet-4-6", {"output_tokens": True, "cache_read_input_tokens": None}, main=True)
    meter.count("m3", "claude-haiku-4-5", {"cache_creation_input_tokens": 8}, main=False)
    total = meter.total()
    assert (total.input_tokens, total.output_tokens, total.cache_write_tokens) == (100, 50, 8)
    assert total.turns == 2
    assert total.cost_usd == pytest.approx((100 * 3 + 50 * 15 + 8 * 1.25) / 1e6)


def test_an_unknown_model_is_taken_for_the_dearest() -> None:
    def cost(model: str) -> float:
        meter = StreamMeter()
        meter.count("m", model, {"output_tokens": 1000}, main=True)
        return meter.total().cost_usd

    assert cost("something-new") == cost("") >= cost("claude-opus-4-1") > cost("claude-haiku-4-5")


class Time:
    def __init__(self) -> None:
        self.now = 100.0
        self.changes = 0

    def __call__(self) -> float:
        return self.now

    def changed(self) -> None:
        self.changes += 1


def reason(pulse: Pulse) -> FailureReason | None:
    overdue = pulse.overdue()
    return overdue.reason if overdue else None


def test_each_silence_has_its_own_name() -> None:
    time = Time()
    pulse = Pulse(Watchdog(first_message=10, idle=20, after_result=5, total=100), time, time.changed)
    assert pulse.remaining() == 10
    time.now += 9
    pulse.heard(model=False)  # a sign of life, but not of the model
    assert reason(pulse) is None
    time.now += 1
    assert reason(pulse) is FailureReason.AGENT_NO_FIRST_MESSAGE
    pulse.heard(model=True)
    assert reason(pulse) is None
    time.now += 20
    assert reason(pulse) is FailureReason.AGENT_IDLE
    pulse.finished()
    time.now += 5
    assert reason(pulse) is FailureReason.AGENT_NO_EXIT
    pulse.heard(model=True)  # a background task woke it up: it goes on
    assert reason(pulse) is None
    time.now = 199
    pulse.heard(model=True)
    time.now = 200
    assert reason(pulse) is FailureReason.TIMEOUT


def test_waiting_at_our_own_gate_is_no_silence_but_time_goes_on() -> None:
    time = Time()
    pulse = Pulse(Watchdog(first_message=10, idle=20, after_result=5, total=100), time, time.changed)
    pulse.heard(model=True)
    pulse.gate(entered=True)
    time.now += 50
    assert reason(pulse) is None
    pulse.gate(entered=False)
    assert pulse.remaining() == 20
    pulse.gate(entered=True)
    time.now += 50
    assert reason(pulse) is FailureReason.TIMEOUT
    assert time.changes == 4


@pytest.mark.parametrize(
    ("title", "branch"),
    [
        ("Add a Login!", "agentvine/feature/23456789-add-a-login"),
        ("  --..//", "agentvine/feature/23456789"),
        ("漢字", "agentvine/feature/23456789"),
        ("x" * 100, "agentvine/feature/23456789-" + "x" * 40),
        ("a" * 39 + " b", "agentvine/feature/23456789-" + "a" * 39),
        ("release.lock", "agentvine/feature/23456789-release-lock"),
    ],
)
def test_a_task_has_one_branch_and_its_name_is_safe(title: str, branch: str) -> None:
    assert own_branch("tsk_0000000000000000123456789", "feature", title) == branch
