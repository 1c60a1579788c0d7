"""The contract between a worker and the server. Both sides implement it: the server for real, the client over HTTP.

A work order's journey, as the worker tells it
-----------------------------------------------
I `register` and learn how long a lease lasts, and get a session token, which everything that I say later carries: it
shows that it is this process that speaks. If another process registers under my id, I am `Superseded` and end.
From then on I send a `heartbeat` now and then, which also tells me what
the server wants of me.

I `claim`. The call waits until there is an order of my type in one of my queues, or until I have waited long enough.
The order comes with a lease: until the lease ends nobody else gets it, and whatever I say about it carries the lease's
token. I say `start` at once; an order that is not started within the acknowledgement time goes to somebody else.
Every third of a lease I `renew` all that I hold, in one call. If a renewal says that a lease is lost or its order
cancelled, I stop that execution and touch nothing more. If renewals do not get through, I stop by my own clock before
the lease can end.

While I work I report each `phase`, and Claude's `transcript` as it is written. When the result is verified I store it
(`store_artifact` for the bundle and the diff, then `evidence`) before anything leaves this machine. If I die now,
whoever claims the order next finds it under `Claimed.earlier` and only delivers.

I journal what I am about to push (`deliver`), push, read the remote back, and `complete`. Saying `complete` twice is
harmless. If it did not work I `fail` with a reason, and the server decides whether and when it is tried again. If I
have to leave I `release` it. If a person has to decide, I `park` it with my request and forget it: any worker goes on
when the answer is there.

Beside all that I run the server's errands to forges, one at a time; `wire/errands.py` tells how.

At the end I `deregister`.
"""

from typing import Protocol

from agentvine.domain.evidence import Evidence
from agentvine.domain.execution import Execution
from agentvine.domain.request import ControllerResponse, WorkerRequest
from agentvine.domain.work_order import WorkOrder
from agentvine.wire import messages as m
from agentvine.wire.errands import ErrandPlane
from agentvine.wire.lending import HandedCredential


class ControlPlane(ErrandPlane, Protocol):
    """The worker's side of the server, bound to one key and, from `register` on, to one worker.

    Every method may raise `Unauthenticated`, `Forbidden`, `Superseded` and `Unavailable`. Methods that take a message
    with a token raise `LeaseLost` if it is stale, and then nothing has changed; `NotFound` if the order or execution
    does not exist; `InvalidInput` for what cannot be.
    """

    async def register(self, registration: m.Registration) -> m.Registered:
        """Make this worker known. Of an id that is known already, the earlier process is taken for dead.

        Raises `UpgradeRequired` if it has no protocol in common with the server.
        """
        ...

    async def heartbeat(self, worker_id: str, beat: m.Heartbeat) -> m.HeartbeatReply:
        """Say how it goes, hear what is wanted."""
        ...

    async def deregister(self, worker_id: str) -> None:
        """Leave. Leases still held are lost at once. Harmless if the worker is unknown."""
        ...

    async def claim(self, ask: m.ClaimRequest) -> m.Claimed | None:
        """The best order for this worker, or None if there was none within `ask.wait_seconds`."""
        ...

    async def renew(self, renewal: m.Renewal) -> m.RenewalReply:
        """One line for each lease asked about; never raises for a lost one."""
        ...

    async def start(self, work_order_id: str, held: m.Held) -> m.RenewedLease:
        """Acknowledge the claim; the lease now lasts its full time."""
        ...

    async def credential(self, work_order_id: str, held: m.Held) -> HandedCredential | None:
        """What the server keeps for the repository of an order that is held; None if it keeps nothing.

        Raises `Forbidden` if what is between us could be read by others.
        """
        ...

    async def phase(self, execution_id: str, report: m.PhaseReport) -> None:
        """Report progress. A phase that lies behind the present one is taken for a late message and changes nothing."""
        ...

    async def comments(self, work_order_id: str, wanted: m.CommentsWanted) -> m.CommentPage:
        """What people said of an order that is held; waits for a comment if there is none yet."""
        ...

    async def add_transcript(self, execution_id: str, batch: m.TranscriptBatch) -> None:
        """Store entries; those that are there already are passed over."""
        ...

    async def transcript(self, execution_id: str, after: int = 0, wait_seconds: float = 0.0) -> m.TranscriptPage:
        """Entries from number `after` on, at most a thousand; waits for some if there are none yet."""
        ...

    async def store_artifact(self, execution_id: str, token: int, name: str, content: bytes) -> None:
        """Keep `content` under `name` (lower-case letters, digits, '-', '.'); storing it again replaces it."""
        ...

    async def artifact(self, execution_id: str, name: str) -> bytes:
        """What was stored. Raises `NotFound`."""
        ...

    async def add_evidence(self, execution_id: str, report: m.EvidenceReport) -> None:
        """Record the verification's findings. If they passed and a bundle is stored, the result counts as stored."""
        ...

    async def evidence(self, execution_id: str) -> Evidence:
        """Raises `NotFound` if none was recorded."""
        ...

    async def deliver(self, work_order_id: str, intent: m.DeliveryIntent) -> Execution:
        """Journal what is about to leave. Must come before the push."""
        ...

    async def complete(self, work_order_id: str, completion: m.Completion) -> m.Completed:
        """It is delivered. The same completion again gives the same answer.

        With `next` the answer may bring the next order, as `claim` would. That there is none for the worker, for
        whatever reason, takes nothing back: if it matters, the worker hears of it when it claims. Only a claim in
        another's name, or beyond what the key is for, is refused together with the completion.
        """
        ...

    async def fail(self, work_order_id: str, report: m.FailureReport) -> WorkOrder:
        """It did not work. The order in the answer says whether it will be tried again (pending) or not (failed)."""
        ...

    async def release(self, work_order_id: str, surrender: m.Surrender) -> WorkOrder:
        """Give it back unharmed; the attempt does not count."""
        ...

    async def park(self, work_order_id: str, parking: m.Parking) -> WorkerRequest:
        """Ask, and let go of the order until the answer is there."""
        ...

    async def ask(self, execution_id: str, request: m.NewRequest) -> WorkerRequest:
        """Ask, and keep the order. Asking again with the same id changes nothing."""
        ...

    async def response(self, request_id: str, wait_seconds: float = 0.0) -> ControllerResponse | None:
        """The answer, or None if there was none within `wait_seconds`.

        Raises `Conflict` for a request that expired or was withdrawn: there will be none.
        """
        ...
