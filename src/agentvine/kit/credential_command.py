"""A command of an operator's that gives git credentials: asked as git asks a credential helper (gitcredentials(7))."""

import os
import pwd
from collections.abc import Sequence

from agentvine.kit.process import SYSTEM_PATH, Completed, run

LONGEST = 30.0
"""Seconds that it may take: it may have to sign in somewhere."""
_MOST_OUTPUT = 65_536


async def ask_for_credential(
    argv: Sequence[str], *, scheme: str, host: str, path: str, timeout: float = LONGEST
) -> Completed:
    """What the command answers when it is asked for the credential of that address; its environment holds no secrets.

    What it prints is never to be told further, whatever its exit code: it may be the secret. Raises ProcessNotFound,
    ProcessTimeout.
    """
    return await run(
        argv,
        cwd=None,
        env={"PATH": SYSTEM_PATH, "HOME": pwd.getpwuid(os.geteuid()).pw_dir, "LANG": "C.UTF-8"},
        stdin=f"protocol={scheme}\nhost={host}\npath={path}\n\n".encode(),
        timeout=timeout,
        output_limit=_MOST_OUTPUT,
        guarded=True,
    )
