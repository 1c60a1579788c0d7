"""How a proposal becomes one pull request, and a review one review, whatever is lost on the way.

Nothing is remembered here: each try looks what is there and does what is missing. So it does not matter whether the try
before it came to nothing, came through without an answer, or came through twice.
"""

from collections.abc import Sequence

from agentvine.domain.retry import FailureReason
from agentvine.kit.backoff import Backoff
from agentvine.kit.doorbell import pause
from agentvine.kit.logs import logger
from agentvine.worker.forge.base import ForgeProblem, ForgeRefused, ForgeUnavailable, Proposal, Remark, Review
from agentvine.worker.forge.connection import Refusal, Unsure, not_permitted
from agentvine.worker.forge.desk import AlreadyThere, Desk, Draft, Place, PullRequest, State
from agentvine.worker.forge.harmless import harmless_line
from agentvine.worker.forge.marking import carries, marked, with_part

TRIES = 5
MOST_REMARKS = 50
"""On lines; the rest goes into the review's text."""
_LONGEST_REMARK = 20_000

_log = logger("forge")


class Courier:
    """One order's way to a forge. `who`: the forge and the repository, for messages."""

    def __init__(self, desk: Desk, who: str, *, backoff: Backoff | None = None) -> None:
        self._desk = desk
        self._who = who
        self._backoff = backoff or Backoff(first=0.5, most=5.0)

    async def propose(self, proposal: Proposal) -> str:
        """As in `Forge`."""
        try:
            return await self._until_proposed(proposal)
        except Refusal as refusal:
            raise self._refused(refusal, "open or change the pull request") from refusal

    async def review(self, review: Review) -> str | None:
        """As in `Forge`."""
        try:
            pull = _newest(await self._ours(review.branch), State.OPEN)
            pull = pull or _newest(_of(review.branch, await self._recent()), State.OPEN)
            return None if pull is None else await self._until_posted(pull, review)
        except Refusal as refusal:
            raise self._refused(refusal, "post the review") from refusal

    async def _ours(self, branch: str) -> list[PullRequest]:
        """Those of a branch of this repository: whoever has a copy may name a branch of it so, too."""
        return [pull for pull in await self._desk.of_branch(branch) if pull.ours]

    async def _recent(self) -> list[PullRequest]:
        """Those of this repository that were changed last. GitHub, asked for a branch of an owner that has another name
        now, tells of none: they are among these."""
        return [pull for pull in await self._desk.recent() if pull.ours]

    # ── one pull request ─────────────────────────────────────────────────────────────────────────────────────────

    async def _until_proposed(self, proposal: Proposal) -> str:
        last = "it did not tell"
        fresh = False
        for attempt in range(1, TRIES + 1):
            found = await self._found(proposal)
            try:
                if found is None:
                    fresh = True
                    found = await self._open(proposal)
                elif found.state is State.OPEN:
                    await self._renew(found, proposal)
            except (Unsure, AlreadyThere) as why:
                last = str(why)
                await pause(self._backoff.delay(attempt))
                continue
            if fresh:
                await self._adorn(found, proposal)
            return found.url
        raise ForgeUnavailable(f"{self._who}: no pull request could be opened or found in {TRIES} tries ({last})")

    async def _found(self, proposal: Proposal) -> PullRequest | None:
        """The pull request of this order, if it has one to go on with. Raises ForgeRefused if a person ended it."""
        pulls = await self._ours(proposal.branch)
        recent = [] if _newest(pulls, State.OPEN) else await self._recent()
        pulls += _of(proposal.branch, recent)
        if (open_one := _newest(pulls, State.OPEN)) is not None:
            return open_one
        known = [pull for pull in pulls if carries(pull.body, proposal.mark)]
        if (ended := _newest(known)) is not None:
            return self._ended(ended, proposal)
        for pull in recent:
            if pull.branch != proposal.branch and carries(pull.body, proposal.mark):
                raise ForgeRefused(
                    f"the pull request of this task, {pull.url}, comes from the branch '{pull.branch}', which was "
                    f"'{proposal.branch}' before; rename it back, or close the pull request, and requeue the task",
                    FailureReason.BRANCH_MOVED,
                )
        return None

    def _ended(self, pull: PullRequest, proposal: Proposal) -> PullRequest:
        if pull.state is State.CLOSED:
            raise ForgeRefused(
                f"{pull.url} was closed without being merged; reopen it and requeue the task if it is still wanted",
                FailureReason.DENIED,
            )
        if pull.head_sha != proposal.head_sha:
            raise ForgeRefused(
                f"{pull.url} was merged before the last changes came; they are on the branch '{proposal.branch}': "
                "open a pull request for them by hand, or make a new task",
                FailureReason.BRANCH_MOVED,
            )
        return pull

    async def _open(self, proposal: Proposal) -> PullRequest:
        title = harmless_line(proposal.title, self._desk.longest_title)
        body = marked(proposal.text, proposal.mark, self._desk.longest_text)
        try:
            return await self._desk.open(proposal, title, body)
        except Refusal as refusal:
            if refusal.status in {400, 404, 409, 422}:
                await self._look_for_branches(proposal)
            raise

    async def _look_for_branches(self, proposal: Proposal) -> None:
        """Tell a refusal because of a branch that is not there. Raises ForgeRefused."""
        for branch, what in ((proposal.target, "into which it goes"), (proposal.branch, "from which it comes")):
            now = await self._desk.renamed(branch)
            if now != branch:
                other = f"is called '{now}' now" if now else "is not there"
                raise ForgeRefused(
                    f"{self._who}: the pull request cannot be opened: the branch '{branch}', {what}, {other}; "
                    "make the task anew with the branch as it is called now",
                    FailureReason.BRANCH_NOT_FOUND,
                )

    async def _renew(self, pull: PullRequest, proposal: Proposal) -> None:
        body = with_part(pull.body, proposal.text, proposal.mark, self._desk.longest_text)
        if body.strip() != pull.body.replace("\r\n", "\n").strip():
            await self._desk.rewrite(pull.number, body)

    async def _adorn(self, pull: PullRequest, proposal: Proposal) -> None:
        """Labels and reviewers of a new pull request. What cannot be had is told in the log; nothing fails for it."""
        for what, wanted, give in (
            ("labels", proposal.labels, self._desk.label),
            ("reviewers", proposal.reviewers, self._desk.ask),
        ):
            if not wanted:
                continue
            try:
                await give(pull.number, wanted)
            except (Refusal, Unsure, ForgeProblem) as why:
                _log.warning(f"without {what}", url=pull.url, wanted=list(wanted), why=str(why))

    # ── one review ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _until_posted(self, pull: PullRequest, review: Review) -> str:
        draft = await self._draft(pull, review)
        last = "it did not tell"
        for attempt in range(1, TRIES + 1):
            if (url := await self._desk.posted(pull, draft.mark)) is not None:
                return url
            try:
                name = await self._desk.prepare(pull, draft)
                url = await self._desk.post(pull, draft, name)
            except (Unsure, AlreadyThere) as why:
                last = str(why)
                await pause(self._backoff.delay(attempt))
                continue
            return url or await self._desk.posted(pull, draft.mark) or pull.url
        raise ForgeUnavailable(f"{self._who}: the review could not be posted in {TRIES} tries ({last})")

    async def _draft(self, pull: PullRequest, review: Review) -> Draft:
        places: list[Place] = []
        if pull.head_sha == review.head_sha:
            shown = {file.path: file for file in await self._desk.changed_files(pull)}
            places = [
                Place(one, shown[one.file])
                for one in review.remarks
                if one.file in shown and one.line in shown[one.file].lines
            ][:MOST_REMARKS]
        moved = "" if pull.head_sha == review.head_sha else _moved(pull, review)
        on_lines = [place.remark for place in places]
        rest = [remark for remark in review.remarks if remark not in on_lines]
        text = "\n\n".join([moved + review.text.strip(), *map(_in_words, rest)])
        most = self._desk.longest_text
        short = [Place(_shortened(place.remark), place.file) for place in places]
        return Draft(review.mark, marked(text, review.mark, most), short, review.head_sha)

    def _refused(self, refusal: Refusal, what: str) -> ForgeRefused:
        if refusal.status == 403:
            return not_permitted(self._who, what, refusal)
        if refusal.status in {404, 410}:
            return ForgeRefused(
                f"{self._who}: nothing is there that this token could see ({refusal}); check the repository's address, "
                "that pull requests are switched on, and what the token may see",
                FailureReason.REPOSITORY_NOT_FOUND,
            )
        return ForgeRefused(f"{self._who}: cannot {what}: {refusal}")


def _newest(pulls: Sequence[PullRequest], state: State | None = None) -> PullRequest | None:
    fitting = [pull for pull in pulls if state is None or pull.state is state]
    return max(fitting, key=lambda pull: pull.number, default=None)


def _of(branch: str, pulls: Sequence[PullRequest]) -> list[PullRequest]:
    return [pull for pull in pulls if pull.branch == branch]


def _moved(pull: PullRequest, review: Review) -> str:
    return (
        f"Of commit `{review.head_sha[:12]}`; the branch has moved to `{pull.head_sha[:12]}` since, so no remark is on "
        "its line.\n\n"
    )


def _in_words(remark: Remark) -> str:
    name = remark.file.replace("`", "'")
    return f"`{name}:{remark.line}`\n\n{remark.text.strip()}"


def _shortened(remark: Remark) -> Remark:
    text = remark.text.strip()
    return remark if len(text) <= _LONGEST_REMARK else Remark(remark.file, remark.line, f"{text[:_LONGEST_REMARK]} …")
