"""What the forge's answers look like: as much of Gitea's API as is asked for (`swagger.v1.json`)."""

from datetime import UTC, datetime

from pydantic import JsonValue

from agentvine.demo.forge.record import NAME, OWNER, Comment, Issue, Job, Pull, Record, Remark, Review

Shape = dict[str, JsonValue]


class Shapes:
    """`url` is where people look at the forge."""

    def __init__(self, url: str, record: Record) -> None:
        self._record = record
        self.url = url
        self.page = f"{url}/{OWNER}/{NAME}"
        self._api = f"{url}/api/v1/repos/{OWNER}/{NAME}"

    def user(self, name: str) -> Shape:
        """An account."""
        number = sum(name.encode())
        return {"id": number, "login": name, "full_name": name, "html_url": f"{self.url}/{name}"}

    def repository(self) -> Shape:
        """The one that there is."""
        return {
            "id": 1,
            "name": NAME,
            "full_name": f"{OWNER}/{NAME}",
            "owner": self.user(OWNER),
            "private": True,
            "html_url": self.page,
            "clone_url": f"{self.page}.git",
            "default_branch": "main",
            "permissions": {"admin": False, "push": True, "pull": True},
        }

    def label(self, name: str) -> Shape:
        """A label of the repository."""
        return {"id": self._record.label_id(name), "name": name, "color": "00aabb", "description": ""}

    def page_of(self, issue: Issue) -> str:
        """Where people read an issue or a pull request."""
        return f"{self.page}/{'issues' if issue.pull is None else 'pulls'}/{issue.number}"

    def issue(self, issue: Issue) -> Shape:
        """An issue, or a pull request as one."""
        page, pull = self.page_of(issue), issue.pull
        return {
            **self._discussed(issue),
            "pull_request": None if pull is None else {"merged": pull.merged, "html_url": page},
            "repository": {"id": 1, "name": NAME, "owner": OWNER, "full_name": f"{OWNER}/{NAME}"},
        }

    def _discussed(self, issue: Issue) -> Shape:
        """What issues and pull requests have in common."""
        return {
            "id": 1000 + issue.number,
            "number": issue.number,
            "url": f"{self._api}/issues/{issue.number}",
            "html_url": self.page_of(issue),
            "user": self.user(issue.author),
            "title": issue.title,
            "body": issue.body,
            "labels": [self.label(name) for name in issue.labels],
            "state": "open" if issue.is_open else "closed",
            "is_locked": False,
            "comments": len(issue.comments),
            "created_at": when(issue.created_at),
            "updated_at": when(issue.updated_at),
        }

    def whole(self, issue: Issue) -> Shape:
        """An issue or a pull request, with everything that was said there."""
        comments: list[JsonValue] = [self.comment(issue, one) for one in issue.comments]
        if issue.pull is None:
            return {**self.issue(issue), "all_comments": comments}
        remarks: list[JsonValue] = [
            self.remark(issue, each, one) for each in issue.pull.reviews for one in each.remarks
        ]
        return {**self.pull(issue, issue.pull), "all_comments": comments, "all_remarks": remarks}

    def comment(self, issue: Issue, comment: Comment) -> Shape:
        """Something said on an issue."""
        page = self.page_of(issue)
        return {
            "id": comment.id,
            "html_url": f"{page}#issuecomment-{comment.id}",
            "issue_url": page if issue.pull is None else "",
            "pull_request_url": page if issue.pull is not None else "",
            "user": self.user(comment.author),
            "body": comment.body,
            "created_at": when(comment.created_at),
            "updated_at": when(comment.updated_at),
        }

    def pull(self, issue: Issue, pull: Pull) -> Shape:
        """A pull request."""
        head, base = ((pull.branch, pull.head_sha), (pull.target, pull.base_sha))
        merge: Shape = {}
        if pull.merged_at is not None:
            merge = {"merged_at": when(pull.merged_at), "merge_commit_sha": pull.merged_sha}
        return {
            **self._discussed(issue),
            **merge,
            "draft": False,
            "diff_url": f"{self.page_of(issue)}.diff",
            "mergeable": pull.mergeable,
            "merged": pull.merged,
            "requested_reviewers": [self.user(name) for name in pull.reviewers],
            "head": self._end(*head),
            "base": self._end(*base),
        }

    def _end(self, branch: str, sha: str) -> Shape:
        return {"label": branch, "ref": branch, "sha": sha, "repo_id": 1, "repo": self.repository()}

    def review(self, issue: Issue, review: Review) -> Shape:
        """A review, without its remarks."""
        return {
            "id": review.id,
            "user": self.user(review.author),
            "state": review.state,
            "body": review.body,
            "commit_id": review.commit,
            "comments_count": len(review.remarks),
            "stale": False,
            "official": False,
            "dismissed": False,
            "submitted_at": when(review.at),
            "html_url": f"{self.page_of(issue)}#issuecomment-{review.id}",
            "pull_request_url": self.page_of(issue),
        }

    def remark(self, issue: Issue, review: Review, remark: Remark) -> Shape:
        """Something said on a line."""
        return {
            "id": remark.id,
            "user": self.user(remark.author),
            "resolver": None,
            "body": remark.body,
            "path": remark.path,
            "position": remark.line,
            "original_position": 0,
            "diff_hunk": remark.hunk,
            "commit_id": remark.commit,
            "original_commit_id": remark.commit,
            "pull_request_review_id": review.id,
            "created_at": when(remark.at),
            "updated_at": when(remark.at),
            "html_url": f"{self.page_of(issue)}#issuecomment-{remark.id}",
            "pull_request_url": self.page_of(issue),
        }

    def status(self, job: Job) -> Shape:
        """A job, as a status of its commit."""
        return {
            "id": job.id,
            "status": job.state,
            "context": job.name,
            "description": job.words,
            "target_url": self._page_of_job(job),
            "url": f"{self._api}/statuses/{job.sha}",
            "creator": self.user("ci"),
            "created_at": when(job.at),
            "updated_at": when(job.at),
        }

    def statuses(self, sha: str) -> Shape:
        """All of a commit's statuses, as one."""
        jobs = self._record.jobs_of(sha)
        states = {job.state for job in jobs}
        state = next((one for one in ("pending", "failure", "success") if one in states), "")
        shown: list[JsonValue] = [self.status(job) for job in jobs]
        return {"state": state, "sha": sha, "total_count": len(shown), "statuses": shown}

    def run(self, job: Job) -> Shape:
        """The run of a workflow that a job is all of; it has the same number."""
        return {**self._progress(job), "event": "pull_request", "path": "checks.yaml@refs/heads/main"}

    def job(self, job: Job) -> Shape:
        """A job of the forge's actions."""
        progress = self._progress(job)
        step: Shape = {"name": job.step, "number": 1, "status": progress["status"], **_conclusion(job)}
        return {**progress, "run_id": job.id, "name": job.name, "steps": [step]}

    def _progress(self, job: Job) -> Shape:
        return {
            "id": job.id,
            "html_url": self._page_of_job(job),
            "head_sha": job.sha,
            "status": "in_progress" if job.state == "pending" else "completed",
            **_conclusion(job),
            "run_attempt": job.attempt,
        }

    def _page_of_job(self, job: Job) -> str:
        return f"{self.page}/actions/runs/{job.id}/jobs/{job.id}"


def _conclusion(job: Job) -> Shape:
    return {} if job.state == "pending" else {"conclusion": job.state}


def when(at: datetime) -> str:
    """A moment, to the second, as Gitea tells it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
