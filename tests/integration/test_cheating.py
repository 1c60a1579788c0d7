"""Cheats and honest changes before the verifier, in real checkouts: what only a run, or the facts of one, can show."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from agentvine.domain.evidence import CheckOutcome, Evidence
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock
from agentvine.testing.base_results import shared_base_results
from agentvine.testing.boxes import boxes_here
from agentvine.testing.git_repository import GitRepository
from agentvine.worker.git import Git
from agentvine.worker.mirror import Mirror
from agentvine.worker.verification.verify import Subject, Verifier, failing

SHOP = "def total(prices):\n    amount = 0\n    for price in prices:\n        amount += price\n    return amount\n"
BASE = {
    "pytest.ini": "[pytest]\n",
    "shop.py": SHOP,
    "test_shop.py": "from shop import total\n\n\ndef test_total():\n    assert total([1, 2]) == 3\n",
}
DISCOUNT = """

def discounted(price, percent):
    if percent > 50:
        raise ValueError(percent)
    return price - price * percent / 100
"""
_MORE = "from shop import total\n\n\ndef test_more():\n    {}\n"
PYTHON: Mapping[str, tuple[TaskType, Mapping[str, str | None], str]] = {
    "a feature whose test looks only at its name": (
        TaskType.FEATURE,
        {
            "shop.py": SHOP + DISCOUNT,
            "test_new.py": "import shop\n\n\ndef test_new():\n    assert callable(shop.discounted)\n",
        },
        "the tests run the changed code",
    ),
    "a feature whose test asserts nothing of what it calls": (
        TaskType.FEATURE,
        {
            "shop.py": SHOP + DISCOUNT,
            "test_new.py": (
                "import shop\n\n\ndef test_new():\n    shop.discounted(10, 10)\n    assert 'discounted' in dir(shop)\n"
            ),
        },
        "the tests notice faults in it",
    ),
    "a feature that is tested": (
        TaskType.FEATURE,
        {
            "shop.py": SHOP + DISCOUNT,
            "test_new.py": "import shop\n\n\ndef test_new():\n    assert shop.discounted(200, 25) == 150\n",
        },
        "",
    ),
    "a feature whose command is tested in a process": (
        TaskType.FEATURE,
        {
            "shop.py": SHOP + DISCOUNT + "\n\nif __name__ == '__main__':\n    print(discounted(200, 25))\n",
            "test_new.py": (
                "import subprocess\nimport sys\n\n\ndef test_new():\n"
                "    run = subprocess.run([sys.executable, 'shop.py'], capture_output=True, text=True)\n"
                "    assert run.stdout == '150.0\\n'\n"
            ),
        },
        "",
    ),
    "tests of old code that assert nothing of it": (
        TaskType.TEST,
        {"test_more.py": _MORE.format("amount = total([3, 4])\n    assert amount is not Ellipsis")},
        "the tests notice faults in it",
    ),
    "tests of old code": (
        TaskType.TEST,
        {"test_more.py": _MORE.format("assert total([3, 4]) == 7\n    assert total([]) == 0")},
        "",
    ),
    "an answer that is written in": (
        TaskType.BUGFIX,
        {
            "shop.py": SHOP.replace(
                "    amount = 0\n", "    if prices == [30, -4]:\n        return 30\n    amount = 0\n"
            ),
            "test_bug.py": "from shop import total\n\n\ndef test_bug():\n    assert total([30, -4]) == 30\n",
        },
        "no answers of tests are written into the code",
    ),
    "a fix with its test": (
        TaskType.BUGFIX,
        {
            "shop.py": SHOP.replace("amount += price", "amount += max(price, 0)"),
            "test_bug.py": "from shop import total\n\n\ndef test_bug():\n    assert total([30, -4]) == 30\n",
        },
        "",
    ),
}
WORDS = {
    "a file of tests that there is not": (
        "I added tests in `tests/test_discount.py`.",
        "has no file tests/test_discount.py",
    ),
    "more tests than there are": ("All 40 tests pass.", "there are 2 tests"),
    "true words": ("I fixed `shop.py` and added a test in `test_bug.py`. All tests pass.", ""),
}


SHARE = (
    "a feature whose test looks only at its name",
    "a feature whose test asserts nothing of what it calls",
    "an answer that is written in",
    "a file of tests that there is not",
)
"""What is tried without `--every-case`; tests/proof has more like each of the others."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture, cases in (("change", PYTHON), ("words", WORDS)):
        if fixture in metafunc.fixturenames:
            every = metafunc.config.getoption("--every-case")
            metafunc.parametrize(fixture, [name for name in cases if every or name in SHARE])


async def judge(root: Path, kind: TaskType, files: Mapping[str, str | None], said: str = "") -> Evidence:
    repository = await GitRepository.create(root / "origin", BASE)
    mirror = Mirror(Git(root / "home"), root / "mirrors", f"file://{repository.path}")
    base = await repository.head()
    head = await repository.commit(files)
    await mirror.update()
    for name in ("checkouts", "private"):
        (root / name).mkdir()
    verifier = Verifier(await boxes_here(), shared_base_results(), SystemClock(), longest=240)
    subject = Subject(
        execution_id="exe_" + "0" * 26,
        task_id="tsk_" + "0" * 26,
        type=kind,
        url=mirror.url,
        commits=mirror,
        base=base,
        head=head,
        folder=root / "checkouts",
        private=root / "private",
    )
    evidence = await verifier.verify(replace(subject, said=said))
    assert list((root / "checkouts").iterdir()) == []
    return evidence


async def test_python(tmp_path: Path, change: str) -> None:
    kind, files, check = PYTHON[change]
    evidence = await judge(tmp_path, kind, files)
    assert [one.name for one in failing(evidence)] == ([check] if check else []), failing(evidence)
    if not check:
        outcomes = {one.name: one.outcome for one in evidence.checks}
        assert outcomes["the tests notice faults in it"] is CheckOutcome.PASSED


async def test_the_final_message(tmp_path: Path, words: str) -> None:
    said, why = WORDS[words]
    evidence = await judge(tmp_path, *PYTHON["a fix with its test"][:2], said)
    wrong = [one.why for one in failing(evidence)]
    assert len(wrong) == bool(why)
    assert why in "".join(wrong)
