"""The forge's API: the calls of Gitea's that workers make, on the one repository there is."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from agentvine.demo.forge.access import Access
from agentvine.demo.forge.activity import Activity
from agentvine.demo.forge.record import BOT, NAME, OWNER, Comment, Issue, Job, Pull, Remark, Review
from agentvine.demo.forge.shapes import Shape, Shapes

_PAGE = 50
_REPO = "/api/v1/repos/{owner}/{name}"
_Do = Callable[[Request], Awaitable[Response]]


class _No(Exception):
    """The forge refuses."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class API:
    """Answers as the bot, for whoever shows the token."""

    def __init__(self, activity: Activity, access: Access) -> None:
        self._activity = activity
        self._record = activity.record
        self._access = access

    @property
    def _shapes(self) -> Shapes:
        return self._activity.shapes

    def routes(self) -> list[Route]:
        """All of them."""
        pull, issue = f"{_REPO}/pulls/{{number:int}}", f"{_REPO}/issues/{{number:int}}"
        calls: Sequence[tuple[str, str, _Do]] = (
            ("GET", "/api/v1/user", self._user),
            ("GET", _REPO, self._repository),
            ("GET", f"{_REPO}/labels", self._labels),
            ("GET", f"{_REPO}/branches/{{branch:path}}", self._branch),
            ("GET", f"{_REPO}/issues", self._issues),
            ("GET", f"{_REPO}/issues/comments", self._all_comments),
            ("GET", f"{_REPO}/issues/comments/{{id:int}}", self._comment),
            ("PATCH", f"{_REPO}/issues/comments/{{id:int}}", self._edit),
            ("DELETE", f"{_REPO}/issues/comments/{{id:int}}", self._delete),
            ("GET", issue, self._issue),
            ("GET", f"{issue}/comments", self._comments),
            ("POST", f"{issue}/comments", self._say),
            ("GET", f"{issue}/labels", self._labels_of),
            ("POST", f"{issue}/labels", self._label),
            ("GET", f"{_REPO}/pulls", self._pulls),
            ("POST", f"{_REPO}/pulls", self._open),
            ("GET", f"{pull}.diff", self._diff),
            ("GET", pull, self._pull),
            ("PATCH", pull, self._change),
            ("POST", f"{pull}/requested_reviewers", self._ask),
            ("GET", f"{pull}/reviews", self._reviews),
            ("POST", f"{pull}/reviews", self._write_review),
            ("POST", f"{pull}/reviews/{{id:int}}", self._submit),
            ("DELETE", f"{pull}/reviews/{{id:int}}", self._discard),
            ("GET", f"{pull}/reviews/{{id:int}}/comments", self._remarks),
            ("POST", f"{pull}/comments/{{id:int}}/replies", self._answer),
            ("GET", f"{_REPO}/commits/{{sha}}/status", self._status),
            ("GET", f"{_REPO}/actions/runs", self._runs),
            ("GET", f"{_REPO}/actions/runs/{{id:int}}", self._run),
            ("GET", f"{_REPO}/actions/runs/{{id:int}}/jobs", self._jobs),
            ("GET", f"{_REPO}/actions/jobs/{{id:int}}", self._job),
            ("GET", f"{_REPO}/actions/jobs/{{id:int}}/logs", self._log),
            ("POST", f"{_REPO}/actions/runs/{{id:int}}/jobs/{{job:int}}/rerun", self._run_again),
        )
        return [Route(path, self._guarded(do), methods=[method]) for method, path, do in calls]

    def _guarded(self, do: _Do) -> _Do:
        async def answer(request: Request) -> Response:
            if not self._access.lets_in(request):
                return JSONResponse({"message": "invalid username, password or token"}, 401)
            if (request.path_params.get("owner", OWNER), request.path_params.get("name", NAME)) != (OWNER, NAME):
                return JSONResponse({"message": "The target couldn't be found."}, 404)
            try:
                return await do(request)
            except _No as no:
                return JSONResponse({"message": str(no)}, no.status)

        return answer

    # ── the repository ───────────────────────────────────────────────────────────────────────────────────────────

    async def _user(self, _: Request) -> Response:
        return JSONResponse(self._shapes.user(BOT))

    async def _repository(self, _: Request) -> Response:
        return JSONResponse(self._shapes.repository())

    async def _labels(self, request: Request) -> Response:
        return _paged(request, [self._shapes.label(name) for name in self._record.labels])

    async def _branch(self, request: Request) -> Response:
        name = request.path_params["branch"]
        sha = (await self._activity.repository.heads()).get(name)
        if sha is None:
            raise _No(404, "The target couldn't be found.")
        return JSONResponse({"name": name, "protected": False, "commit": {"id": sha}})

    # ── issues and comments ──────────────────────────────────────────────────────────────────────────────────────

    async def _issues(self, request: Request) -> Response:
        wanted = request.query_params
        labels = {name for name in wanted.get("labels", "").split(",") if name}
        kind, since = wanted.get("type", ""), _since(request)
        state = wanted.get("state", "open")
        found = [
            one
            for one in sorted(self._record.issues.values(), key=lambda one: one.created_at, reverse=True)
            if (state == "all" or one.is_open == (state == "open"))
            and labels <= set(one.labels)
            and (kind == "" or (kind == "pulls") == (one.pull is not None))
            and (since is None or one.updated_at >= since)
        ]
        return _paged(request, [self._shapes.issue(one) for one in found])

    async def _issue(self, request: Request) -> Response:
        return JSONResponse(self._shapes.issue(self._issue_of(request)))

    def _issue_of(self, request: Request) -> Issue:
        issue = self._record.issues.get(request.path_params["number"])
        if issue is None:
            raise _No(404, "The target couldn't be found.")
        return issue

    async def _comments(self, request: Request) -> Response:
        issue, since = self._issue_of(request), _since(request)
        fresh = [one for one in issue.comments if since is None or one.updated_at >= since]
        return JSONResponse([self._shapes.comment(issue, one) for one in fresh])  # Gitea does not page these

    async def _all_comments(self, request: Request) -> Response:
        since = _since(request)
        found = [
            (issue, one)
            for issue in self._record.issues.values()
            for one in issue.comments
            if since is None or one.updated_at >= since
        ]
        found.sort(key=lambda one: one[1].id)
        return _paged(request, [self._shapes.comment(*one) for one in found])

    def _said(self, request: Request) -> tuple[Comment | Remark, Shape]:
        """A comment or a remark of that id, and how it is shown."""
        number = request.path_params["id"]
        if (said := self._record.comment(number)) is not None:
            return said[1], self._shapes.comment(*said)
        if (remarked := self._record.remark(number)) is not None:
            return remarked[2], self._shapes.remark(*remarked)
        raise _No(404, "comment does not exist")

    def _own(self, request: Request) -> Comment | Remark:
        said, _ = self._said(request)
        if said.author != BOT:
            raise _No(403, "user should be the author of the comment")
        return said

    async def _comment(self, request: Request) -> Response:
        return JSONResponse(self._said(request)[1])

    async def _say(self, request: Request) -> Response:
        issue = self._issue_of(request)
        comment = await self._activity.comment(issue, BOT, _text(await request.json(), "body"))
        return JSONResponse(self._shapes.comment(issue, comment), 201)

    async def _edit(self, request: Request) -> Response:
        await self._activity.edit(self._own(request), _text(await request.json(), "body"))
        return JSONResponse(self._said(request)[1])

    async def _delete(self, request: Request) -> Response:
        self._activity.delete(self._own(request))
        return Response(status_code=204)

    async def _labels_of(self, request: Request) -> Response:
        return JSONResponse([self._shapes.label(name) for name in self._issue_of(request).labels])

    async def _label(self, request: Request) -> Response:
        issue = self._issue_of(request)
        wanted = (await request.json()).get("labels", [])
        names = [name for name in self._record.labels if name in wanted or self._record.label_id(name) in wanted]
        await self._activity.label(issue, names)
        return JSONResponse([self._shapes.label(name) for name in issue.labels])

    # ── pull requests ────────────────────────────────────────────────────────────────────────────────────────────

    async def _pulls(self, request: Request) -> Response:
        state = request.query_params.get("state", "open")
        found = [one for one in self._record.pulls if state == "all" or one[0].is_open == (state == "open")]
        return _paged(request, [self._shapes.pull(*one) for one in found])

    async def _open(self, request: Request) -> Response:
        told = await request.json()
        branch, target = _text(told, "head"), _text(told, "base")
        heads = await self._activity.repository.heads()
        if branch not in heads or target not in heads:
            raise _No(404, "The target couldn't be found.")
        if self._record.open_pull(branch, target) is not None:
            raise _No(409, f"pull request already exists for these targets [head: {branch}]")
        issue, pull = await self._activity.open_pull(BOT, _text(told, "title"), _text(told, "body"), branch, target)
        return JSONResponse(self._shapes.pull(issue, pull), 201)

    def _pull_of(self, request: Request) -> tuple[Issue, Pull]:
        issue = self._issue_of(request)
        if issue.pull is None:
            raise _No(404, "The target couldn't be found.")
        return issue, issue.pull

    async def _pull(self, request: Request) -> Response:
        return JSONResponse(self._shapes.pull(*self._pull_of(request)))

    async def _change(self, request: Request) -> Response:
        issue, pull = self._pull_of(request)
        told = await request.json()
        issue.title, issue.body = told.get("title", issue.title), told.get("body", issue.body)
        return JSONResponse(self._shapes.pull(issue, pull), 201)

    async def _diff(self, request: Request) -> Response:
        _, pull = self._pull_of(request)
        return PlainTextResponse(await self._activity.repository.diff(pull.base_sha, pull.head_sha))

    async def _ask(self, request: Request) -> Response:
        _, pull = self._pull_of(request)
        names = (await request.json()).get("reviewers", [])
        pull.reviewers += [name for name in names if name not in pull.reviewers]
        return JSONResponse([], 201)

    # ── reviews ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _reviews(self, request: Request) -> Response:
        issue, pull = self._pull_of(request)
        seen = [one for one in pull.reviews if one.state != "PENDING" or one.author == BOT]
        return _paged(request, [self._shapes.review(issue, one) for one in seen])

    def _review_of(self, request: Request) -> tuple[Issue, Pull, Review]:
        issue, pull = self._pull_of(request)
        found = [one for one in pull.reviews if one.id == request.path_params["id"]]
        if not found:
            raise _No(404, "review does not exist")
        return issue, pull, found[0]

    async def _remarks(self, request: Request) -> Response:
        issue, _, review = self._review_of(request)
        return JSONResponse([self._shapes.remark(issue, review, one) for one in review.remarks])

    async def _write_review(self, request: Request) -> Response:
        issue, pull = self._pull_of(request)
        told = await request.json()
        places = [
            (one["path"], int(one.get("new_position", 0)), _text(one, "body")) for one in told.get("comments", [])
        ]
        state = told.get("event") or "PENDING"
        review = await self._activity.review(issue, pull, BOT, told.get("body", ""), places, state=state)
        return JSONResponse(self._shapes.review(issue, review))

    async def _submit(self, request: Request) -> Response:
        issue, _, review = self._review_of(request)
        if review.state != "PENDING":
            raise _No(422, "only a pending review can be submitted")
        told = await request.json()
        review.state, review.body = told.get("event", "COMMENT"), told.get("body", review.body)
        await self._activity.reviewed(issue, review)
        return JSONResponse(self._shapes.review(issue, review))

    async def _discard(self, request: Request) -> Response:
        _, pull, review = self._review_of(request)
        pull.reviews.remove(review)
        return Response(status_code=204)

    async def _answer(self, request: Request) -> Response:
        issue, pull = self._pull_of(request)
        found = self._record.remark(request.path_params["id"])
        if found is None or found[0] is not issue:
            raise _No(404, "comment does not exist")
        review = await self._activity.answer(issue, pull, BOT, found[2], _text(await request.json(), "body"))
        return JSONResponse(self._shapes.remark(issue, review, review.remarks[-1]), 201)

    # ── checks ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _status(self, request: Request) -> Response:
        return JSONResponse(self._shapes.statuses(request.path_params["sha"]))

    async def _runs(self, request: Request) -> Response:
        sha = request.query_params.get("head_sha")
        found: list[JsonValue] = [self._shapes.run(job) for job in self._record.jobs if sha in {None, job.sha}]
        return JSONResponse({"total_count": len(found), "workflow_runs": found})

    def _job_of(self, request: Request) -> Job:
        found = [job for job in self._record.jobs if job.id == request.path_params["id"]]
        if not found:
            raise _No(404, "The target couldn't be found.")
        return found[0]

    async def _run(self, request: Request) -> Response:
        return JSONResponse(self._shapes.run(self._job_of(request)))

    async def _jobs(self, request: Request) -> Response:
        return JSONResponse({"total_count": 1, "jobs": [self._shapes.job(self._job_of(request))]})

    async def _job(self, request: Request) -> Response:
        return JSONResponse(self._shapes.job(self._job_of(request)))

    async def _log(self, request: Request) -> Response:
        return PlainTextResponse(self._job_of(request).log)

    async def _run_again(self, request: Request) -> Response:
        job = self._job_of(request)
        if job.state == "pending":
            raise _No(409, "the job is still running")
        self._activity.run_again(job)
        return JSONResponse(self._shapes.job(job), 201)


def _text(told: dict[str, JsonValue], name: str) -> str:
    value = told.get(name)
    if not isinstance(value, str):
        raise _No(422, f"[{name}]: Required")
    return value


def _since(request: Request) -> datetime | None:
    given = request.query_params.get("since")
    return datetime.fromisoformat(given) if given else None


def _paged(request: Request, entries: list[Shape]) -> Response:
    number = max(int(request.query_params.get("page", "1")), 1)
    most = min(max(int(request.query_params.get("limit", str(_PAGE))), 1), _PAGE)
    page: list[JsonValue] = [*entries[(number - 1) * most : number * most]]
    return JSONResponse(page, headers={"X-Total-Count": str(len(entries))})
