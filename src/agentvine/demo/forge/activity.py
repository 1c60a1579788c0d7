"""What happens on the forge: what people and the bot do there, what that changes, and who is told of it."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from pydantic import JsonValue

from agentvine.demo.forge.checks import JOB, STEP, tested
from agentvine.demo.forge.record import Comment, Issue, Job, Pull, Record, Remark, Review
from agentvine.demo.forge.repository import BareRepository
from agentvine.demo.forge.shapes import Shapes
from agentvine.demo.forge.webhooks import Webhooks
from agentvine.kit.clock import Clock


class Activity:
    """Everything goes through here, whoever does it, so that it is kept, checked and told in the same way.

    `shapes` is there from the moment at which the forge has an address.
    """

    shapes: Shapes

    def __init__(self, repository: BareRepository, webhooks: Webhooks, clock: Clock, search_path: str) -> None:
        self.record = Record()
        self.repository = repository
        self._webhooks = webhooks
        self._clock = clock
        self._running: set[asyncio.Task[None]] = set()
        self._search_path = search_path

    @property
    def _now(self) -> datetime:
        return self._clock.now().replace(microsecond=0)  # Gitea's own precision

    # ── issues ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def open_issue(self, author: str, title: str, body: str) -> Issue:
        """Somebody opens an issue."""
        issue = self._new(author, title, body)
        await self._tell("issues", "opened", issue)
        return issue

    def _new(self, author: str, title: str, body: str) -> Issue:
        issue = Issue(len(self.record.issues) + 1, author, title, body, self._now, self._now)
        self.record.issues[issue.number] = issue
        return issue

    async def label(self, issue: Issue, names: Sequence[str]) -> None:
        """Labels are put on an issue."""
        issue.labels += [name for name in names if name not in issue.labels]
        issue.updated_at = self._now
        await self._tell("issues", "label_updated", issue)

    async def comment(self, issue: Issue, author: str, body: str) -> Comment:
        """Somebody says something."""
        comment = Comment(self.record.next_id(), author, body, self._now, self._now)
        issue.comments.append(comment)
        issue.updated_at = self._now
        await self._tell("issue_comment", "created", issue, comment=self.shapes.comment(issue, comment))
        return comment

    async def edit(self, said: Comment | Remark, body: str) -> None:
        """Something that was said is changed."""
        said.body = body
        if isinstance(said, Comment):
            said.updated_at = self._now
            for issue in self._holding(said):
                await self._tell("issue_comment", "edited", issue, comment=self.shapes.comment(issue, said))

    def delete(self, said: Comment | Remark) -> None:
        """Something that was said is taken back."""
        for issue in self.record.issues.values():
            issue.comments = [one for one in issue.comments if one is not said]
            for review in issue.pull.reviews if issue.pull else ():
                review.remarks = [one for one in review.remarks if one is not said]

    def _holding(self, said: Comment) -> list[Issue]:
        return [issue for issue in self.record.issues.values() if said in issue.comments]

    async def close(self, issue: Issue) -> None:
        """An issue, or a pull request, is closed."""
        issue.is_open, issue.updated_at = False, self._now
        await self._tell("issues" if issue.pull is None else "pull_request", "closed", issue)

    # ── pull requests ────────────────────────────────────────────────────────────────────────────────────────────

    async def open_pull(self, author: str, title: str, body: str, branch: str, target: str) -> tuple[Issue, Pull]:
        """A branch wants to be merged. Its checks begin."""
        heads = await self.repository.heads()
        issue = self._new(author, title, body)
        issue.pull = pull = Pull(branch, target, heads[branch], heads[target])
        pull.mergeable = await self.repository.goes_together(pull.base_sha, pull.head_sha)
        await self._tell("pull_request", "opened", issue)
        self._check(pull.head_sha)
        return issue, pull

    async def pushed(self) -> None:
        """Branches may have moved: open pull requests follow theirs."""
        heads = await self.repository.heads()
        for issue, pull in self.record.pulls:
            if not issue.is_open:
                continue
            former = pull.head_sha
            pull.head_sha = heads.get(pull.branch, former)
            pull.base_sha = heads.get(pull.target, pull.base_sha)
            pull.mergeable = await self.repository.goes_together(pull.base_sha, pull.head_sha)
            if pull.head_sha != former:
                issue.updated_at = self._now
                await self._tell("pull_request_sync", "synchronized", issue)
                self._check(pull.head_sha)

    async def merge(self, issue: Issue, pull: Pull, author: str) -> str:
        """Somebody merges it. Returns the commit that does."""
        message = f"Merge pull request '{issue.title}' (#{issue.number})"
        pull.merged_sha = await self.repository.merge(pull.target, pull.head_sha, message, author)
        pull.merged_at = self._now
        await self.close(issue)
        return pull.merged_sha

    # ── reviews ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def review(
        self,
        issue: Issue,
        pull: Pull,
        author: str,
        body: str,
        places: Sequence[tuple[str, int, str]],
        *,
        state: str = "COMMENT",
    ) -> Review:
        """Somebody reviews it: `places` are a path, a line and what is said of it. What is pending is gone on with."""
        pending = (one for one in pull.reviews if one.author == author and one.state == "PENDING")
        review = next(pending, None)
        if review is None:
            review = Review(self.record.next_id(), author, body, state, pull.head_sha, self._now)
            pull.reviews.append(review)
        review.body, review.state = body, state
        for path, line, words in places:
            hunk = await self.repository.hunk(pull.base_sha, pull.head_sha, path, line)
            number = self.record.next_id()
            review.remarks.append(Remark(number, author, words, path, line, hunk, pull.head_sha, self._now))
        await self.reviewed(issue, review)
        return review

    async def reviewed(self, issue: Issue, review: Review) -> None:
        """Tell of a review, if everybody sees it."""
        if review.state == "PENDING":
            return
        issue.updated_at = self._now
        await self._tell("pull_request_comment", "reviewed", issue, review=self.shapes.review(issue, review))

    async def answer(self, issue: Issue, pull: Pull, author: str, to: Remark, body: str) -> Review:
        """Somebody answers what was said on a line."""
        review = Review(self.record.next_id(), author, "", "COMMENT", to.commit, self._now)
        remark = Remark(self.record.next_id(), author, body, to.path, to.line, to.hunk, to.commit, self._now)
        review.remarks.append(remark)
        pull.reviews.append(review)
        await self.reviewed(issue, review)
        return review

    # ── checks ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _check(self, sha: str) -> None:
        job = Job(self.record.next_id(), sha, JOB, STEP, self._now)
        self.record.jobs.append(job)
        self._start(job)

    def run_again(self, job: Job) -> None:
        """A job begins once more."""
        job.attempt, job.state, job.log, job.at = job.attempt + 1, "pending", "", self._now
        self._start(job)

    def _start(self, job: Job) -> None:
        running = asyncio.create_task(self._run(job))
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def break_off(self) -> None:
        """End the jobs that still run, with all their processes."""
        running = set(self._running)
        for job in running:
            job.cancel()
        if running:
            await asyncio.wait(running)

    async def _run(self, job: Job) -> None:
        name = f"job-{job.id}-{job.attempt}"
        passed, job.log = await tested(self.repository, job.sha, name, self._search_path)
        job.state, job.at = "success" if passed else "failure", self._now
        for issue, pull in self.record.pulls:
            if pull.head_sha == job.sha:
                await self._tell("workflow_job", "completed", issue, workflow_job=self.shapes.job(job))

    async def _tell(self, kind: str, action: str, issue: Issue, **more: JsonValue) -> None:
        body: dict[str, JsonValue] = {
            "action": action,
            "number": issue.number,
            "repository": self.shapes.repository(),
            "issue": self.shapes.issue(issue),
            **more,
        }
        if issue.pull is not None:
            body["pull_request"] = self.shapes.pull(issue, issue.pull)
        await self._webhooks.send(kind, body)
