"""What pydantic finds wrong, in the words of somebody who wants to mend it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

_ONE_LINE = "write it on one line, without control characters"
_PATTERNS: Mapping[str, str] = MappingProxyType(
    {
        r"^[^\x00-\x1f\x7f]*$": _ONE_LINE,
        r"^[^\x00-\x1f]*$": _ONE_LINE,
        r"^[^\x00]*$": "it cannot hold a NUL character",
        r"^[A-Za-z0-9][A-Za-z0-9._\[\]-]*$": (
            "write a user's name without '@': letters, digits, '.', '_', '-' and brackets, a letter or digit first"
        ),
        r"^[A-Za-z0-9_.\[\]:-]{1,255}:[0-9]{1,5}$": "write HOST:PORT, such as packages.example:443",
        r"^[a-z0-9][a-z0-9_-]{0,49}$": "write a name of at most 50 lower-case letters, digits, '_' and '-'",
        r"^[\x21-\x7e]+$": "write printable ASCII characters without spaces",
        r"^[a-z][a-z0-9_]{0,49}$": "write at most 50 lower-case letters, digits and '_', a letter first",
        r"^[a-z0-9][a-z0-9_.+#-]{0,49}$": "write at most 50 of lower-case letters, digits and _ . + # -",
    }
)
"""Patterns of the domain's types → what they ask for."""
_Words = Callable[[Mapping[str, Any]], str]
_WORDS: Mapping[str, _Words] = MappingProxyType(
    {
        "missing": lambda _: "is needed",
        "extra_forbidden": lambda _: "there is no such field",
        "enum": lambda facts: f"write one of {_listed(facts)}",
        "literal_error": lambda facts: f"write one of {_listed(facts)}",
        "greater_than_equal": lambda facts: f"write {facts['ge']:g} or more",
        "greater_than": lambda facts: f"write more than {facts['gt']:g}",
        "less_than_equal": lambda facts: f"write {facts['le']:g} or less",
        "less_than": lambda facts: f"write less than {facts['lt']:g}",
        "finite_number": lambda _: "write a number",
        "int_parsing": lambda _: "write a whole number",
        "int_type": lambda _: "write a whole number",
        "int_from_float": lambda _: "write a whole number",
        "float_parsing": lambda _: "write a number",
        "float_type": lambda _: "write a number",
        "bool_parsing": lambda _: "write true or false",
        "bool_type": lambda _: "write true or false",
        "string_type": lambda _: "write text",
        "string_too_short": lambda facts: (
            f"write at least {facts['min_length']} characters" if facts["min_length"] > 1 else "it is empty"
        ),
        "string_too_long": lambda facts: f"write at most {facts['max_length']} characters",
        "too_long": lambda facts: f"at most {facts['max_length']} are kept",
        "too_short": lambda facts: f"at least {facts['min_length']} is needed",
        "tuple_type": lambda _: "write a list",
    }
)


def plainly(mistake: Mapping[str, Any]) -> str:
    """What to mend, of one of the mistakes that `ValidationError.errors()` tells with their contexts."""
    facts = mistake.get("ctx") or {}
    said = str(mistake["msg"]).removeprefix("Value error, ")
    if mistake["type"] == "string_pattern_mismatch":
        return _PATTERNS.get(str(facts.get("pattern")), said)
    words = _WORDS.get(str(mistake["type"]))
    return words(facts) if words is not None else said


def _listed(facts: Mapping[str, Any]) -> str:
    return str(facts["expected"]).replace("'", "").replace(" or ", ", ")
