"""The last step: what was verified leaves this machine, once, and as far as the permission level goes."""

import hashlib
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from agentvine.domain.evidence import Evidence
from agentvine.domain.execution import Delivery
from agentvine.domain.ids import short
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.retry import Failure, FailureReason
from agentvine.kit import failpoints
from agentvine.kit.logs import logger, redact
from agentvine.wire.messages import Claimed, DeliveryIntent
from agentvine.worker import git
from agentvine.worker.conclusion import Delivered, Failed, Progress
from agentvine.worker.forge.base import Forge, Proposal, Review
from agentvine.worker.forge.description import description, remarks
from agentvine.worker.host_lock import exclusive
from agentvine.worker.mirror import BranchNotFound, Mirror, RepositoryEmpty
from agentvine.worker.publisher import BranchMoved, Publisher
from agentvine.worker.rewriting import RebaseConflict
from agentvine.worker.storing import Shelf, insist
from agentvine.worker.verification.verify import failing

TRIES = 3
"""How often a result is moved onto a branch that others push to, before a person has to look."""
_LONGEST_QUEUE = 300.0
"""Seconds that a delivery waits for those before it onto the same branch."""
_SLUG_LENGTH = 40
_COMMIT_LIMIT = 1024 * 1024

_log = logger("delivery")


@dataclass(frozen=True, slots=True)
class Verified:
    """A result that may leave: commits from `base` to `head`, both in the publisher's repository."""

    base: str
    head: str
    evidence: Evidence
    summary: str
    intended: Delivery | None = None
    """What an earlier execution had journaled before it died."""


Verify = Callable[[str, str], Awaitable[Evidence]]
"""Verifies the commits from one sha to another."""


