"""Takes secrets out of text: those that are known, in the forms in which they travel, and what looks like one.

It is a net for accidents. Whoever holds a secret and wants to smuggle it out can write it in a form that nobody knows;
against that only helps that he does not hold it.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote, urlsplit

from pydantic import JsonValue

REDACTED = "[redacted]"
SHORTEST = 6
"""Characters of the shortest secret that is looked for; a shorter one would be found in ordinary words."""
_MOST = 32
_SHORTEST_PIECE = 8
_SHORTEST_CODED = 10
_SHAPES: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...] = (
    (
        (
            *("sk-ant-", "av_", "avs_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
            *("glpat-", "AKIA", "ASIA", "eyJ", "AIza", "xox"),
        ),
        # Without a boundary before it: a letter may stand there, as the last one of an escape sequence or of `\n`.
        re.compile(
            r"sk-ant-[\w-]{8,}|av_[0-9a-z]{10}_[\w-]{20,}|avs_[\w-]{43}[\w.-]*|gh[pousr]_[A-Za-z0-9]{20,}\w*"
            r"|github_pat_\w{20,}|glpat-[\w-]{16,}|(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Z])|AIza[\w-]{35}"
            r"|xox[abeoprs]-[\w-]{10,}|eyJ[\w-]{8,400}\.eyJ[\w-]{8,}\.[\w-]{8,}"
        ),
    ),
    (
        ("PRIVATE KEY",),
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?"
            r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
            re.DOTALL,
        ),
    ),
    (
        ("earer", "EARER", "asic", "BASIC", "oken", "TOKEN", "uthorization"),
        re.compile(
            r"""(?P<kept>\bauthorization\\?["']?\s*[:=]\s*\\?["']?(?:bearer|basic|token)\s+)[\w.~+/=-]{10,}""",
            re.IGNORECASE,
        ),
    ),
    (("earer", "EARER"), re.compile(r"(?P<kept>\bbearer\s+)[\w.~+/=-]{20,}", re.IGNORECASE)),
    (
        ("api-key", "API-KEY", "Api-Key", "API-Key"),
        re.compile(r"""(?P<kept>\bx-api-key\\?["']?\s*[:=]\s*\\?["']?)[\w.~+/=-]{10,}""", re.IGNORECASE),
    ),
    (("://",), re.compile(r"""(?P<kept>://[^\s/@:"'<>\\]{0,100}:)[^\s/@"'<>\\]{1,300}(?=@)""")),
)
"""What looks like a secret: words of which one must be there for it to be worth a search, and the search. What is
`kept` of a match stays."""


class Redactor:
    """Knows some secrets, and what secrets look like. The text does not become longer."""

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        self._secrets: dict[str, None] = {}
        self._forms: tuple[tuple[str, str], ...] = ()
        self._coded: tuple[tuple[str, re.Pattern[str]], ...] = ()
        self.know(*secrets)

    def know(self, *secrets: str | None) -> None:
        """Look for these as well from now on; what is too short is passed over.

        Of very many, the first (a process's own) and the last (of what is renewed all the time) stay known.
        """
        fresh = [secret for secret in secrets if secret and len(secret) >= SHORTEST and secret not in self._secrets]
        if not fresh:
            return
        known = [*self._secrets, *fresh]
        self._secrets = dict.fromkeys(known if len(known) <= 2 * _MOST else known[:_MOST] + known[-_MOST:])
        forms = {form: _mark(form) for secret in self._secrets for form in _forms(secret)}
        self._forms = tuple(sorted(forms.items(), key=lambda form: -len(form[0])))
        self._coded = tuple((core, _wrapped(core)) for secret in self._secrets for core in _base64_cores(secret))

    def text(self, text: str) -> str:
        """`text` without secrets."""
        for form, mark in self._forms:
            if form in text:
                text = text.replace(form, mark)
        if self._coded and ("\n" in text or "\\n" in text):
            text = self._without_wrapped(text)
        for hints, shape in _SHAPES:
            if any(hint in text for hint in hints):
                text = shape.sub(_masked, text)
        return text

    def piece(self, text: str) -> str:
        """As `text`, for a part of a longer one: what begins a known secret at its end, or ends one at its beginning,
        is taken out too, so that one that was cut in two comes through in neither part."""
        for secret in self._secrets:
            text = _without_edges(text, secret)
        return self.text(text)

    def value(self, value: JsonValue) -> JsonValue:
        """JSON, with each of its texts as `text` makes it."""
        return mapped(value, self.text)

    def _without_wrapped(self, text: str) -> str:
        squeezed = "".join(text.replace("\\n", "").replace("\\r", "").split())
        for core, pattern in self._coded:
            if core in squeezed:
                text = pattern.sub(REDACTED, text)
        return text


def password_of(url: str | None) -> str | None:
    """The password in a URL, if there is one."""
    try:
        return urlsplit(url).password if url else None
    except ValueError:
        return None


def mapped(value: JsonValue, change: Callable[[str], str]) -> JsonValue:
    """JSON with each of its texts changed, names included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [mapped(one, change) for one in value]
    if isinstance(value, dict):
        return {change(name): mapped(one, change) for name, one in value.items()}
    return value


def _masked(match: re.Match[str]) -> str:
    kept = match.groupdict().get("kept") or ""
    return kept + _mark(match[0][len(kept) :])


def _mark(secret: str) -> str:
    """What stands for a secret, and is not longer than it."""
    return REDACTED if len(secret) >= len(REDACTED) else "*" * len(secret)


# ── the forms of a known secret ──────────────────────────────────────────────────────────────────────────────────


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield json.dumps(secret)[1:-1]
    for safe in ("", "/", "/:@!$&'()*+,;="):
        quoted = quote(secret, safe=safe)
        yield quoted
        yield re.sub("%[0-9A-F]{2}", lambda escape: escape[0].lower(), quoted)
    yield from _base64_cores(secret)
    if len(secret) >= _SHORTEST_CODED:
        yield secret.encode().hex()
        yield secret.encode().hex().upper()


def _base64_cores(secret: str) -> Iterator[str]:
    """What base64 makes of a secret wherever in the encoded text it begins: the characters that depend on it alone."""
    raw = secret.encode()
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            coded = encode(bytes(offset) + raw).decode()
            core = coded[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]
            if len(core) >= _SHORTEST_CODED:
                yield core


def _wrapped(core: str) -> re.Pattern[str]:
    """`core`, broken into lines anywhere."""
    return re.compile(r"(?:\\[rn]|\s){0,4}".join(map(re.escape, core)))


def _without_edges(text: str, secret: str) -> str:
    if len(secret) < 2 * _SHORTEST_PIECE:
        return text
    if secret[:_SHORTEST_PIECE] in text[-len(secret) :]:
        for length in range(min(len(secret) - 1, len(text)), _SHORTEST_PIECE - 1, -1):
            if text.endswith(secret[:length]):
                text = text[:-length] + _mark(secret[:length])
                break
    if secret[-_SHORTEST_PIECE:] in text[: len(secret)]:
        for length in range(min(len(secret) - 1, len(text)), _SHORTEST_PIECE - 1, -1):
            if text.startswith(secret[-length:]):
                text = _mark(secret[-length:]) + text[length:]
                break
    return text
