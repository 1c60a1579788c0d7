"""Source distributions as they were fetched, and the blocks in which two of them differ."""

import tarfile
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path

FETCHED = Path(__file__).parents[2] / ".venv" / "share" / "history"
"""Where `make test` puts them (scripts/fetch_history.sh)."""


@cache
def files_of(distribution: str) -> Mapping[str, bytes]:
    """The files of a source distribution, by their paths in it; without what only says that it is one."""
    archive = FETCHED / f"{distribution}.tar.gz"
    if not archive.exists():
        raise FileNotFoundError(f"{archive} is not there: run `make test` or bash scripts/fetch_history.sh {FETCHED}")
    found = {}
    with tarfile.open(archive) as opened:
        for member in opened:
            path = member.name.partition("/")[2]
            content = opened.extractfile(member) if member.isreg() else None
            if content is not None and "egg-info" not in path and path != "PKG-INFO":
                found[path] = content.read()
    return found


def with_blocks(old: str, new: str, named: Iterable[str]) -> str:
    """`old` with those blocks of its difference to `new` that hold one of the characters `named`.

    Raises AssertionError if one of them names no block.
    """
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    wanted, met, result = tuple(named), set(), []
    for tag, start, end, other_start, other_end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        there, instead = "".join(before[start:end]), "".join(after[other_start:other_end])
        mine = {one for one in wanted if tag != "equal" and (one in instead or one in there)}
        met |= mine
        result.append(instead if mine else there)
    assert met == set(wanted), f"no block has {sorted(set(wanted) - met)}"
    return "".join(result)
