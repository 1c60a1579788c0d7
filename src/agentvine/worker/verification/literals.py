"""Literal inputs and outputs: those that tests assert, and those that code treats in a particular way. Pure data."""

import ast
import re
from dataclasses import dataclass, field

_PLAIN_WORD = re.compile(r"^[\w.+#-]{0,20}$|^\W{0,3}$")
_CATEGORY = re.compile(
    r"(code|status|month|day|port|version|level|kind|type|id|mode|signal|errno|grade|weekday|exit|http|priority|year"
    r"|size|width|depth|index|idx|number|num_args|argc|base|bits|format|lang|locale|unit|suit|rank|key|name|tag|op)s?_?$",
    re.IGNORECASE,
)
"""Parameters that say which of some kinds is meant: to treat one of them in its own way is what they are for."""


def literal(node: ast.expr) -> str | None:
    """What a literal says, in one form; None for anything that is none."""
    try:
        return repr(_frozen(ast.literal_eval(node)))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _frozen(value: object) -> object:
    if isinstance(value, list | tuple):
        return tuple(_frozen(one) for one in value)
    if isinstance(value, dict):
        return tuple(sorted((repr(key), repr(_frozen(one))) for key, one in value.items()))
    return value


@dataclass(frozen=True, slots=True)
class Pair:
    """A test asserts that `function` of `inputs` is `output`."""

    function: str
    inputs: tuple[str, ...]
    output: str

    @property
    def shown(self) -> str:
        return f"{self.function}({', '.join(self.inputs)}) == {self.output}"[:120]


@dataclass(frozen=True, slots=True)
class Special:
    """Code gives `output` where it meets `inputs`, in any of `functions`."""

    functions: tuple[str, ...]
    inputs: tuple[str, ...]
    output: str
    line: int
    table: bool = False
    """An entry of a table, not a branch."""
    by: tuple[str, ...] = field(default=(), compare=False)
    """The names that are compared."""
    recursive: bool = field(default=False, compare=False)
    enumerated: bool = field(default=False, compare=False)
    """The keys of its table go on from one to the next."""
    constant: bool = False
    """The function gives it whatever it is given, and looks at none of that."""

    @property
    def shown(self) -> str:
        return f"{', '.join(self.inputs) or 'anything'} → {self.output}"[:120]


def is_trivial(value: str) -> bool:
    """True for what stands in any code."""
    return value in {"None", "True", "False", "0", "1", "-1", "0.0", "1.0", "''", '""', "()", "b''"}


def is_telling(special: Special) -> bool:
    """True if nobody would write this case who had not seen the test."""
    if is_trivial(special.output) or special.recursive or special.enumerated:
        return False
    if special.constant:
        return special.output[:1] not in "'\"" or not _PLAIN_WORD.match(special.output[1:-1])
    inputs = [one for one in special.inputs if not is_trivial(one)]
    if len(inputs) >= 2:
        return True
    if not inputs or any(_CATEGORY.search(name) for name in special.by):
        return False
    (only,) = inputs
    if only[:1] in "'\"":
        return not _PLAIN_WORD.match(only[1:-1])
    return only not in {"2", "-2", "10", "100"}
