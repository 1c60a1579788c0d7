"""Becomes the agent's program, with an environment built from nothing.

    python -I -S -B launch.py SPECIFICATION ARGUMENT…

The SDK gives the program that it starts the whole environment of the worker and cannot be told not to; so it starts
this script, which forgets that environment. The specification is a file, because arguments are public: JSON with
`command`, `environment`, and `note`, the file into which the process writes its pid and start time.
A script of its own with the standard library only, because it must start in milliseconds.
"""

# ruff: noqa: PTH123  pathlib would double the time that it takes to start

import json
import os
import sys
from typing import NoReturn


def main(arguments: list[str]) -> NoReturn:
    with open(arguments[0], encoding="utf-8") as file:
        specification = json.load(file)
    with open("/proc/self/stat", "rb") as stat:
        started = stat.read().rsplit(b")", 1)[1].split()[19].decode()
    with open(specification["note"], "w", encoding="ascii") as note:
        note.write(f"{os.getpid()} {started}\n")
    command = [*specification["command"], *arguments[1:]]
    os.execve(command[0], command, specification["environment"])  # noqa: S606  that is its purpose


if __name__ == "__main__":
    main(sys.argv[1:])
