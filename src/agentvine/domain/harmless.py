"""Text of agents and of repositories, made so that a forge only shows it.

Forges act on what they are sent: they notify whom it mentions, close what it says to close, load the images in it, and
GitLab carries out lines such as `/merge` ("quick actions", also in text that comes through the API). A space of no
width, put where such a thing begins, ends that. It works inside and outside of code, so nothing depends on reading
Markdown the way that each forge does; what is shown stays the same.
"""

import re

GAP = "\u200b"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Bidirectional overrides too: they make a line read otherwise than it is."""
_GAPS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.MULTILINE), replacement)
    for pattern, replacement in (
        # A character reference may stand for any of the characters below.
        (r"&(?=#|[a-z][a-z0-9]*;)", f"&{GAP}"),
        # Tags and comments: no image, no form, and no marker of ours.
        (r"<(?=[a-z/!?])", f"<{GAP}"),
        (r"!(?=\[)", f"!{GAP}"),
        # Mentions. A word character before it makes it an e-mail address, but `_` may be emphasis.
        (r"(?<![a-z0-9])@(?=[\w-])", f"@{GAP}"),
        # References: with a keyword they close, without one they write into the other's history.
        (r"(?<=[#!])(?=\d)", GAP),
        (r"\bGH-(?=\d)", f"GH-{GAP}"),
        (r"/(issues|pull|pulls|merge_requests|work_items|epics)/(?=\d)", rf"/\1/{GAP}"),
        (
            r"\b((?:clos|fix|resolv|implement)(?:e[sd]?|ing|s|ed)?:?\s+(?:issues?:?\s+)?[a-z][a-z0-9_]+-)(?=\d)",
            rf"\1{GAP}",
        ),
        (r"\[(?=(issue|work_item|epic):)", f"[{GAP}"),
        # A line that begins with a slash is an order to GitLab, and to many a bot.
        (r"^([ \t>*+-]*)/(?=[a-z])", rf"\1{GAP}/"),
        (r"^([ \t]*)::(?=include)", rf"\1{GAP}::"),
    )
)


def harmless(text: str) -> str:
    """`text` without anything that a forge would act on."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
    for pattern, replacement in _GAPS:
        text = pattern.sub(replacement, text)
    return text


def harmless_line(text: str, most: int) -> str:
    """`text` as one harmless line of at most `most` characters."""
    line = harmless(" ".join(text.split()))
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def quoted(text: str) -> str:
    """`text` as a quotation: whatever block it begins or forgets to end, ends with it."""
    return "\n".join(f"> {line}".rstrip() for line in text.strip().splitlines())


def fenced(text: str) -> str:
    """`text` as a block of code that nothing in it can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def bounded(text: str, most: int, note: str) -> str:
    """At most `most` characters of `text`, cut at a line's end, with `note` behind what was cut."""
    if len(text) <= most:
        return text
    kept = text[: max(0, most - len(note) - 20)]
    kept = kept[: kept.rfind("\n") + 1] or kept
    fence = _open_fence(kept)
    closing = f"{fence}\n" if fence else ""
    return f"{kept.rstrip()}\n{closing}\n{note}"[:most]


def _open_fence(text: str) -> str:
    """The fence of a block of code that `text` begins and does not end; empty if there is none."""
    fence = ""
    for line in text.splitlines():
        found = re.match(r" {0,3}(`{3,}|~{3,})(.*)", line)
        if found is None:
            continue
        if not fence:
            fence = found[1]
        elif found[1][0] == fence[0] and len(found[1]) >= len(fence) and not found[2].strip():
            fence = ""
    return fence
