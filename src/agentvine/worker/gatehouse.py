"""The gate of one execution, put together: the judge of its type, and all that asking needs."""

from agentvine.worker.agent.tools import TypeGate
from agentvine.worker.approving import Foresight
from agentvine.worker.asking import Asking
from agentvine.worker.bare_repository import TreeFile
from agentvine.worker.box import OpenBox
from agentvine.worker.documents import Documents
from agentvine.worker.draft import Drafts
from agentvine.worker.job import Job
from agentvine.worker.workspace import Workspace


def gate_of(job: Job, workspace: Workspace, base: str, box: OpenBox) -> Asking:
    """What every call of the agent has to pass that works in `workspace`, on top of the commit `base`."""
    gate = TypeGate(
        job.profile,
        workspace.path,
        box.inner.seen_at,
        policy=job.tools,
        sensitive=job.shop.sensitive,
        repository=job.claimed.order.repository,
    )

    async def files() -> list[TreeFile]:
        return await job.mirror.list_tree(base)

    return Asking(
        gate,
        job.shop.queue,
        job.claimed,
        hold=job.shop.request_hold,
        expiry=job.shop.request_expiry,
        drafts=Drafts(workspace, base, box.offline, job.shelf.keep),
        refusals=job.refusals,
        approvals=job.approvals,
        foresight=Foresight(workspace.path, files, job.approvals),
        documents=Documents(job.mirror, base, job.shelf),
    )
