"""All hostile cases, and the executions in which they are made."""

from collections.abc import Sequence

from tests.security import corpus_bases, corpus_git, corpus_runs, corpus_texts
from tests.security.cases import together

CORPUS = (*corpus_git.CASES, *corpus_bases.CASES, *corpus_runs.CASES, *corpus_texts.CASES)

_TOGETHER: Sequence[Sequence[str]] = (
    (
        "hooks of every kind",
        "a directory of hooks",
        "a monitor of the file system",
        "filters that run at each checkout and commit",
        "programs for differences and merges",
        "commands for transports and credentials",
        "a program for signatures",
        "aliases, pagers and editors",
        "a configuration that includes the host's",
    ),
    (
        "objects of a repository of the host",
        "writing over the objects that it borrows",
        "branches, tags and notes of its own",
        "a daemon that waits for the worker",
        "devices and programs that lend rights",
        "hard links to the system and to what it borrows",
        "programs of its own in front of git",
    ),
    (
        "settings of Claude Code with hooks, permissions and a helper for keys",
        "servers of tools in .mcp.json",
        "orders in CLAUDE.md, which the model obeys",
    ),
    (
        "a request to push",
        "a request for all secrets",
        "a request to call a web hook",
        "a request to the services of the cloud and of the host",
        "a request to write elsewhere",
        "mentions of files and commands of Claude Code",
        "fences, roles and codes that pretend to be more than a task",
    ),
)
"""Names of cases that share an execution."""


_KNOWN = {case.name: case for case in CORPUS}
_SHARED = tuple(together(*(_KNOWN[name] for name in names)) for names in _TOGETHER)
_ALONE = tuple(case for case in CORPUS if not any(case.name in names for names in _TOGETHER))

EXECUTIONS = (*_SHARED, *_ALONE)
SHARE = (*_SHARED, *_ALONE[2::8])
"""What belongs to every change: the executions that many cases share, and some of each kind of the others."""
