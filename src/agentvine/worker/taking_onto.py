"""A branch of our own that conflicts with its target, taken onto what that is now: by git, or with the agent."""

from dataclasses import dataclass, replace

from agentvine.domain.evidence import Evidence
from agentvine.worker.job import Job
from agentvine.worker.rewriting import RebaseConflict


@dataclass(frozen=True, slots=True)
class Moved:
    """The branch on top of its target; where git alone cannot do that, the target, and what is to be taken over."""

    onto: str
    head: str
    clean: bool
    """Whether all of its commits could be applied. False: `head` is the target itself."""
    why: str
    files: str
    summary: str


async def taken_onto(job: Job, target: str) -> Moved | None:
    """Apply what the branch has that its target has not. None if the branch is not where we left it.

    The mirror must be up to date. The same commits come out whenever this is done. Raises RepositoryProblem.
    """
    branch, done = job.claimed.order.branch, job.claimed.follows
    before = await job.mirror.resolve(branch)
    onto = await job.mirror.resolve(target)
    if await _intended(job, before, onto):
        again = await job.publisher.rebase(before, onto, onto)
        return _clean(branch, target, onto, before) if again == before else None
    if done is None or done.delivery is None or done.delivery.new_sha != before:
        return None
    fork = await job.mirror.parting(target, before)
    why = f"What you did was delivered onto `{branch}`, which conflicts with `{target}` by now."
    if fork is not None:
        try:
            head = await job.publisher.rebase(before, fork, onto)
        except RebaseConflict:
            pass
        else:
            if head != onto:
                return _clean(branch, target, onto, head)
    since = f"{fork}..{before}" if fork is not None else before
    files = (
        f"Your checkout is a fresh one of `{target}` as it is now, `{onto[:12]}`, without your commits. Take them over "
        f"with `git cherry-pick {since}` (git knows them), resolve what conflicts so that nothing of either side is "
        "lost, and finish with `git cherry-pick --continue`. What you commit here takes the place of what was "
        "delivered."
    )
    return Moved(onto, onto, clean=False, why=why, files=files, summary="")


async def verified_alone(job: Job, moved: Moved) -> Evidence:
    """The evidence for a branch that git alone has moved: what it changes left before, under the rules of then."""
    subject = job.subject(moved.onto, moved.head)
    return await job.shop.verifier.verify(replace(subject, builds_on=moved.head))


async def _intended(job: Job, before: str, onto: str) -> bool:
    """Whether the branch is on top of its target already, because an earlier attempt has come so far."""
    earlier = job.claimed.earlier
    intended = earlier.execution.delivery if earlier is not None else None
    return intended is not None and intended.new_sha == before and await job.mirror.descends(before, onto)


def _clean(branch: str, target: str, onto: str, head: str) -> Moved:
    why = f"What you did was delivered onto `{branch}`, and taken onto what `{target}` is now, `{onto[:12]}`."
    files = "Your checkout is that: your commits on top of it."
    summary = f"The branch was moved onto what {target} is now ({onto[:12]}). Nothing else was changed."
    return Moved(onto, head, clean=True, why=why, files=files, summary=summary)
