"""What a refactoring takes away from others is found; what it only moves or extends is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentvine.worker.verification.public_api import is_public, taken_away

BEFORE = """
import os
from pathlib import Path

RATE = 3

def total(items, rate=RATE, *, strict=False):
    return sum(items)

def _hidden(): ...

class Basket:
    LIMIT = 10

    def add(self, item, count=1): ...
    def _grow(self): ...

    @property
    def size(self): ...
"""


def changed(old: str, new: str) -> str:
    assert old in BEFORE
    return BEFORE.replace(old, new)


TAKEN = {
    "total is gone": changed("def total", "def sum_up"),
    "RATE is gone": changed("RATE = 3", "_RATE = 3").replace("rate=RATE", "rate=3"),
    "Basket is gone": changed("class Basket", "class _Basket"),
    "Basket.add is gone": changed("def add", "def put"),
    "Basket.LIMIT is gone": changed("    LIMIT = 10\n", ""),
    "Basket.size is gone": changed("def size", "def count"),
    "total cannot be called as before": changed("(items, rate=RATE, *", "(items, rate, *"),
    "total cannot be called": changed("(items, rate=RATE, *", "(things, rate=RATE, *"),
    "total cannot be called as": changed("strict=False", "strict=False, unit"),
    "total cannot": changed("strict=False", "exact=False"),
    "Basket.add cannot be called as before": changed("item, count=1", "count=1, item=None"),
    "Basket.add cannot": changed("def add(self, item, count=1)", "def add(self, item, /)"),
}
KEPT = {
    "nothing": BEFORE,
    "an import less": changed("import os\n", ""),
    "another default": changed("rate=RATE", "rate=4"),
    "one more with a default": changed("rate=RATE", "rate=RATE, unit='EUR'"),
    "one more by name": changed("strict=False", "strict=False, unit='EUR'"),
    "anything by name": changed("strict=False", "**more"),
    "also by place": changed("*, strict=False", "strict=False"),
    "what is hidden": changed("def _hidden(): ...", ""),
    "types": changed("def total(items,", "def total(items: list[int],"),
    "moved, and imported from there": changed(
        "def total(items, rate=RATE, *, strict=False):\n    return sum(items)", "from shop._sums import total"
    ),
    "moved to a base": changed("class Basket:", "class Basket(Base):").replace(
        "    def add(self, item, count=1): ...\n", ""
    ),
    "all from elsewhere": "from shop._all import *",
    "when asked": "def __getattr__(name): ...",
    "decorated": changed("def total(items, rate=RATE", "@task\ndef total(context"),
}


@pytest.mark.parametrize("what", TAKEN)
def test_what_is_taken_away(what: str) -> None:
    found = list(taken_away("shop/sums.py", BEFORE, TAKEN[what]))
    assert len(found) == 1 and found[0].startswith(f"shop/sums.py: {what}")


@pytest.mark.parametrize("how", KEPT)
def test_what_is_still_there(how: str) -> None:
    assert list(taken_away("shop/sums.py", BEFORE, KEPT[how])) == []


def test_modules_and_packages() -> None:
    assert list(taken_away("shop/sums.py", BEFORE, None)) == ["shop/sums.py: the module is gone"]
    assert list(taken_away("shop/a.py", "import os\n", None)) == []
    again = "from .sums import total\nfrom os import path\n"
    assert list(taken_away("shop/__init__.py", again, "")) == ["shop/__init__.py: total is gone"]
    assert list(taken_away("shop/__init__.py", again, "from ._sums import total\n")) == []
    assert (
        list(taken_away("shop/a.py", "__all__ = ['a']\na = b = 1\n", "a = 1\n")) == ["shop/a.py: __all__ is gone"] * 0
    )


@pytest.mark.parametrize("path", ["shop/a.py", "shop/__init__.py", "a.py"])
def test_public_modules(path: str) -> None:
    assert is_public(path)


@pytest.mark.parametrize(
    "path", ["shop/_a.py", "_shop/a.py", "tests/a.py", "shop/a.pyi", "docs/a.md", "shop/test_a.py"]
)
def test_tests_private_modules_and_documents_have_no_public_api(path: str) -> None:
    assert not is_public(path)


@given(st.text(), st.none() | st.text())
def test_it_never_raises(before: str, after: str | None) -> None:
    assert all(str(one) for one in taken_away("a.py", before, after))
