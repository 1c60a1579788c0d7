"""Which environments are one and the same: a digest over everything that an environment is made from. Pure.

Two commits whose digests are equal can use one environment. What may differ without making a difference costs a
preparation; what makes a difference and is not in the digest would judge a result in another's environment. So whatever
is not known to be harmless is in it, and a set-up that does not say what it depends on has no digest.
"""

import hashlib
import json
from collections.abc import Mapping

from agentvine.worker.verification.found import SetupCommand

_FORM = 1
"""Changes with what is digested, and with how environments are made."""


def inputs(setup: SetupCommand | None) -> tuple[str, ...]:
    """The files whose contents `digest_of` wants to have."""
    return tuple(sorted(set(setup.files))) if setup is not None else ()


def digest_of(
    setup: SetupCommand | None, contents: Mapping[str, bytes | None], *, toolchain: str, repository: str
) -> str | None:
    """The SHA-256, in hex, of the environment that `setup` makes from `contents`; None if there is nothing to reuse.

    `contents` holds what `inputs` names, None for a file that is not there or could not be read. `toolchain` identifies
    the programs that make it, sandbox included. `repository` keeps one repository's hostile environments from another.
    """
    if setup is None or not setup.files or not setup.makes or all(contents.get(path) is None for path in setup.files):
        return None
    missing = set(setup.files) - contents.keys()
    if missing:
        raise ValueError(f"the contents of {sorted(missing)} are needed")
    files = {path: None if (content := contents[path]) is None else _sha256(content) for path in inputs(setup)}
    what = [_FORM, repository, toolchain, setup.argv, setup.directory, sorted(setup.makes), files]
    return _sha256(json.dumps(what, sort_keys=True).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
