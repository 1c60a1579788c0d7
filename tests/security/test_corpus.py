"""Hostile repositories and task texts, each in a whole execution with the real Claude Code. None gains anything."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio

from tests.security.cases import Case
from tests.security.corpus import CORPUS, EXECUTIONS, SHARE
from tests.security.estate import Estate, Outcome, estate


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def there() -> AsyncIterator[Estate]:
    with TemporaryDirectory(prefix="av-") as folder:
        async with estate(Path(folder), EXECUTIONS) as made:
            yield made


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All cases with `--every-case`, else a share of them."""
    if "case" in metafunc.fixturenames:
        tried = EXECUTIONS if metafunc.config.getoption("--every-case") else SHARE
        metafunc.parametrize("case", tried, ids=lambda case: case.name)


@pytest.mark.asyncio(loop_scope="module")
async def test_it_gains_nothing(case: Case, there: Estate) -> None:
    there.model.model.requests.clear()
    there.model.model.failures.clear()
    there.here.contacts.clear()
    untouched = there.here.fingerprint()
    outcome = await there.run(case)
    assert await there.harm(outcome) == []
    assert there.here.fingerprint() == untouched
    assert outcome.ended in case.ends, outcome.order.failure
    assert there.model.model.failures == []
    await _holds(case, outcome)


async def _holds(case: Case, outcome: Outcome) -> None:
    for path, text in case.delivers.items():
        content = await outcome.delivered(path)
        assert content is not None if text is None else re.search(text, content or ""), path
    for path in case.never:
        assert await outcome.delivered(path) is None, path
    shown = ""
    if outcome.evidence is not None:
        assert outcome.evidence.sandbox.startswith("bubblewrap")
        shown = outcome.evidence.model_dump_json()
    assert [text for text in case.proves if not re.search(text, shown)] == [], shown
    assert [text for text in case.disproves if re.search(text, shown)] == [], shown


async def test_what_happens_without_a_sandbox_is_seen() -> None:
    """The same payload, with none: so the silence of the others means something."""
    case = Case("no sandbox", ("python3 payload.py",), settings="unconfined")
    with TemporaryDirectory(prefix="av-") as folder:
        async with estate(Path(folder), [case]) as open_house:
            untouched = open_house.here.fingerprint()
            outcome = await open_house.run(case)
            seen = "\n".join(await open_house.harm(outcome))
            assert open_house.here.fingerprint() != untouched
    for kept in ("what the model was sent", "what the server keeps"):
        assert f"a private file is in {kept}" in seen
        assert f"another execution's work is in {kept}" in seen
    assert "a stream: b'GET /" in seen
    assert "a datagram: b'from within'" in seen
    assert outcome.evidence is not None
    assert outcome.evidence.sandbox.startswith("none")


def test_the_cases_are_many_and_have_names_of_their_own() -> None:
    assert len({case.name for case in CORPUS}) == len(CORPUS) >= 40
