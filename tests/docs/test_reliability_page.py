"""The page on reliability lists every failpoint. To mend it: `python -m tests.docs.test_reliability_page`."""

from collections.abc import Mapping

from agentvine.kit import failpoints
from tests.chaos.history import INVARIANTS
from tests.docs.pages import DOCS, filled

PAGE = DOCS / "reliability.md"


def table(title: str, rows: Mapping[str, str]) -> str:
    lines = [f"| {title} | |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{name}` | {sentence} |" for name, sentence in rows.items())])


def written() -> str:
    """The page as it should be."""
    page = filled(PAGE.read_text(encoding="utf-8"), "operations", table("Name", failpoints.OPERATIONS))
    places = {**failpoints.SERVER_PLACES, **failpoints.WORKER_PLACES, **failpoints.PLANTED}
    return filled(page, "places", table("Place", places))


def test_the_page_lists_every_failpoint() -> None:
    assert PAGE.read_text(encoding="utf-8") == written()


def test_the_page_names_every_invariant() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in INVARIANTS if f"| {name} |" not in page] == []


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
