"""Who may use which route, written down once more: a new route has no row until somebody has thought about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from agentvine.domain.key import Role

OPEN, LOOK, ACT, ADMIN, WORKER, ALL = "", "amv", "am", "a", "w", "amvw"
LETTERS = {Role.ADMIN: "a", Role.MEMBER: "m", Role.VIEWER: "v", Role.WORKER: "w"}
"""How `Row.roles` names them."""


@dataclass(frozen=True)
class Row:
    """Who may use a route; whether it acts on an order, and not only looks; a body that the server would take."""

    roles: str
    acts: bool = False
    body: Mapping[str, JsonValue] = field(default_factory=dict)


REPORT: Mapping[str, JsonValue] = {"token": 1, "phase": "working"}
DELIVERY: Mapping[str, JsonValue] = {"kind": "push", "branch": "main", "new_sha": "b" * 40}
ASKED: Mapping[str, JsonValue] = {"id": "req_" + "1" * 26, "token": 1, "kind": "clarification", "message": "?"}
ROWS = {
    "POST /workers": Row(WORKER),
    "POST /workers/{worker_id}/heartbeat": Row(WORKER, body={"status": "idle"}),
    "DELETE /workers/{worker_id}": Row("aw"),
    "GET /workers": Row(LOOK),
    "GET /workers/{worker_id}": Row(LOOK),
    "POST /workers/{worker_id}/drain": Row(ADMIN),
    "POST /queue/claim": Row(WORKER),
    "POST /queue/renew": Row(WORKER),
    "GET /queue": Row(LOOK),
    "POST /work-orders/{work_order_id}/release": Row(WORKER, True, {"token": 1}),
    "POST /work-orders/{work_order_id}/start": Row(WORKER, True, {"token": 1}),
    "POST /work-orders/{work_order_id}/park": Row(WORKER, True, {"token": 1, "request": dict(ASKED)}),
    "POST /work-orders/{work_order_id}/deliver": Row(WORKER, True, {"token": 1, "delivery": dict(DELIVERY)}),
    "POST /work-orders/{work_order_id}/complete": Row(
        WORKER, True, {"token": 1, "delivery": dict(DELIVERY), "usage": {}}
    ),
    "POST /work-orders/{work_order_id}/fail": Row(
        WORKER, True, {"token": 1, "failure": {"reason": "agent_crashed", "detail": "x"}}
    ),
    "GET /work-orders/{work_order_id}/comments": Row(WORKER, True, {"token": 1}),
    "GET /work-orders": Row(LOOK),
    "GET /work-orders/{work_order_id}": Row(LOOK),
    "POST /work-orders/{work_order_id}/cancel": Row(ACT, True),
    "POST /work-orders/{work_order_id}/requeue": Row(ACT, True),
    "POST /executions/{execution_id}/phase": Row(WORKER, True, REPORT),
    "POST /executions/{execution_id}/transcript": Row(WORKER, True, {"token": 1, "first": 0, "entries": [{}]}),
    "POST /executions/{execution_id}/evidence": Row(WORKER, True),
    "PUT /executions/{execution_id}/artifacts/{name}": Row(WORKER, True),
    "GET /executions/{execution_id}/artifacts/{name}": Row(ALL),
    "GET /executions/{execution_id}": Row(LOOK),
    "GET /executions/{execution_id}/transcript": Row(ALL),
    "GET /executions/{execution_id}/diff": Row(LOOK),
    "GET /executions/{execution_id}/evidence": Row(ALL),
    "GET /executions/{execution_id}/statement": Row(LOOK),
    "GET /signing-key": Row(LOOK),
    "POST /requests": Row(WORKER),
    "GET /requests": Row(LOOK),
    "GET /inbox": Row(LOOK),
    "GET /requests/{request_id}": Row(ALL),
    "POST /requests/{request_id}/response": Row(ACT, True, {"verdict": "answer"}),
    "GET /requests/{request_id}/response": Row(ALL),
    "GET /precedents": Row(LOOK),
    "GET /precedents/{precedent_id}": Row(LOOK),
    "DELETE /precedents/{precedent_id}": Row(ACT),
    "POST /tasks": Row(ACT),
    "POST /tasks/batch": Row(ACT),
    "GET /tasks": Row(LOOK),
    "GET /tasks/{task_id}": Row(LOOK),
    "POST /tasks/{task_id}/cancel": Row(ACT, True),
    "POST /tasks/{task_id}/retry": Row(ACT, True),
    "POST /tasks/{task_id}/comments": Row(ACT, True, {"text": "so"}),
    "GET /tasks/{task_id}/comments": Row(LOOK),
    "POST /errands/claim": Row(WORKER),
    "POST /errands/{errand_id}/credential": Row(WORKER, body={"worker_id": "wrk_nobody"}),
    "POST /errands/{errand_id}/result": Row(WORKER),
    "GET /events": Row(LOOK),
    "GET /keys": Row(ADMIN),
    "POST /keys": Row(ADMIN),
    "DELETE /keys/{key_id}": Row(ADMIN),
    "POST /keys/{key_id}/rotate": Row(ADMIN),
    "GET /keys/me": Row(ALL),
    "GET /repositories": Row(LOOK),
    "POST /repositories": Row(ADMIN),
    "GET /repositories/{repository_id}": Row(LOOK),
    "PATCH /repositories/{repository_id}": Row(ADMIN),
    "DELETE /repositories/{repository_id}": Row(ADMIN),
    "POST /work-orders/{work_order_id}/credential": Row(WORKER, True, {"token": 1}),
    "GET /audit": Row(ADMIN),
    "GET /audit/verification": Row(ADMIN),
    "POST /prune": Row(ADMIN, body={"older_than_seconds": 3600, "dry_run": True}),
    "GET /model-limits": Row(LOOK),
    "DELETE /model-limits/{account}": Row(ADMIN),
    "POST /webhooks/{forge}": Row(OPEN),
    "GET /health": Row(OPEN),
    "GET /ready": Row(OPEN),
    "GET /metrics": Row(LOOK),
}
