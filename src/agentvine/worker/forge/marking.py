"""Hidden comments by which our texts on a forge are known again.

Around our part of a pull request's text stand two of them; what people write before or behind it is theirs and stays.
Text of agents cannot hold one (harmless.py).
"""

import re

from agentvine.worker.forge.harmless import bounded, harmless

_CUT = "(The rest is too long for this place. `agentvine result` shows all of it.)"


def begin(mark: str) -> str:
    """The comment before the text that is known by `mark`."""
    return f"<!-- agentvine:{mark} -->"


def end(mark: str) -> str:
    """The comment behind it."""
    return f"<!-- /agentvine:{mark} -->"


def marked(text: str, mark: str, most: int) -> str:
    """`text`, harmless, between the comments of `mark`, at most `most` characters in all."""
    room = most - len(begin(mark)) - len(end(mark)) - 4
    return f"{begin(mark)}\n{bounded(harmless(text[: 2 * most]).strip(), room, _CUT)}\n\n{end(mark)}"


def carries(body: str | None, mark: str) -> bool:
    """True if `body` holds a text known by `mark`."""
    return begin(mark) in (body or "")


def with_part(body: str | None, text: str, mark: str, most: int) -> str:
    """`body` with our part renewed, or with it at the end if there was none; people's text is kept if it fits."""
    theirs = (body or "").replace("\r\n", "\n")
    part = re.compile(f"{re.escape(begin(mark))}.*?(?:{re.escape(end(mark))}|\\Z)", re.DOTALL)
    rest = len(part.sub("", theirs))
    ours = marked(text, mark, max(most - rest - 2, most // 2))
    if part.search(theirs):
        return part.sub(lambda _: ours, theirs, count=1)[:most]
    return f"{theirs.rstrip()}\n\n{ours}".strip() if rest + len(ours) + 2 <= most else ours
