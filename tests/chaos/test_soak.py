"""What grows is told from what comes and goes."""

from pathlib import Path

from tests.chaos.soak import BOUNDS, GROWS, Samples


def seen(descriptors: list[float]) -> Samples:
    """A look every ten seconds at which all but the worker's descriptors stay as they are."""
    samples = Samples(Path("unused"))
    samples.times = [10.0 * number for number in range(len(descriptors))]
    samples.rows = [dict.fromkeys((*BOUNDS, *GROWS), 50.0) | {"worker descriptors": number} for number in descriptors]
    return samples


def told(samples: Samples) -> set[str]:
    return {trend.name for trend in samples.trends() if not trend.flat}


def test_a_leak_is_told_and_work_that_comes_and_goes_is_not() -> None:
    leaks = [10.0 + number / 30 for number in range(300)]
    busier = [10.0 + (number % 7) * number / 60 for number in range(300)]
    assert told(seen(leaks)) == {"worker descriptors"}
    assert told(seen(busier)) == set()


def test_a_run_that_was_too_short_tells_nothing() -> None:
    assert seen([10.0] * 50).trends() == []
