"""Small faults, to be put into changed code one at a time: tests that are worth something notice them.

Which faults are tried depends on the code alone, so the same result is asked the same questions. Some faults change
nothing that could be noticed: to miss one proves little, so that tests miss all of several is what counts.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from agentvine.worker.verification import mutants_lines, mutants_python
from agentvine.worker.verification.mutants_python import Fault

ENOUGH = 2
"""How many grave faults have to go unnoticed before anything follows from it."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One file with one fault in it."""

    path: str
    text: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.path}:{self.fault.line}: {self.fault.what}"


@dataclass(frozen=True, slots=True)
class Tried:
    """A fault, and whether the tests noticed it. `stumbled`: only as code that does not run to its end."""

    mutant: Mutant
    noticed: bool
    stumbled: bool = False


def mutants(
    files: Mapping[str, str], lines: Mapping[str, Collection[int]], most: int, words: Collection[str] = ()
) -> tuple[Mutant, ...]:
    """At most `most` mutants of `files` (path → text), each with a fault on one of its `lines`.

    Those that are hardest to overlook come first, and those in functions that `words` names before others. No two
    change the same line in the same way. Files in languages that are not known, or that cannot be read, give none.
    """
    found: list[tuple[tuple[bool, bool, int, int], Mutant]] = []
    for number, (path, text) in enumerate(sorted(files.items())):
        taken: dict[int, int] = {}
        for fault in _faults(path, text, lines.get(path, ())):
            turn = taken[fault.line] = taken.get(fault.line, -1) + 1
            rank = (not fault.grave, bool(words) and fault.function not in words, turn, number)
            found.append((rank, Mutant(path, fault.applied(text), fault)))
    found.sort(key=lambda one: one[0])
    return tuple(mutant for _, mutant in found[:most])


def _faults(path: str, text: str, lines: Collection[int]) -> Iterable[Fault]:
    wanted = frozenset(lines)
    if not wanted:
        return ()
    suffix = PurePosixPath(path).suffix.lower()
    if suffix != ".py":
        return mutants_lines.faults(suffix, text, wanted)
    try:
        return mutants_python.faults(text, wanted)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()


def objection(tried: Collection[Tried], *, may_stumble: bool) -> str:
    """Why the tests are not believed, if they noticed none of several grave faults; empty if nothing follows.

    A test that asserts nothing stumbles over faults that raise something. `may_stumble` False: that does not count.
    """
    grave = [one.mutant for one in tried if one.mutant.fault.grave and not one.noticed]
    if any(one.noticed and (may_stumble or not one.stumbled) for one in tried) or len(grave) < ENOUGH:
        return ""
    faults = "\n".join(f"- {mutant}" for mutant in grave)
    return (
        f"the new tests pass with each of these faults in the code that they run:\n{faults}\nassert what it has to do"
    )


def in_words(tried: Collection[Tried]) -> str:
    """What was tried and what became of it, for the evidence."""
    missed = [str(one.mutant) for one in tried if not one.noticed]
    said = f"{len(tried) - len(missed)} of {len(tried)} faults put into it were noticed"
    return f"{said}; not noticed: {'; '.join(missed)}" if missed else said
