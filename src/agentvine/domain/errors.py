"""Every error that crosses a wing's border.

    AgentVineError
    ├── InvalidInput            what was sent makes no sense; says where and what to mend
    │   ├── DependencyCycle     tasks that would wait for one another
    │   └── IdempotencyMismatch the key was used for another request
    ├── TooLarge                more bytes than the server takes
    ├── Unauthenticated         no key, or one that is unknown, expired or revoked
    ├── Forbidden               a good key that may not do this
    ├── NotFound                nothing has this id
    ├── Conflict                it is not in a state in which this could be done
    │   ├── LeaseLost           the work order belongs to somebody else, or to nobody
    │   │   └── Superseded      another process has registered as this worker
    │   └── AlreadyAnswered     somebody answered this request first
    ├── UpgradeRequired         worker and server have no protocol in common
    ├── Unavailable             try again later; the server says when
    └── ServerFault             the server failed; its log says why

The server raises them, `wire/problems.py` carries them, the client raises the same class again.
"""


class AgentVineError(Exception):
    """Base of all. `message` is for people; `facts` is data for programs and must survive JSON."""

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts


class InvalidInput(AgentVineError):
    """Facts: `errors`, a list of {pointer, message}; a pointer is RFC 6901 into the body."""


class DependencyCycle(InvalidInput):
    """Facts: `cycle`, the task ids in order."""


class IdempotencyMismatch(InvalidInput):
    """The same Idempotency-Key came with another body."""


class TooLarge(AgentVineError):
    """Facts: `limit`, in bytes."""


class Unauthenticated(AgentVineError):
    """Never says which part of a key was wrong."""


class Forbidden(AgentVineError):
    """Facts: `needs`, what the key would have to have."""


class NotFound(AgentVineError):
    """Facts: `kind` and `id`."""


class Conflict(AgentVineError):
    """Facts: `status`, the state that it is in."""


class LeaseLost(Conflict):
    """The lease token is not, or no longer, the order's. Stop working on it; nothing was changed."""


class Superseded(LeaseLost):
    """Another process has registered under this worker's id: whatever this one held is lost, and it has to end."""


class AlreadyAnswered(Conflict):
    """Facts: `response`, the answer that stands."""


class UpgradeRequired(AgentVineError):
    """One of the two is too old. Facts: `oldest` and `newest`, the protocols that the server speaks."""


class Unavailable(AgentVineError):
    """Facts: `retry_after`, seconds."""


class ServerFault(AgentVineError):
    """What was sent was good, the server was not."""
