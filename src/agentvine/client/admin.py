"""The contract of people and their programs over HTTP."""

import secrets
from collections.abc import AsyncIterator

from agentvine.client.control_plane import transcript_call
from agentvine.client.event_stream import EventStream
from agentvine.client.transport import APIClient, Call, to_json
from agentvine.domain.audit import AuditEntry
from agentvine.domain.base import Model
from agentvine.domain.event import Event
from agentvine.domain.evidence import Evidence
from agentvine.domain.execution import Execution
from agentvine.domain.key import Key
from agentvine.domain.model_limit import ModelLimit
from agentvine.domain.precedent import Precedent
from agentvine.domain.repository_settings import Repository
from agentvine.domain.request import RequestStatus, WorkerRequest
from agentvine.domain.task import NewTask, Task
from agentvine.domain.work_order import OrderStatus, WorkOrder
from agentvine.domain.worker import Worker
from agentvine.wire import administration as adm
from agentvine.wire import messages as m
from agentvine.wire import routes


class HTTPFrontDesk:
    """Implements `wire.front_desk.FrontDesk`, which says what each method means.

    A submission without an Idempotency-Key gets one here, so that a lost answer does not submit twice.
    """

    def __init__(self, api: APIClient) -> None:
        self._api = api

    async def submit(self, task: NewTask, idempotency_key: str | None = None) -> Task:
        headers = {"Idempotency-Key": idempotency_key or secrets.token_hex(16)}
        return await self._api.fetch(Task, Call(routes.SUBMIT, {}, to_json(task), headers=headers))

    async def submit_all(self, batch: m.TaskBatch) -> tuple[Task, ...]:
        return await self._api.fetch(tuple[Task, ...], Call(routes.SUBMIT_BATCH, {}, to_json(batch), idempotent=False))

    async def task(self, task_id: str) -> m.TaskDetail:
        return await self._api.fetch(m.TaskDetail, Call(routes.TASK, {"task_id": task_id}))

    async def tasks(
        self, which: m.TaskFilter = m.TaskFilter(), cursor: str | None = None, limit: int = 50
    ) -> m.Page[Task]:
        parameters = {**which.model_dump(mode="json"), "cursor": cursor, "limit": limit}
        return await self._api.fetch(m.Page[Task], Call(routes.TASKS, {}, parameters=parameters))

    async def cancel(self, task_id: str) -> WorkOrder:
        return await self._api.fetch(WorkOrder, Call(routes.CANCEL_TASK, {"task_id": task_id}))

    async def retry(self, task_id: str, retry: m.Retry | None = None) -> WorkOrder:
        body = None if retry is None else to_json(retry)
        return await self._api.fetch(WorkOrder, Call(routes.RETRY_TASK, {"task_id": task_id}, body, idempotent=False))

    async def comment(self, task_id: str, new: m.NewComment) -> m.Comment:
        call = Call(routes.COMMENT, {"task_id": task_id}, to_json(new), idempotent=False)
        return await self._api.fetch(m.Comment, call)

    async def comments(self, task_id: str) -> tuple[m.Comment, ...]:
        return await self._api.fetch(tuple[m.Comment, ...], Call(routes.COMMENTS, {"task_id": task_id}))

    async def work_order(self, work_order_id: str) -> WorkOrder:
        return await self._api.fetch(WorkOrder, Call(routes.WORK_ORDER, {"work_order_id": work_order_id}))

    async def work_orders(
        self, status: OrderStatus | None = None, cursor: str | None = None, limit: int = 50
    ) -> m.Page[WorkOrder]:
        parameters = {"status": status, "cursor": cursor, "limit": limit}
        return await self._api.fetch(m.Page[WorkOrder], Call(routes.WORK_ORDERS, {}, parameters=parameters))

    async def cancel_order(self, work_order_id: str) -> WorkOrder:
        return await self._api.fetch(WorkOrder, Call(routes.CANCEL_ORDER, {"work_order_id": work_order_id}))

    async def requeue(self, work_order_id: str) -> WorkOrder:
        return await self._api.fetch(
            WorkOrder, Call(routes.REQUEUE, {"work_order_id": work_order_id}, idempotent=False)
        )

    async def execution(self, execution_id: str) -> Execution:
        return await self._api.fetch(Execution, Call(routes.EXECUTION, {"execution_id": execution_id}))

    async def transcript(self, execution_id: str, after: int = 0, wait_seconds: float = 0.0) -> m.TranscriptPage:
        return await self._api.fetch(m.TranscriptPage, transcript_call(execution_id, after, wait_seconds))

    async def diff(self, execution_id: str, draft: bool = False) -> str:
        parameters = {"draft": "true"} if draft else {}
        call = Call(routes.DIFF, {"execution_id": execution_id}, parameters=parameters)
        return (await self._api.send(call)).decode("utf-8", "replace")

    async def evidence(self, execution_id: str) -> Evidence:
        return await self._api.fetch(Evidence, Call(routes.EVIDENCE, {"execution_id": execution_id}))

    async def statement(self, execution_id: str) -> str:
        return (await self._api.send(Call(routes.STATEMENT, {"execution_id": execution_id}))).decode("ascii", "replace")

    async def signing_key(self) -> adm.SigningKeyInfo:
        return await self._api.fetch(adm.SigningKeyInfo, Call(routes.SIGNING_KEY, {}))

    async def requests(
        self, status: RequestStatus | None = RequestStatus.OPEN, cursor: str | None = None, limit: int = 50
    ) -> m.Page[WorkerRequest]:
        parameters = {"status": status or "any", "cursor": cursor, "limit": limit}
        return await self._api.fetch(m.Page[WorkerRequest], Call(routes.REQUESTS, {}, parameters=parameters))

    async def inbox(self, cursor: str | None = None, limit: int = 50) -> m.Inbox:
        parameters = {"cursor": cursor, "limit": limit}
        return await self._api.fetch(m.Inbox, Call(routes.INBOX, {}, parameters=parameters))

    async def request(self, request_id: str) -> WorkerRequest:
        return await self._api.fetch(WorkerRequest, Call(routes.REQUEST, {"request_id": request_id}))

    async def respond(self, request_id: str, reply: m.Reply) -> WorkerRequest:
        return await self._api.fetch(WorkerRequest, Call(routes.RESPOND, {"request_id": request_id}, to_json(reply)))

    async def precedents(
        self, everything: bool = False, cursor: str | None = None, limit: int = 50
    ) -> m.Page[Precedent]:
        parameters = {"everything": str(everything).lower(), "cursor": cursor, "limit": limit}
        return await self._api.fetch(m.Page[Precedent], Call(routes.PRECEDENTS, {}, parameters=parameters))

    async def precedent(self, precedent_id: str) -> Precedent:
        return await self._api.fetch(Precedent, Call(routes.PRECEDENT, {"precedent_id": precedent_id}))

    async def forget(self, precedent_id: str) -> Precedent:
        return await self._api.fetch(Precedent, Call(routes.FORGET, {"precedent_id": precedent_id}))

    async def workers(self) -> tuple[Worker, ...]:
        return await self._api.fetch(tuple[Worker, ...], Call(routes.WORKERS, {}))

    async def worker(self, worker_id: str) -> Worker:
        return await self._api.fetch(Worker, Call(routes.WORKER, {"worker_id": worker_id}))

    async def drain_worker(self, worker_id: str) -> Worker:
        return await self._api.fetch(Worker, Call(routes.DRAIN_WORKER, {"worker_id": worker_id}))

    async def queue(self) -> m.QueueReport:
        return await self._api.fetch(m.QueueReport, Call(routes.QUEUE, {}))

    def events(self, after: int | None = None, task_id: str | None = None) -> AsyncIterator[Event]:
        return EventStream(self._api, after, task_id).events()

    async def keys(self) -> tuple[Key, ...]:
        return await self._api.fetch(tuple[Key, ...], Call(routes.KEYS, {}))

    async def create_key(self, new: adm.NewKey) -> adm.CreatedKey:
        return await self._api.fetch(adm.CreatedKey, Call(routes.CREATE_KEY, {}, to_json(new), idempotent=False))

    async def rotate_key(self, key_id: str, rotation: adm.Rotation = adm.Rotation()) -> adm.CreatedKey:
        call = Call(routes.ROTATE_KEY, {"key_id": key_id}, to_json(rotation), idempotent=False)
        return await self._api.fetch(adm.CreatedKey, call)

    async def repositories(self, cursor: str | None = None, limit: int = 50) -> m.Page[Repository]:
        parameters = {"cursor": cursor, "limit": limit}
        return await self._api.fetch(m.Page[Repository], Call(routes.REPOSITORIES, {}, parameters=parameters))

    async def repository(self, repository_id: str) -> Repository:
        return await self._api.fetch(Repository, Call(routes.REPOSITORY, {"repository_id": repository_id}))

    async def add_repository(self, new: adm.NewRepository) -> adm.SavedRepository:
        call = Call(routes.ADD_REPOSITORY, {}, _with_secrets(new), idempotent=False)
        return await self._api.fetch(adm.SavedRepository, call)

    async def change_repository(self, repository_id: str, changes: adm.RepositoryChanges) -> adm.SavedRepository:
        body = _with_secrets(changes, exclude_unset=True)
        call = Call(routes.CHANGE_REPOSITORY, {"repository_id": repository_id}, body, idempotent=False)
        return await self._api.fetch(adm.SavedRepository, call)

    async def remove_repository(self, repository_id: str) -> Repository:
        call = Call(routes.REMOVE_REPOSITORY, {"repository_id": repository_id}, idempotent=False)
        return await self._api.fetch(Repository, call)

    async def audit(self, cursor: str | None = None, limit: int = 50) -> m.Page[AuditEntry]:
        parameters = {"cursor": cursor, "limit": limit}
        return await self._api.fetch(m.Page[AuditEntry], Call(routes.AUDIT, {}, parameters=parameters))

    async def verify_audit(self, after: int = 0, expected: str | None = None) -> adm.AuditCheck:
        parameters = {"after": after, "expected": expected}
        return await self._api.fetch(adm.AuditCheck, Call(routes.VERIFY_AUDIT, {}, parameters=parameters))

    async def revoke_key(self, key_id: str) -> Key:
        return await self._api.fetch(Key, Call(routes.REVOKE_KEY, {"key_id": key_id}))

    async def prune(self, pruning: adm.Pruning) -> adm.Pruned:
        return await self._api.fetch(adm.Pruned, Call(routes.PRUNE, {}, to_json(pruning)))

    async def model_limits(self) -> tuple[ModelLimit, ...]:
        return await self._api.fetch(tuple[ModelLimit, ...], Call(routes.MODEL_LIMITS, {}))

    async def lift_model_limit(self, account: str) -> tuple[ModelLimit, ...]:
        return await self._api.fetch(tuple[ModelLimit, ...], Call(routes.LIFT_MODEL_LIMIT, {"account": account}))

    async def who_am_i(self) -> adm.WhoAmI:
        return await self._api.fetch(adm.WhoAmI, Call(routes.WHO_AM_I, {}))

    async def health(self) -> adm.Health:
        return await self._api.fetch(adm.Health, Call(routes.HEALTH, {}))


def _with_secrets(message: Model, *, exclude_unset: bool = False) -> bytes:
    """A message in which secrets are told, as the body of a request."""
    return message.model_dump_json(context={"plain": True}, exclude_unset=exclude_unset).encode()
