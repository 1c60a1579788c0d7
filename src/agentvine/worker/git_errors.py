"""What can go wrong with a repository, told apart by what follows from it.

RepositoryProblem           `reason` says what follows (domain/retry.py)
├── GitFailed               git said no; `trouble` is what it meant
├── BranchNotFound          worker/mirror.py
├── RepositoryEmpty         worker/mirror.py
├── ExportFailed            worker/workspace.py
├── ResultRefused           worker/admission.py
├── BranchMoved             worker/publisher.py
│   └── NotFastForward
├── PushRejected            worker/publisher.py
├── RemoteUnavailable       worker/publisher.py
└── RebaseConflict          worker/rewriting.py
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from agentvine.domain.retry import FailureReason

_TAIL = 4000


class RepositoryProblem(Exception):
    """Base of all. The message is for people and says what to mend, where that is known."""

    reason: FailureReason = FailureReason.WORKER_ERROR


class GitTrouble(StrEnum):
    """What git meant, as far as its words tell."""

    REPOSITORY_NOT_FOUND = "repository_not_found"
    BRANCH_NOT_FOUND = "branch_not_found"
    AUTH_FAILED = "auth_failed"
    REJECTED_NON_FAST_FORWARD = "rejected_non_fast_forward"
    REJECTED_BY_REMOTE = "rejected_by_remote"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    DISK_FULL = "disk_full"
    OTHER = "other"


_REASONS: Mapping[GitTrouble, FailureReason] = MappingProxyType(
    {
        GitTrouble.REPOSITORY_NOT_FOUND: FailureReason.REPOSITORY_NOT_FOUND,
        GitTrouble.BRANCH_NOT_FOUND: FailureReason.BRANCH_NOT_FOUND,
        GitTrouble.AUTH_FAILED: FailureReason.REPOSITORY_AUTH_FAILED,
        GitTrouble.REJECTED_NON_FAST_FORWARD: FailureReason.BRANCH_MOVED,
        GitTrouble.REJECTED_BY_REMOTE: FailureReason.PUSH_REJECTED,
        GitTrouble.UNREACHABLE: FailureReason.REPOSITORY_UNREACHABLE,
        GitTrouble.TIMEOUT: FailureReason.REPOSITORY_UNREACHABLE,
        GitTrouble.DISK_FULL: FailureReason.DISK_FULL,
        GitTrouble.OTHER: FailureReason.WORKER_ERROR,
    }
)

_OURS: tuple[tuple[GitTrouble, re.Pattern[str]], ...] = tuple(
    (trouble, re.compile(pattern, re.IGNORECASE))
    for trouble, pattern in (
        (GitTrouble.DISK_FULL, r"no space left on device|disk quota exceeded"),
        (
            GitTrouble.AUTH_FAILED,
            r"authentication failed|could not read (username|password)|terminal prompts disabled|permission denied"
            r"|returned error: 40[13]\b|host key verification failed|access denied|invalid credentials",
        ),
        (
            GitTrouble.REPOSITORY_NOT_FOUND,
            r"repository '[^']*' not found|repository not found|returned error: 30[1278]\b"
            r"|does not appear to be a git repository"
            r"|returned error: 404\b|not valid: is this a git repository|project you were looking for could not be",
        ),
        (
            GitTrouble.BRANCH_NOT_FOUND,
            r"couldn't find remote ref|remote branch .* not found|src refspec .* does not match any",
        ),
        (
            GitTrouble.REJECTED_NON_FAST_FORWARD,
            r"\[rejected\][^\n]*\((fetch first|non-fast-forward|stale info|needs force|remote ref updated)",
        ),
        (GitTrouble.REJECTED_BY_REMOTE, r"\[remote rejected\]|pre-receive hook declined"),
        (GitTrouble.TIMEOUT, r"operation too slow|timed out|timeout was reached"),
        (
            GitTrouble.UNREACHABLE,
            r"could not resolve|failed to connect|connection refused|couldn't connect to|unable to connect"
            r"|network is unreachable|no route to host|connection reset|empty reply from server|early eof|rpc failed"
            r"|hung up unexpectedly|returned error: (429|5\d\d)\b|unexpected disconnect|could not read from remote"
            r"|(ssl|tls|gnutls)\b[^\n]*(error|fail|problem)|recv failure|send failure",
        ),
    )
)
_CLASHED = re.compile(
    r"\[remote rejected\][^\n]*\((cannot lock ref|incorrect old value|failed to update ref)", re.IGNORECASE
)


def classify(said: str) -> GitTrouble:
    """What git meant by what it said (stderr; for a push also stdout). Its language must be English (LANG=C.UTF-8).

    Lines that begin with `remote:` are the other side's words: they never make it our disk that is full.
    """
    ours = "\n".join(line for line in said.splitlines() if not line.startswith("remote:"))
    if _CLASHED.search(ours):  # somebody else pushed at the same instant
        return GitTrouble.REJECTED_NON_FAST_FORWARD
    for trouble, pattern in _OURS:
        if pattern.search(ours):
            return trouble
    return GitTrouble.OTHER


_ACCESS = frozenset({GitTrouble.AUTH_FAILED, GitTrouble.REPOSITORY_NOT_FOUND})
"""What a credential may mend: a forge calls a private repository missing."""


class GitFailed(RepositoryProblem):
    """A git command failed. `what` names it for people; `exit_code` is None if it was killed for taking too long."""

    def __init__(
        self, what: str, exit_code: int | None, said: str, trouble: GitTrouble | None = None, *, hint: str = ""
    ) -> None:
        self.what = what
        self.exit_code = exit_code
        self.stderr = said[-_TAIL:].strip()
        self.trouble = trouble if trouble is not None else classify(said)
        self.reason = _REASONS[self.trouble]
        tried = f" ({hint}; see `agentvine credentials --help`)" if hint and self.trouble in _ACCESS else ""
        super().__init__(f"could not {what}: {self._last_words()}{tried}")

    def _last_words(self) -> str:
        """The line that says most: the first fatal one, else the last."""
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
        return (fatal or lines[-1:] or [f"git ended with {self.exit_code} and said nothing"])[0]
