"""One execution's belongings: what it was given, where it works, with what tools."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from agentvine.domain.evidence import Evidence
from agentvine.domain.repository_settings import RepositoryRules
from agentvine.domain.sensitive import Sensitive
from agentvine.domain.task import NewTask
from agentvine.domain.tool_policy import ToolPolicy, policy_of
from agentvine.domain.worker_types import PROFILES, TaskType, WorkerProfile
from agentvine.kit.clock import Clock
from agentvine.wire.messages import Claimed
from agentvine.worker.access import Access, Offer
from agentvine.worker.agent.base import Agent, ModelAccess, Watchdog
from agentvine.worker.agent.refusals import Refusals
from agentvine.worker.approving import Approvals
from agentvine.worker.box import Boxes
from agentvine.worker.conclusion import Progress
from agentvine.worker.forge.choice import Forges
from agentvine.worker.git import Git
from agentvine.worker.lease_credentials import LeaseCredentials
from agentvine.worker.mirror import Mirror, Mirrors
from agentvine.worker.place import Place
from agentvine.worker.publisher import Publisher
from agentvine.worker.queue_client import QueueClient
from agentvine.worker.sandbox.base import Box
from agentvine.worker.spares import Spares
from agentvine.worker.storing import Shelf
from agentvine.worker.verification.verify import Subject, Verifier


async def _is_ready() -> None:
    """Of an agent that needs nothing to be ready."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all executions of a worker share. `root` is where mirrors, places and results are kept on this host."""

    root: Path
    agent_in: Callable[[Box], Agent]
    """An agent whose program runs in the box."""
    git: Git
    mirrors: Mirrors
    spares: Spares
    boxes: Boxes
    verifier: Verifier
    forges: Forges
    queue: QueueClient
    clock: Clock
    agent_ready: Callable[[], Coroutine[object, object, None]] = _is_ready
    """Awaited while an execution is prepared: what the agent needs once in this process, so that it need not wait."""
    model: ModelAccess = field(default_factory=lambda: ModelAccess(None, None))
    watchdog: Watchdog = field(default_factory=Watchdog)
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the agent's commands need to find their tools."""
    offer: Offer = field(default_factory=Offer)
    tools: tuple[str, ...] = ()
    """What takes the place of the tools of the worker's type, if anything does."""
    sensitive: Sensitive = field(default_factory=Sensitive)
    request_hold: float = 300.0
    """Seconds that a slot is held for an answer of the controller."""
    request_expiry: float = 259_200.0
    """Seconds after which no answer is waited for any more."""
    checkpoint_seconds: float = 60.0
    """How often what the agent has changed is stored while it works; 0: never."""
    tell_seconds: float = 15.0
    """How often the server is told what was spent."""
    max_repairs: int = 3
    keep_places: bool = False
    served: LeaseCredentials | None = None
    """The credentials that the server keeps for the repositories of what is held."""


@dataclass(frozen=True, slots=True)
class Job:
    """One execution."""

    shop: Workshop
    claimed: Claimed
    progress: Progress
    place: Place
    mirror: Mirror
    publisher: Publisher
    shelf: Shelf
    access: Access
    refusals: Refusals = field(default_factory=Refusals)
    approvals: Approvals = field(default_factory=Approvals)

    def __post_init__(self) -> None:
        if self.claimed.earlier is not None:
            self.approvals.know(self.claimed.earlier.approvals)

    @property
    def task(self) -> NewTask:
        """What was asked for."""
        return self.claimed.task.asked

    @property
    def profile(self) -> WorkerProfile:
        """What the task's type brings with it."""
        return PROFILES[self.task.type]

    @property
    def tools(self) -> ToolPolicy:
        """What the agent may do: what its type may, as far as this worker offers it."""
        return policy_of(self.task.type, self.shop.tools)

    @property
    def rules(self) -> RepositoryRules:
        """What an operator says of the repository."""
        return self.claimed.rules or RepositoryRules()

    @property
    def execution_id(self) -> str:
        """Of this attempt."""
        return self.claimed.lease.execution_id

    @property
    def budget_left(self) -> float:
        """Dollars that may still be spent."""
        return self.claimed.budget_left_usd - self.progress.usage.cost_usd

    def subject(
        self,
        base: str,
        head: str,
        *,
        repairs: int = 0,
        answer: JsonValue = None,
        said: str = "",
        since: str | None = None,
        builds_on: str | None = None,
    ) -> Subject:
        """The commits from `base` to `head`, to be verified; those up to `builds_on`, if it is given, left already."""
        return Subject(
            execution_id=self.execution_id,
            task_id=self.claimed.task.id,
            type=self.task.type,
            url=self.claimed.order.repository,
            commits=self.publisher.repository if head not in {base, builds_on} else self.mirror,
            base=base,
            head=head,
            folder=self.place.checkouts,
            private=self.place.private,
            access=self.access,
            usage=self.progress.usage,
            repairs=repairs,
            answer=answer,
            said=said,
            since=since,
            builds_on=builds_on,
            tools=self.tools,
            sensitive=self.shop.sensitive,
            refused_calls=self.refusals.calls,
            asked="\n".join((self.task.title, self.task.description, *self.task.requirements)),
            grants=self.approvals.grants,
            rules=self.rules,
        )

    async def verify(self, base: str, head: str) -> Evidence:
        """The evidence for a result that was moved onto another base."""
        return await self.shop.verifier.verify(self.subject(await self.judged_from(base), head, builds_on=base))

    async def judged_from(self, base: str) -> str:
        """From where on a result is verified that builds on `base`.

        Of a pull request that grows it is all of it, from where it parted from its target: that is what is merged, and
        a repair of a test, say, cannot show by itself that a bug is gone. Raises GitFailed.
        """
        grows = self.claimed.grows
        if grows is None or self.task.type is TaskType.REVIEW:
            return base
        return await self.mirror.parting(grows.target, base) or base

    async def take_in(self, bundle: bytes, base: str, signed_for: str) -> str:
        """Admit a bundle and sign its commits in the name of `signed_for`. Returns the head.

        The same bundle gives the same head, on whatever host. Raises ResultRefused, GitFailed.
        """
        head = await self.publisher.admit(bundle, base, self.execution_id)
        return await self.publisher.sign_off(
            head, base, task_id=self.claimed.task.id, execution_id=signed_for, prefix=self.profile.commit_prefix
        )