class Deliverer:
    """Delivers one order's result."""

    def __init__(
        self,
        progress: Progress,
        publisher: Publisher,
        mirror: Mirror,
        forge: Forge,
        shelf: Shelf,
        verify: Verify,
    ) -> None:
        self._progress = progress
        self._claimed: Claimed = progress.claimed
        self._publisher = publisher
        self._mirror = mirror
        self._forge = forge
        self._shelf = shelf
        self._verify = verify

    async def deliver(self, result: Verified) -> Delivered | Failed:
        """Push as the order's level says; what a person approved goes the supervised way.

        Raises LeaseLost, RepositoryProblem.
        """
        if result.intended is not None and await has_arrived(result.intended, self._publisher, self._mirror):
            return await self._concluded(result, result.intended)
        if self._followed is not None or self._claimed.order.permission_level is PermissionLevel.AUTONOMOUS:
            return await self._onto_the_task_s_branch(result)
        return await self._onto_an_own_branch(result)

    @property
    def _followed(self) -> Delivery | None:
        """The own branch of the task that this one follows, which is this task's branch: it grows."""
        done = self._claimed.follows.delivery if self._claimed.follows is not None else None
        return done if done is not None and done.kind in {"branch", "pull_request"} else None

    async def report(self, result: Verified) -> Delivered:
        """Deliver a result that consists of words: nothing is pushed."""
        order = self._claimed.order
        delivery = Delivery(kind="report", branch=order.branch, old_sha=result.base, new_sha=result.base)
        await self._journal(delivery)
        review = Review(
            repository=order.repository,
            branch=order.branch,
            head_sha=result.base,
            text=result.summary,
            remarks=remarks(result.evidence.findings),
            order=order.id,
        )
        self._progress.ensure_held()
        url = await self._forge.review(review)
        return Delivered(delivery.model_copy(update={"url": url}), result.summary)

    async def _onto_the_task_s_branch(self, result: Verified) -> Delivered | Failed:
        """One delivery onto a branch at a time on this host: else each would move the branch while the next verifies
        its result on top of the one before, and with a few workers most would run out of tries."""
        branch = self._claimed.order.branch
        turn = f"{self._mirror.key}.{hashlib.sha256(branch.encode()).hexdigest()[:16]}.delivery"
        async with AsyncExitStack() as mine:
            try:
                await mine.enter_async_context(exclusive(self._mirror.path.with_name(turn), _LONGEST_QUEUE))
            except (
                TimeoutError
            ):  # whoever has the turn may be frozen; the push takes nothing for granted without it, too
                _log.warning("delivering out of turn", branch=branch, waited_seconds=_LONGEST_QUEUE)
            return await self._push_or_rebase(result, branch)

    async def _push_or_rebase(self, result: Verified, branch: str) -> Delivered | Failed:
        kind = self._followed.kind if self._followed is not None else "push"
        if result.head == result.base:  # words alone: there is nothing to push
            delivery = Delivery(kind=kind, branch=branch, old_sha=result.base, new_sha=result.head)
            await self._journal(delivery)
            return await self._concluded(result, delivery)
        if (moved_from := await self._moved_from(result)) is not None:
            return await self._replaced(result, branch, moved_from)
        tried = [result.intended] if result.intended is not None and result.intended.kind == kind else []
        for attempt in range(1, TRIES + 1):
            delivery = Delivery(kind=kind, branch=branch, old_sha=result.base, new_sha=result.head)
            tried.append(delivery)
            await self._journal(delivery)
            self._progress.ensure_held()
            try:
                await self._publisher.push(branch, result.head, result.base, fast_forward_only=True)
            except BranchMoved as moved:
                _log.info("the branch moved", branch=branch, attempt=attempt, found=moved.found)
                await self._mirror.update()
                for earlier in tried:  # a push whose answer was lost, with another's on top
                    if await _has_landed(earlier, self._mirror):
                        return await self._concluded(result, earlier)
                if attempt == TRIES:
                    break
                rebased = await self._rebased(result, branch)
                if isinstance(rebased, Failed):
                    return rebased
                result = rebased
            else:
                return await self._concluded(result, delivery)
        why = f"{branch} was pushed to by others {TRIES} times in a row; requeue the task when it is quieter"
        return _failed(FailureReason.BRANCH_MOVED, why)

    async def _moved_from(self, result: Verified) -> str | None:
        """What was delivered last, if the result does not build on it, because it was taken onto what its target is."""
        grows, followed = self._claimed.grows, self._followed
        if grows is None or followed is None or "conflicts" not in grows.causes:
            return None
        commits = self._publisher.repository
        known = await commits.commit_at(followed.new_sha) is not None
        return followed.new_sha if known and not await commits.descends(result.head, followed.new_sha) else None

    async def _replaced(self, result: Verified, branch: str, before: str) -> Delivered | Failed:
        """Our own branch, which is still where we left it, is set to a result that was taken onto its target."""
        assert self._followed is not None  # noqa: S101 - see above
        delivery = Delivery(kind=self._followed.kind, branch=branch, old_sha=before, new_sha=result.head)
        await self._journal(delivery)
        self._progress.ensure_held()
        try:
            await self._publisher.push(branch, result.head, before)
        except BranchMoved as moved:
            why = f"{moved}; somebody else pushed onto it, and nothing of that is overwritten: look at it"
            return _failed(FailureReason.BRANCH_MOVED, why)
        return await self._concluded(result, delivery)

    async def _rebased(self, result: Verified, branch: str) -> Verified | Failed:
        """The result on top of what was pushed meanwhile and fetched, verified again."""
        try:
            onto = await self._mirror.resolve(branch)
            head = await self._publisher.rebase(result.head, result.base, onto)
        except (RebaseConflict, BranchNotFound) as error:
            why = f"{error}; requeue the task, so that it begins with what is there"
            return _failed(FailureReason.BRANCH_MOVED, why)
        if head == onto:
            return _failed(FailureReason.NO_CHANGES, f"{branch} has all of these changes already, pushed by others")
        verified = await self._verify(onto, head)
        evidence = verified.model_copy(update={"repairs": result.evidence.repairs})
        await self._shelf.record(evidence)
        if not evidence.passed:
            checks = "; ".join(f"{check.name}: {check.why}" for check in failing(evidence))
            why = f"on top of what was pushed to {branch} meanwhile it is not done: {checks}"
            return _failed(FailureReason.VERIFICATION_FAILED, why)
        return replace(result, base=onto, head=head, evidence=evidence)

    async def _onto_an_own_branch(self, result: Verified) -> Delivered | Failed:
        asked = self._claimed.task.asked
        branch = own_branch(self._claimed.task.id, asked.type.value, asked.title)
        found = await self._publisher.remote_sha(branch)
        if found is not None and found != result.head and not await self._is_ours(found):
            why = f"{branch} holds commits that this task did not make; look at them, and delete or rename the branch"
            return _failed(FailureReason.BRANCH_MOVED, why)
        kind = "pull_request" if self._forge.opens_pull_requests else "branch"
        old = found if found != result.head else None
        delivery = Delivery(kind=kind, branch=branch, old_sha=old, new_sha=result.head)
        await self._journal(delivery)
        self._progress.ensure_held()
        await self._publisher.push(branch, result.head, found)
        return await self._concluded(result, delivery)

    async def _is_ours(self, commit: str) -> bool:
        """True if the commit names this task: an earlier attempt pushed it."""
        await self._mirror.update()
        command = git.objects(self._mirror.path, [commit], what="content", output_limit=_COMMIT_LIMIT)
        content = (await self._mirror.git.run(command)).raw
        return f"AgentVine-Task: {self._claimed.task.id}".encode() in content.splitlines()

    async def _journal(self, delivery: Delivery) -> None:
        await failpoints.reached("deliver.before_intent")
        intent = DeliveryIntent(token=self._shelf.token, delivery=delivery)
        await insist(lambda: self._shelf.plane.deliver(self._claimed.order.id, intent))
        await failpoints.reached("deliver.after_intent")

    async def _concluded(self, result: Verified, delivery: Delivery) -> Delivered:
        await failpoints.reached("deliver.after_push")
        if delivery.kind != "pull_request":
            return Delivered(delivery, result.summary)
        if self._followed is not None and self._claimed.grows is None:  # a server that does not say where it began
            return Delivered(delivery.model_copy(update={"url": self._followed.url}), result.summary)
        await failpoints.reached("propose.before_request")
        self._progress.ensure_held()
        url = await self._forge.propose(self._proposal(result, delivery))
        await failpoints.reached("propose.after_reply")
        known = self._followed.url if self._followed is not None else None
        return Delivered(delivery.model_copy(update={"url": url or known}), result.summary)

    def _proposal(self, result: Verified, delivery: Delivery) -> Proposal:
        """The pull request as it is to be; one that has grown keeps its mark, and says anew what was proven."""
        order, asked, grows = self._claimed.order, self._claimed.task.asked, self._claimed.grows
        first = grows.summary.strip() if grows is not None else ""
        said = f"{first}\n\nWhat came last:\n\n{result.summary}" if first else result.summary
        text = description(asked, self._claimed.task.id, result.evidence, said)
        return Proposal(
            repository=order.repository,
            branch=delivery.branch,
            target=grows.target if grows is not None else order.branch,
            title=redact(asked.title),
            text=redact(text),
            head_sha=delivery.new_sha,
            order=grows.work_order_id if grows is not None else order.id,
        )


async def has_arrived(intended: Delivery, publisher: Publisher, mirror: Mirror) -> bool:
    """True if a delivery that was journaled is on the remote: it counts, whatever became of its execution.

    Raises GitFailed.
    """
    if intended.kind != "push":
        return await publisher.remote_sha(intended.branch) == intended.new_sha
    await mirror.update()
    return await _has_landed(intended, mirror)


async def _has_landed(pushed: Delivery, mirror: Mirror) -> bool:
    """True if the task's branch, as last fetched, is at that push or was moved on from there by others."""
    try:
        tip = await mirror.resolve(pushed.branch)
    except (BranchNotFound, RepositoryEmpty):
        return False
    known = await mirror.commit_at(pushed.new_sha)
    return known is not None and await mirror.descends(tip, known)


def own_branch(task_id: str, kind: str, title: str) -> str:
    """The one branch of a task, the same at each attempt."""
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower())[:_SLUG_LENGTH].strip("-")
    return f"agentvine/{kind}/{short(task_id)}" + (f"-{slug}" if slug else "")


def _failed(reason: FailureReason, detail: str) -> Failed:
    return Failed(Failure(reason=reason, detail=detail[:20_000]))
