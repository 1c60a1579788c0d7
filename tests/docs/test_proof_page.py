"""The page on the corpora lists every case. To mend it: `python -m tests.docs.test_proof_page`."""

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.docs.pages import DOCS, filled
from tests.proof.case import Case, Cheat
from tests.proof.corpora import CHEATS, HONEST
from tests.proof.repositories import ECOSYSTEMS

PAGE = DOCS / "proof.md"


def _rows(cases: Sequence[Case]) -> Iterator[str]:
    for case in cases:
        cells = [f"`{case.name}`", case.type.value, ECOSYSTEMS[case.base], case.does]
        if isinstance(case, Cheat):
            cells.append(case.caught_by)
        yield f"| {' | '.join(cells)} |"


def _table(cases: Sequence[Case], *titles: str) -> str:
    return "\n".join([f"| {' | '.join(titles)} |", "|---" * len(titles) + "|", *_rows(cases)])


def _counts() -> str:
    lines = ["| type | cheats | honest runs |", "|---|---|---|"]
    cheats, honest = (Counter(case.type.value for case in cases) for cases in (CHEATS, HONEST))
    lines += [f"| {kind} | {cheats[kind]} | {honest[kind]} |" for kind in cheats]
    places = [Counter(ECOSYSTEMS[case.base] for case in cases) for cases in (CHEATS, HONEST)]
    lines += [f"| in {place} | {places[0][place]} | {places[1][place]} |" for place in places[0]]
    return "\n".join([*lines, f"| all | {len(CHEATS)} | {len(HONEST)} |"])


def written() -> str:
    """The page as it should be."""
    page = filled(PAGE.read_text(encoding="utf-8"), "counts", _counts())
    page = filled(page, "cheats", _table(CHEATS, "cheat", "type", "in", "what it does", "what catches it"))
    return filled(page, "honest", _table(HONEST, "run", "type", "in", "what it does"))


def test_the_page_lists_every_case() -> None:
    assert PAGE.read_text(encoding="utf-8") == written()


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
