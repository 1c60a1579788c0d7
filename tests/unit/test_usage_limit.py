"""When the model can be used again, from the CLI's words and from a limit that the fleet remembers."""

from datetime import UTC, datetime, timedelta

import pytest
from claude_agent_sdk import ResultMessage  # noqa: TID251  what the CLI's words come in

from agentvine.domain.model_limit import ModelLimit, account_of
from agentvine.domain.retry import FailureReason
from agentvine.worker.agent.outcome import ApiTrouble, of_result
from agentvine.worker.agent.usage_limit import is_told, seconds_left

NOW = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
SAID = {
    "Claude AI usage limit reached|1773149400": 3600.0,
    "You've hit your limit · resets 3pm (Europe/Berlin)": 1.5 * 3600,
    "You've hit your weekly limit · resets 12:30pm (UTC)": 24 * 3600,
    "5-hour limit reached ∙ resets 1:15pm": 45 * 60,
    "5-hour limit reached ∙ resets 12am (Atlantis/Nowhere)": 11.5 * 3600,
    "Claude AI usage limit reached|1600000000": None,
    "Weekly limit reached ∙ resets 25pm": None,
    "Opus limit reached": None,
}


@pytest.mark.parametrize(("said", "left"), SAID.items())
def test_the_reset_is_read_from_the_cli_s_words(said: str, left: float | None) -> None:
    assert is_told(said)
    assert seconds_left(said, NOW) == left


def test_other_words_are_no_limit() -> None:
    for said in ("limit exceeded", "the limit of the loop is reached", "resets 3pm", "API Error: 529"):
        assert not is_told(said)


@pytest.mark.parametrize("trouble", [None, ApiTrouble(429, 120.0)])
def test_a_result_that_tells_of_a_limit_is_one(trouble: ApiTrouble | None) -> None:
    for said, left in SAID.items():
        result = ResultMessage("success", 1, 1, True, 1, "session", result=said)
        failure = of_result(result, trouble, NOW)
        assert failure is not None
        assert failure.reason is FailureReason.MODEL_RATE_LIMITED
        assert failure.retry_after_seconds == (left or (trouble.retry_after if trouble else None))


@pytest.mark.parametrize(("seconds", "spread"), [(5, 2.0), (600, 60.0), (18_000, 120.0)])
def test_after_a_limit_workers_begin_one_after_the_other(seconds: int, spread: float) -> None:
    until = NOW + timedelta(seconds=seconds)
    limit = ModelLimit(account="default", until=until, told_at=NOW, told_by="wrk_1", why="used up")
    begins = sorted((limit.begins(f"wrk_{number}") - until).total_seconds() for number in range(200))
    assert limit.spread == spread
    assert 0 <= begins[0] <= begins[-1] < spread
    quarters = [sum(spread * part / 4 <= each < spread * (part + 1) / 4 for each in begins) for part in range(4)]
    assert min(quarters) > 20
    assert limit.begins("wrk_1") == limit.begins("wrk_1")


def test_an_account_is_an_address_with_a_key_and_tells_neither() -> None:
    accounts = {account_of(url, key) for url in (None, "http://a") for key in ("sk-1", "sk-2")}
    assert len(accounts) == 4
    assert all(len(account) == 12 and "sk" not in account for account in accounts)
    assert account_of("http://a", None) == "default"
