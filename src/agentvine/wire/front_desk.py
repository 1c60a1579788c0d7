"""The contract between people (and their programs) and the server. Server and client implement it alike."""

from collections.abc import AsyncIterator
from typing import Protocol

from agentvine.domain.audit import AuditEntry
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


class FrontDesk(Protocol):
    """Bound to one key. Every method may raise `Unauthenticated`, `Forbidden`, `Unavailable`; whatever takes an id,
    `NotFound`. Listings are newest first, in pages of at most `limit` (1 to 200) items."""

    async def submit(self, task: NewTask, idempotency_key: str | None = None) -> Task:
        """Accept a task. With a key used before, the same body gets the same task, another `IdempotencyMismatch`.

        Raises `InvalidInput` if a needed task does not exist, `DependencyCycle`, `Forbidden` if the key's scope does.
        """
        ...

    async def submit_all(self, batch: m.TaskBatch) -> tuple[Task, ...]:
        """Accept all tasks of the batch, or none; the answer is in the batch's order.

        Raises as `submit`; `DependencyCycle` with the names in order if some would wait for one another.
        """
        ...

    async def task(self, task_id: str) -> m.TaskDetail:
        """A task and what became of it."""
        ...

    async def tasks(
        self, which: m.TaskFilter = m.TaskFilter(), cursor: str | None = None, limit: int = 50
    ) -> m.Page[Task]:
        """Those that fit `which`, and are within the scope of the key."""
        ...

    async def cancel(self, task_id: str) -> WorkOrder:
        """End a live order. Cancelling a cancelled one changes nothing; raises `Conflict` if it ended otherwise."""
        ...

    async def retry(self, task_id: str, retry: m.Retry | None = None) -> WorkOrder:
        """Reopen a failed order; with a comment its last conversation goes on, and hears that first.

        A completed one stays as it is: with a comment a new task follows it, which goes on with its conversation on the
        branch that it delivered, and that task's order is returned. Raises `Conflict` for any other, `Forbidden` if
        this key may not submit such a task.
        """
        ...

    async def comment(self, task_id: str, new: m.NewComment) -> m.Comment:
        """Say something to whoever works on it: Claude hears it with its next turn.

        Raises `Conflict` for an order that has ended.
        """
        ...

    async def comments(self, task_id: str) -> tuple[m.Comment, ...]:
        """What people said of it, oldest first."""
        ...

    async def work_order(self, work_order_id: str) -> WorkOrder:
        """The order of a task, as it stands now."""
        ...

    async def work_orders(
        self, status: OrderStatus | None = None, cursor: str | None = None, limit: int = 50
    ) -> m.Page[WorkOrder]:
        """Those with this status, if one is named, and within the scope of the key."""
        ...

    async def cancel_order(self, work_order_id: str) -> WorkOrder:
        """As `cancel`, by the order's id."""
        ...

    async def requeue(self, work_order_id: str) -> WorkOrder:
        """As `retry`, by the order's id."""
        ...

    async def execution(self, execution_id: str) -> Execution:
        """One attempt at an order: how far it came, what it cost, how it ended."""
        ...

    async def transcript(self, execution_id: str, after: int = 0, wait_seconds: float = 0.0) -> m.TranscriptPage:
        """As in the worker's contract."""
        ...

    async def diff(self, execution_id: str, draft: bool = False) -> str:
        """The result as a unified diff, or, as a `draft`, what had been changed when something was asked last.

        Raises `NotFound` if there is none yet.
        """
        ...

    async def evidence(self, execution_id: str) -> Evidence:
        """Raises `NotFound` if none was recorded."""
        ...

    async def statement(self, execution_id: str) -> str:
        """The evidence, signed: a file for `domain.statement.opened`. Raises `NotFound` if none was recorded."""
        ...

    async def signing_key(self) -> adm.SigningKeyInfo:
        """By which key this server signs evidence."""
        ...

    async def requests(
        self, status: RequestStatus | None = RequestStatus.OPEN, cursor: str | None = None, limit: int = 50
    ) -> m.Page[WorkerRequest]:
        """Oldest first: who waits longest is served first."""
        ...

    async def inbox(self, cursor: str | None = None, limit: int = 50) -> m.Inbox:
        """What is open, with the tasks. Who waits longest comes first."""
        ...

    async def request(self, request_id: str) -> WorkerRequest:
        """What a worker asked, and the answer if there is one."""
        ...

    async def respond(self, request_id: str, reply: m.Reply) -> WorkerRequest:
        """Answer. The first answer wins: the same one again is harmless, another raises `AlreadyAnswered`.

        One that comes too late is kept, and the request stays `expired`. Raises `Conflict` if the order has ended,
        `InvalidInput` if it is no answer to such a request, `Forbidden` if it is to be remembered beyond the key's
        scope.
        """
        ...

    async def precedents(
        self, everything: bool = False, cursor: str | None = None, limit: int = 50
    ) -> m.Page[Precedent]:
        """Answers that were kept to settle the like. `everything`: also those that are expired or forgotten."""
        ...

    async def precedent(self, precedent_id: str) -> Precedent:
        """An answer that was kept, also one that settles nothing any more."""
        ...

    async def forget(self, precedent_id: str) -> Precedent:
        """Let it settle nothing from now on. Again, it changes nothing."""
        ...

    async def workers(self) -> tuple[Worker, ...]:
        """All that ever registered and were not pruned."""
        ...

    async def worker(self, worker_id: str) -> Worker:
        """One of them, with what its last heartbeat said."""
        ...

    async def drain_worker(self, worker_id: str) -> Worker:
        """Let it finish what it does and leave."""
        ...

    async def queue(self) -> m.QueueReport:
        """How much of each type waits and runs in each queue, and what holds it up."""
        ...

    def events(self, after: int | None = None, task_id: str | None = None) -> AsyncIterator[Event]:
        """Events above number `after` (None: from now on), then each new one, without end."""
        ...

    async def keys(self) -> tuple[Key, ...]:
        """All keys, without their secrets, which nobody has."""
        ...

    async def create_key(self, new: adm.NewKey) -> adm.CreatedKey:
        """Make a key. Raises `Forbidden` if it would allow more, or last longer, than the key that asks for it."""
        ...

    async def rotate_key(self, key_id: str, rotation: adm.Rotation = adm.Rotation()) -> adm.CreatedKey:
        """A new secret for the same key; the present one opens until the overlap is over, one before it no more.

        Raises `Forbidden` as `create_key`, `Conflict` for a key that has ended.
        """
        ...

    async def revoke_key(self, key_id: str) -> Key:
        """From now on it opens nothing, and whoever waits with it is sent away. Again, it changes nothing."""
        ...

    async def repositories(self, cursor: str | None = None, limit: int = 50) -> m.Page[Repository]:
        """What operators have said of repositories; those that the key's scope is about."""
        ...

    async def repository(self, repository_id: str) -> Repository:
        """What was said of one, and what it has cost today; never its secrets."""
        ...

    async def add_repository(self, new: adm.NewRepository) -> adm.SavedRepository:
        """Make one known. Raises `Conflict` if it is already, `Forbidden` if it is not the key's to say."""
        ...

    async def change_repository(self, repository_id: str, changes: adm.RepositoryChanges) -> adm.SavedRepository:
        """Say something else of it, or keep another secret. Raises as `add_repository`."""
        ...

    async def remove_repository(self, repository_id: str) -> Repository:
        """Forget it, with its secrets. Its orders go on by the rules for all."""
        ...

    async def audit(self, cursor: str | None = None, limit: int = 50) -> m.Page[AuditEntry]:
        """The audit log, complete until now. Raises `Forbidden` for an admin key whose scope is restricted."""
        ...

    async def verify_audit(self, after: int = 0, expected: str | None = None) -> adm.AuditCheck:
        """Compute again what follows entry `after`, whose hash is `expected`, as far as one look goes.

        Raises as `audit`.
        """
        ...

    async def prune(self, pruning: adm.Pruning) -> adm.Pruned:
        """Remove what is old and over, for some seconds.

        Raises `Forbidden` for an admin key whose scope is restricted.
        """
        ...

    async def model_limits(self) -> tuple[ModelLimit, ...]:
        """Model accounts whose limit is used up."""
        ...

    async def lift_model_limit(self, account: str) -> tuple[ModelLimit, ...]:
        """Let its workers work again now. What is left is returned."""
        ...

    async def who_am_i(self) -> adm.WhoAmI:
        """The key that asks."""
        ...

    async def health(self) -> adm.Health:
        """Whether the server answers, and what of it works less well than it should."""
        ...
