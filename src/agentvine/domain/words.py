"""Words in a text, as the policy looks for them."""

import re
from functools import cache

WORD = re.compile(r"\w+")


def spaced(text: str) -> str:
    """The words of `text` in small letters, with one space around each; all else counts as white space."""
    return f" {' '.join(WORD.findall(text.casefold()))} "


@cache
def part(words: str) -> str:
    """What `spaced` text must hold for these words to be in it, where a `*` may begin or end them."""
    found = spaced(words)
    found = found[1:] if words.startswith("*") else found
    return found[:-1] if words.endswith("*") else found
