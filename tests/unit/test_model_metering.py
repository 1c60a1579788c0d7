"""Reading what an answer used out of the answer, and what that costs."""

import json

import pytest

from agentvine.worker.sandbox.metering import AnswerMeter, PriceList, Tokens, list_prices

PRICES = PriceList.parse(
    """
    [defaults]
    cache_read = 0.1
    cache_write_5m = 1.25
    cache_write_1h = 2.0
    fast = 6.0
    us_only = 1.1
    [models]
    small = { input = 1, output = 5 }
    small-2 = { input = 2, output = 10, cache_read = 0.05, fast = 2 }
    large = { input = 10, output = 50 }
    long = { input = 1, output = 2, long = { above = 1000, input = 3, output = 4 } }
    """
)
MILLION = 1_000_000


def events(*objects: object) -> bytes:
    return b"".join(b"event: x\ndata: " + json.dumps(one).encode() + b"\n\n" for one in objects)


def start(**usage: object) -> object:
    return {"type": "message_start", "message": {"id": "m", "usage": usage}}


def delta(**usage: object) -> object:
    return {"type": "message_delta", "delta": {}, "usage": usage}


def words(text: str) -> object:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


@pytest.mark.parametrize(
    ("model", "price"),
    [
        ("small", 1.0), ("small-20250101", 1.0), ("small-2", 2.0), ("small-2-20250101", 2.0), ("small-2[1m]", 2.0),
        ("smaller", 10.0), ("unknown", 10.0), ("", 10.0),
    ],
)  # fmt: skip
def test_the_longest_name_counts_and_an_unknown_model_costs_the_most(model: str, price: float) -> None:
    assert PRICES.cost(model, Tokens(input=MILLION)) == pytest.approx(price)


def test_caches_speed_and_place_have_their_factors() -> None:
    assert PRICES.cost("small", Tokens(cache_read=MILLION)) == pytest.approx(0.1)
    assert PRICES.cost("small-2", Tokens(cache_read=MILLION)) == pytest.approx(0.1)
    assert PRICES.cost("small", Tokens(cache_write_5m=MILLION)) == pytest.approx(1.25)
    assert PRICES.cost("small", Tokens(cache_write_1h=MILLION)) == pytest.approx(2.0)
    assert PRICES.cost("small", Tokens(output=MILLION)) == pytest.approx(5.0)
    assert PRICES.cost("small", Tokens(input=MILLION), fast=True) == pytest.approx(6.0)
    assert PRICES.cost("small-2", Tokens(input=MILLION), fast=True) == pytest.approx(4.0)
    assert PRICES.cost("small", Tokens(input=MILLION), us_only=True) == pytest.approx(1.1)


def test_a_long_prompt_makes_everything_dearer() -> None:
    assert PRICES.cost("long", Tokens(input=1000, output=1000)) == pytest.approx(3000 / MILLION)
    assert PRICES.cost("long", Tokens(input=1, cache_read=1000, output=1000)) == pytest.approx(
        (101 * 3 + 4000) / MILLION
    )


def test_the_list_that_comes_along_is_sound() -> None:
    prices = list_prices()
    assert len(prices.models) > 20
    assert all(0 < price.input < price.output for price in prices.models.values())
    assert prices.cost("claude-opus-4-1-20250805", Tokens(input=MILLION)) == pytest.approx(15)
    assert prices.cost("claude-opus-5-5", Tokens(input=MILLION, cache_read=MILLION)) == pytest.approx(4.2)


def test_a_stream_tells_its_size_at_both_ends() -> None:
    meter = AnswerMeter(streamed=True, sent=4000)
    stream = events(
        start(input_tokens=10, cache_read_input_tokens=20, cache_creation_input_tokens=30, output_tokens=1),
        words("hello" * 100),
        delta(output_tokens=77),
        {"type": "message_stop"},
    )
    for at in range(0, len(stream), 7):  # however it is cut
        meter.read(stream[at : at + 7])
    meter.end()
    assert meter.tokens == Tokens(input=10, output=77, cache_read=20, cache_write_5m=30)


def test_the_hour_long_part_of_what_is_written_to_the_cache() -> None:
    meter = AnswerMeter(streamed=True, sent=0)
    written = {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}
    meter.read(events(start(cache_creation_input_tokens=30, cache_creation=written), delta(output_tokens=1)))
    assert (meter.tokens.cache_write_5m, meter.tokens.cache_write_1h) == (10, 20)


def test_an_answer_that_is_broken_off_is_estimated_on_the_safe_side() -> None:
    meter = AnswerMeter(streamed=True, sent=3000)
    text = "word " * 1000
    meter.read(events(start(input_tokens=5, output_tokens=1), *[words(text)] * 3))
    assert meter.tokens.input == 5
    assert meter.tokens.output >= 3 * len(text) / 4
    silent = AnswerMeter(streamed=True, sent=3000)
    assert silent.tokens == Tokens(input=1000)


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_is_not_read_to_its_end_is_as_long_as_it_may_be(streamed: bool) -> None:
    meter = AnswerMeter(streamed=streamed, sent=3000, most=64_000)
    assert meter.tokens.output == 0
    meter.give_up()
    assert meter.tokens == Tokens(input=1000, output=64_000)
    meter = AnswerMeter(streamed=True, sent=3000, most=64_000)
    meter.read(events(start(input_tokens=5, output_tokens=1), delta(output_tokens=7)))
    meter.give_up()  # all that matters was told
    assert meter.tokens == Tokens(input=5, output=7)


def test_a_request_full_of_images_is_not_taken_for_text() -> None:
    assert AnswerMeter(streamed=True, sent=30 << 20).tokens.input == MILLION


def test_a_later_word_never_makes_an_answer_cheaper() -> None:
    meter = AnswerMeter(streamed=True, sent=0)
    meter.read(events(start(input_tokens=100), delta(output_tokens=50), delta(output_tokens=1), start(input_tokens=0)))
    assert meter.tokens == Tokens(input=100, output=50)


def test_a_whole_answer() -> None:
    meter = AnswerMeter(streamed=False, sent=10)
    body = json.dumps({"type": "message", "content": [], "usage": {"input_tokens": 3, "output_tokens": 4}}).encode()
    meter.read(body[:20])
    meter.read(body[20:])
    meter.end()
    assert meter.tokens == Tokens(input=3, output=4)


@pytest.mark.parametrize(
    "stream", [b'data: nonsense "usage"\n', b'data: {"type": "message_delta", "usage": 7}\n', b"\xff\n"]
)
def test_nonsense_is_passed_over(stream: bytes) -> None:
    meter = AnswerMeter(streamed=True, sent=0)
    meter.read(stream)
    meter.end()
    assert meter.tokens.input == 0
