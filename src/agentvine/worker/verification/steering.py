"""Files that steer which tests are run and how. A result is judged with the base's, whatever it made of them."""

import re
from collections.abc import Collection
from pathlib import PurePosixPath

from agentvine.domain.evidence import Check, CheckOutcome
from agentvine.worker.verification.overlay import with_files_of
from agentvine.worker.verification.subject import Subject

_STEERING = re.compile(
    r"^(?:(?:gnu)?makefile|.+\.mk|justfile|taskfile\.ya?ml|\.?pytest\.(?:ini|toml)|tox\.ini|noxfile\.py|\.coveragerc"
    r"|(?:jest|vitest|karma|playwright|cypress)\.config\.\w+|\.mocharc(?:\.\w+)?)$",
    re.IGNORECASE,
)
"""Names of files that hold nothing else. What is a project's manifest, too, is read for its changes instead."""
_SHOWN = 10


def steering(paths: Collection[str]) -> tuple[str, ...]:
    """Those of `paths` that steer how tests are run, in order."""
    return tuple(sorted(path for path in paths if _STEERING.match(PurePosixPath(path).name)))


async def as_judged(subject: Subject, changed: Collection[str]) -> tuple[str, tuple[Check, ...]]:
    """The commit whose tests are run for the result, and what is to be pointed out of that.

    It is the result's own commit, unless the result changes files that steer its tests: then those are the base's.
    A file that the base lacks is left out. Raises GitFailed.
    """
    touched = steering(changed)
    if not touched:
        return subject.head, ()
    commit = await with_files_of(subject.commits, subject.head, subject.base, touched)
    named = ", ".join(touched[:_SHOWN]) + (f" and {len(touched) - _SHOWN} more" if len(touched) > _SHOWN else "")
    why = f"the result changes {named}; its tests were run without that change"
    return commit, (Check(name="judged as the base says", outcome=CheckOutcome.PASSED, why=why),)
