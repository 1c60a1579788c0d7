"""Every route, once: server, client and the scope matrix read the same table."""

from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import quote

from agentvine.domain.key import Role

BASE = "/api/v1"
SESSION_HEADER = "X-Worker-Session"
"""Carries the session token that a worker's registration gave, with all that it says later."""

_WORKER = frozenset({Role.WORKER})
_LOOK = frozenset({Role.ADMIN, Role.MEMBER, Role.VIEWER})
_ACT = frozenset({Role.ADMIN, Role.MEMBER})
_ADMIN = frozenset({Role.ADMIN})
_ALL = frozenset(Role)


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """`path` is below `BASE` and in FastAPI's notation; `roles` may call it (empty: anybody, without a key).

    Each is one of a kind and compared as such: they are looked up with every request.
    """

    method: str
    path: str
    roles: frozenset[Role] = field(default_factory=frozenset)

    @property
    def full(self) -> str:
        """The path below the server's address, with the names of its parameters in it."""
        return BASE + self.path

    def url(self, **ids: str) -> str:
        """The path with its parameters filled in, each as one path segment."""
        return BASE + self.path.format_map(
            MappingProxyType({name: quote(value, safe="") for name, value in ids.items()})
        )


REGISTER = Route("POST", "/workers", _WORKER)
HEARTBEAT = Route("POST", "/workers/{worker_id}/heartbeat", _WORKER)
DEREGISTER = Route("DELETE", "/workers/{worker_id}", _WORKER | _ADMIN)
WORKERS = Route("GET", "/workers", _LOOK)
WORKER = Route("GET", "/workers/{worker_id}", _LOOK)
DRAIN_WORKER = Route("POST", "/workers/{worker_id}/drain", _ADMIN)

CLAIM = Route("POST", "/queue/claim", _WORKER)
RENEW = Route("POST", "/queue/renew", _WORKER)
RELEASE = Route("POST", "/work-orders/{work_order_id}/release", _WORKER)
QUEUE = Route("GET", "/queue", _LOOK)

START = Route("POST", "/work-orders/{work_order_id}/start", _WORKER)
PARK = Route("POST", "/work-orders/{work_order_id}/park", _WORKER)
DELIVER = Route("POST", "/work-orders/{work_order_id}/deliver", _WORKER)
COMPLETE = Route("POST", "/work-orders/{work_order_id}/complete", _WORKER)
FAIL = Route("POST", "/work-orders/{work_order_id}/fail", _WORKER)
HEAR_COMMENTS = Route("GET", "/work-orders/{work_order_id}/comments", _WORKER)
WORK_ORDERS = Route("GET", "/work-orders", _LOOK)
WORK_ORDER = Route("GET", "/work-orders/{work_order_id}", _LOOK)
CANCEL_ORDER = Route("POST", "/work-orders/{work_order_id}/cancel", _ACT)
REQUEUE = Route("POST", "/work-orders/{work_order_id}/requeue", _ACT)

PHASE = Route("POST", "/executions/{execution_id}/phase", _WORKER)
ADD_TRANSCRIPT = Route("POST", "/executions/{execution_id}/transcript", _WORKER)
ADD_EVIDENCE = Route("POST", "/executions/{execution_id}/evidence", _WORKER)
PUT_ARTIFACT = Route("PUT", "/executions/{execution_id}/artifacts/{name}", _WORKER)
GET_ARTIFACT = Route("GET", "/executions/{execution_id}/artifacts/{name}", _ALL)
EXECUTION = Route("GET", "/executions/{execution_id}", _LOOK)
TRANSCRIPT = Route("GET", "/executions/{execution_id}/transcript", _ALL)
DIFF = Route("GET", "/executions/{execution_id}/diff", _LOOK)
EVIDENCE = Route("GET", "/executions/{execution_id}/evidence", _ALL)
STATEMENT = Route("GET", "/executions/{execution_id}/statement", _LOOK)
SIGNING_KEY = Route("GET", "/signing-key", _LOOK)

ASK = Route("POST", "/requests", _WORKER)
REQUESTS = Route("GET", "/requests", _LOOK)
INBOX = Route("GET", "/inbox", _LOOK)
REQUEST = Route("GET", "/requests/{request_id}", _ALL)
RESPOND = Route("POST", "/requests/{request_id}/response", _ACT)
RESPONSE = Route("GET", "/requests/{request_id}/response", _ALL)

PRECEDENTS = Route("GET", "/precedents", _LOOK)
PRECEDENT = Route("GET", "/precedents/{precedent_id}", _LOOK)
FORGET = Route("DELETE", "/precedents/{precedent_id}", _ACT)

SUBMIT = Route("POST", "/tasks", _ACT)
SUBMIT_BATCH = Route("POST", "/tasks/batch", _ACT)
TASKS = Route("GET", "/tasks", _LOOK)
TASK = Route("GET", "/tasks/{task_id}", _LOOK)
CANCEL_TASK = Route("POST", "/tasks/{task_id}/cancel", _ACT)
RETRY_TASK = Route("POST", "/tasks/{task_id}/retry", _ACT)
COMMENT = Route("POST", "/tasks/{task_id}/comments", _ACT)
COMMENTS = Route("GET", "/tasks/{task_id}/comments", _LOOK)

CLAIM_ERRAND = Route("POST", "/errands/claim", _WORKER)
ERRAND_CREDENTIAL = Route("POST", "/errands/{errand_id}/credential", _WORKER)
END_ERRAND = Route("POST", "/errands/{errand_id}/result", _WORKER)

EVENTS = Route("GET", "/events", _LOOK)
KEYS = Route("GET", "/keys", _ADMIN)
CREATE_KEY = Route("POST", "/keys", _ADMIN)
REVOKE_KEY = Route("DELETE", "/keys/{key_id}", _ADMIN)
ROTATE_KEY = Route("POST", "/keys/{key_id}/rotate", _ADMIN)
WHO_AM_I = Route("GET", "/keys/me", _ALL)

REPOSITORIES = Route("GET", "/repositories", _LOOK)
ADD_REPOSITORY = Route("POST", "/repositories", _ADMIN)
REPOSITORY = Route("GET", "/repositories/{repository_id}", _LOOK)
CHANGE_REPOSITORY = Route("PATCH", "/repositories/{repository_id}", _ADMIN)
REMOVE_REPOSITORY = Route("DELETE", "/repositories/{repository_id}", _ADMIN)
HAND_OUT = Route("POST", "/work-orders/{work_order_id}/credential", _WORKER)

AUDIT = Route("GET", "/audit", _ADMIN)
VERIFY_AUDIT = Route("GET", "/audit/verification", _ADMIN)

PRUNE = Route("POST", "/prune", _ADMIN)
MODEL_LIMITS = Route("GET", "/model-limits", _LOOK)
LIFT_MODEL_LIMIT = Route("DELETE", "/model-limits/{account}", _ADMIN)

WEBHOOK = Route("POST", "/webhooks/{forge}")

HEALTH = Route("GET", "/health")
READY = Route("GET", "/ready")
METRICS = Route("GET", "/metrics", _LOOK)

ROUTES: tuple[Route, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Route))
"""All of them, for the server's start-up check and the tests of the scope matrix."""
