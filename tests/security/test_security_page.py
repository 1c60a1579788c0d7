"""The page on security lists what is attacked. To mend it: `python -m tests.security.test_security_page`."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import fill

from tests.security import corpus_bases, corpus_git, corpus_runs, corpus_texts, probes, probes_inside
from tests.security.cases import Case
from tests.security.corpus import CORPUS
from tests.security.probes import Probe

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
ATTEMPTS: Mapping[str, Sequence[Probe]] = {
    "Files": probes.FILES,
    "Writing": probes.WRITES,
    "Rights": probes.PRIVILEGES,
    "The kernel": probes.KERNEL,
    "Processes": probes.PROCESSES,
    "The network": probes.NETWORK,
    "The proxy": probes_inside.PROXY,
    "The gateway to the model": probes_inside.GATEWAY,
    "Secrets": probes_inside.SECRETS,
}
CASES: Mapping[str, Sequence[Case]] = {
    "What git would run": corpus_git.CONFIGURATION,
    "History": corpus_git.HISTORY,
    "Results": corpus_git.RESULTS,
    "What Claude Code would read": corpus_bases.CLAUDE,
    "Set-up, tests and their reports": corpus_bases.COMMANDS,
    "Trees": corpus_bases.TREES,
    "Floods": corpus_runs.FLOODS,
    "What is left behind, and what strikes back": corpus_runs.LEFTOVERS,
    "Tasks": corpus_texts.ORDERS,
}


def listed(groups: Mapping[str, Iterable[Probe | Case]]) -> str:
    """The names, a bullet for each group."""
    bullets = []
    for title, members in groups.items():
        names = [member.name.replace("\\", "").replace("*", "") for member in members]
        text = f"- *{title}* ({len(names)}): {'; '.join(names)}."
        bullets.append(fill(text, 120, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False))
    return "\n".join(bullets)


def filled(page: str, name: str, content: str) -> str:
    """`page` with `content` between the markers called `name`."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, found, rest = page.partition(begin)
    assert found, f"the page has no marker {begin!r}"
    return f"{before}{begin}{content}\n{end}{rest.partition(end)[2]}"


def written() -> str:
    """The page as it should be."""
    page = PAGE.read_text(encoding="utf-8")
    return filled(filled(page, "attempts", listed(ATTEMPTS)), "cases", listed(CASES))


def test_the_page_lists_what_is_attacked() -> None:
    assert PAGE.read_text(encoding="utf-8") == written()


def test_nothing_is_attacked_that_the_page_does_not_list() -> None:
    cases = {case.name for group in CASES.values() for case in group}
    attempts = {probe.name for group in ATTEMPTS.values() for probe in group}
    assert cases == {case.name for case in CORPUS}
    assert {probe.name for probe in probes_inside.INSIDE} <= attempts
    assert len(cases) >= 40
    assert len(attempts) >= 80


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
