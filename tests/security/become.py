"""Becomes an ordinary user and runs a command, as root only.

    python become.py USER DIRECTORY… -- COMMAND…

The directories stay reachable: where one lies beneath a place that only root may enter, such as root's home, that place
is covered, in a mount namespace of this process alone, by one that holds nothing but the way to it.
"""

import ctypes
import os
import sys
from pathlib import Path

_NEW_MOUNTS, _RECURSIVE_PRIVATE, _BIND = 0x00020000, 0x4000 | 1 << 18, 0x1000 | 0x4000
_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str | None, target: Path, kind: str | None, flags: int) -> None:
    told = [None if text is None else text.encode() for text in (source, str(target), kind)]
    if _libc.mount(*told, ctypes.c_ulong(flags), None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(target))


def closed(path: Path) -> Path | None:
    """The topmost place on the way to `path` that others may not enter."""
    return next((place for place in reversed(path.parents) if not place.stat().st_mode & 0o001), None)


def open_ways(directories: list[Path]) -> None:
    if _libc.unshare(_NEW_MOUNTS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    mount(None, Path("/"), None, _RECURSIVE_PRIVATE)
    blocked = {path: place for path in directories if (place := closed(path)) is not None}
    opened = {path: os.open(path, os.O_PATH) for path in blocked}
    for place in set(blocked.values()):
        mount("way", place, "tmpfs", 0)
        place.chmod(0o755)
    for path, descriptor in opened.items():
        path.mkdir(parents=True)
        mount(f"/proc/self/fd/{descriptor}", path, None, _BIND)


def main(arguments: list[str]) -> None:
    cut = arguments.index("--")
    user, directories, command = int(arguments[0]), [Path(one) for one in arguments[1:cut]], arguments[cut + 1 :]
    open_ways(directories)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
