"""The page on the lifecycle shows what the tables say. To mend it: `python -m tests.docs.test_lifecycle_page`."""

from agentvine.domain.lifecycle import TRANSITIONS
from agentvine.domain.retry import RETRY_RULES
from tests.docs.pages import DOCS, filled

PAGE = DOCS / "lifecycle.md"


def picture() -> str:
    """The transitions as a Mermaid state diagram."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> pending: submit"]
    for (status, move), targets in TRANSITIONS.items():
        lines += [f"    {status} --> {target}: {move.__name__.lower()}" for target in sorted(targets)]
    return "\n".join([*lines, "```"])


def rules() -> str:
    """The retry rules as a table."""
    lines = ["| Reason | Tried again | Attempt counts | First delay |", "|---|---|---|---|"]
    for reason, rule in RETRY_RULES.items():
        again = ("yes", "yes" if rule.counts else "no", f"{rule.first_delay:g} s") if rule.retry else ("no", "", "")
        lines.append(f"| `{reason}` | {' | '.join(again)} |")
    return "\n".join(lines)


def written() -> str:
    """The page as it should be."""
    page = PAGE.read_text(encoding="utf-8")
    return filled(filled(page, "lifecycle", picture()), "retry", rules())


def test_the_page_shows_the_tables() -> None:
    assert PAGE.read_text(encoding="utf-8") == written()


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
