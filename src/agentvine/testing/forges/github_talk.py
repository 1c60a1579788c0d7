"""The part of the played GitHub that has issues, what people say, and checks. Its logs are kept on another host."""

import asyncio
from abc import abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from agentvine.testing.forges.server import Answer, Call, ForgeServer, Handler, Refused, page_of, since, written
from agentvine.testing.forges.world import BEGAN, BOT, CALC, NAME, OWNER, Issue, Job, Posted, Pull, Talk

_REPO = "/repos/{owner}/{repo}"
_ISSUES = f"{_REPO}/issues"
_PULLS = f"{_REPO}/pulls"
_PULL = f"{_PULLS}/{{pull_number}}"
_JOB = f"{_REPO}/actions/jobs/{{job_id}}"
_RUN = 7
_DOCS = "https://docs.github.com/rest"


class GitHubTalk(ForgeServer):
    """`sees_checks`: the token may look at check runs."""

    sees_checks = True
    logs_at: str | None = None
    """Where it leads for logs, if not to where they are."""
    _logs: asyncio.Server

    def talk_routes(self) -> Mapping[tuple[str, str], Handler]:
        return {
            ("GET", "/user"): self._me,
            ("GET", _REPO): self._repository,
            ("GET", f"{_PULLS}/comments"): self._remarks,
            ("PATCH", f"{_PULLS}/comments/{{comment_id}}"): self._edit_remark,
            ("DELETE", f"{_PULLS}/comments/{{comment_id}}"): self._delete,
            ("GET", _PULL): self._one_pull,
            ("GET", f"{_PULL}/comments"): self._remarks,
            ("POST", f"{_PULL}/comments/{{comment_id}}/replies"): self._reply,
            ("GET", _ISSUES): self._issues,
            ("GET", f"{_ISSUES}/comments"): self._comments,
            ("PATCH", f"{_ISSUES}/comments/{{comment_id}}"): self._edit_comment,
            ("DELETE", f"{_ISSUES}/comments/{{comment_id}}"): self._delete,
            ("GET", f"{_ISSUES}/{{issue_number}}"): self._issue,
            ("GET", f"{_ISSUES}/{{issue_number}}/comments"): self._comments,
            ("POST", f"{_ISSUES}/{{issue_number}}/comments"): self._say,
            ("GET", f"{_REPO}/commits/{{ref}}/check-runs"): self._check_runs,
            ("GET", f"{_REPO}/commits/{{ref}}/status"): self._status,
            ("GET", f"{_REPO}/actions/runs"): self._runs,
            ("GET", f"{_REPO}/actions/runs/{{run_id}}"): self._one_run,
            ("GET", f"{_REPO}/actions/runs/{{run_id}}/jobs"): self._jobs,
            ("GET", _JOB): self._job,
            ("GET", f"{_JOB}/logs"): self._log,
            ("POST", f"{_JOB}/rerun"): self._rerun,
        }

    async def __aenter__(self) -> Self:
        self._logs = await asyncio.start_server(self._give_log, "127.0.0.1", 0)
        return await super().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._logs.close()
        await super().__aexit__(kind, error, at)

    async def _give_log(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Another host: whoever knows the address gets the log, and shows nobody's token."""
        raw = (await reader.readuntil(b"\r\n\r\n")).decode()
        if "authorization" in raw.lower():
            self.violations.append("the token was shown to another host")
        job = self.world.job(int(raw.split()[1].rpartition("/")[2]))
        stamped = "".join(
            f"2026-01-02T03:04:05.1234567Z {line}\n" for line in (job.log if job else "").split("\n")[:-1]
        )
        body = stamped.encode()
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    @abstractmethod
    def pull_shown(self, pull: Pull, example: Any) -> Any:
        """A pull request as GitHub shows it, made of an example."""

    def thread_of(self, first: Talk) -> str:
        return f"remark-{first.id}"

    def check_of(self, job: Job) -> str:
        return f"job-{_RUN}-{job.id}-{job.attempt}"

    def _me(self, call: Call) -> Answer:
        return Answer(200, {**self._description.example("GET", "/user", 200), "login": BOT})

    def _repository(self, call: Call) -> Answer:
        example = self._description.example("GET", _REPO, 200)
        told = {"full_name": f"{OWNER}/{NAME}", "has_issues": self.world.has_issues, "language": None}
        return Answer(200, {**example, **told, "source": {**example["source"], "language": None}})

    def _one_pull(self, call: Call) -> Answer:
        pull = self.world.pull(int(call.names["pull_number"]))
        if pull is None:
            raise _missing()
        mergeable = not self.world.conflicts if pull.state == "open" else None
        shown = self.pull_shown(pull, self._description.example("GET", _PULL, 200))
        return Answer(200, {**shown, "mergeable": mergeable})

    # ── issues ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _issues(self, call: Call) -> Answer:
        if not self.world.has_issues:
            raise Refused(410, {"message": "Issues has been disabled in this repository.", "documentation_url": _DOCS})
        wanted, world = call.wanted, self.world
        everything = [(one, False) for one in world.issues] + [(_as_issue(one), True) for one in world.pulls]
        fitting = [
            (one, is_pull)
            for one, is_pull in sorted(everything, key=lambda both: -both[0].number)
            if wanted.get("state", "open") in {"all", one.state}
            and wanted.get("labels", "") in {"", *one.labels}
            and world.changed(one.number, one.at) >= since(call)
        ]
        return Answer(200, [self._shown_issue(*both) for both in page_of(fitting, call, "per_page")])

    def _issue(self, call: Call) -> Answer:
        number = int(call.names["issue_number"])
        pull, issue = self.world.pull(number), self.world.issue(number)
        if pull is not None:
            return Answer(200, self._shown_issue(_as_issue(pull), True))
        if issue is None:
            raise _missing()
        return Answer(200, self._shown_issue(issue, False))

    def _shown_issue(self, issue: Issue, is_pull: bool) -> Any:
        example = dict(self._description.example("GET", _ISSUES, 200)[0])
        label = example["labels"][0]
        links = example.pop("pull_request")
        return {
            **example,
            **({"pull_request": links} if is_pull else {}),
            "number": issue.number,
            "html_url": f"{self.url}/{OWNER}/{NAME}/{'pull' if is_pull else 'issues'}/{issue.number}",
            "title": issue.title,
            "body": issue.body or None,
            "user": self._user(issue.author),
            "state": issue.state,
            "labels": [{**label, "name": name} for name in issue.labels],
            "created_at": written(issue.at),
            "updated_at": written(self.world.changed(issue.number, issue.at)),
        }

    # ── what is said ─────────────────────────────────────────────────────────────────────────────────────────────

    def _comments(self, call: Call) -> Answer:
        number = self._number(call, "issue_number")
        said = [one for one in self.world.said(number, on_lines=False) if one.changed >= since(call)]
        return Answer(200, [self._comment(one) for one in page_of(said, call, "per_page")])

    def _remarks(self, call: Call) -> Answer:
        number = self._number(call, "pull_number")
        said = [one for one in self.world.said(number, on_lines=True) if one.changed >= since(call)]
        return Answer(200, [self._remark(one) for one in page_of(said, call, "per_page")])

    def _number(self, call: Call, name: str) -> int | None:
        if name not in call.names:
            return None
        number = int(call.names[name])
        if self.world.issue(number) is None and self.world.pull(number) is None:
            raise _missing()
        return number

    def _say(self, call: Call) -> Answer:
        number = self._number(call, "issue_number")
        assert number is not None
        return Answer(201, self._comment(self.world.talk(number, BOT, call.body["body"])))

    def _reply(self, call: Call) -> Answer:
        number = int(call.names["pull_number"])
        first = self.world.of_thread(number, int(call.names["comment_id"]))
        if first is None:
            raise _missing()
        return Answer(
            201, self._remark(self.world.talk(number, BOT, call.body["body"], first.path, first.line, first.id))
        )

    def _edit_comment(self, call: Call) -> Answer:
        return Answer(200, self._comment(self._edited(call)))

    def _edit_remark(self, call: Call) -> Answer:
        return Answer(200, self._remark(self._edited(call)))

    def _edited(self, call: Call) -> Talk:
        talk = self._talk(call)
        talk.body, talk.changed = call.body["body"], self.world.now()
        return talk

    def _delete(self, call: Call) -> Answer:
        self.world.talks.remove(self._talk(call))
        return Answer(204)

    def _talk(self, call: Call) -> Talk:
        talk = self.world.found(int(call.names["comment_id"]))
        if talk is None:
            raise _missing()
        return talk

    def _comment(self, talk: Talk) -> Any:
        example = self._description.example("GET", f"{_ISSUES}/comments", 200)[0]
        kind = "pull" if self.world.pull(talk.number) else "issues"
        return {
            **example,
            **self._words(talk),
            "html_url": f"{self.url}/{OWNER}/{NAME}/{kind}/{talk.number}#issuecomment-{talk.id}",
            "issue_url": f"{self.url}{self.below}/repos/{OWNER}/{NAME}/issues/{talk.number}",
        }

    def _remark(self, talk: Talk) -> Any:
        example = dict(self._description.example("GET", f"{_PULLS}/comments", 200)[0])
        del example["in_reply_to_id"]
        at = f"{self.url}/{OWNER}/{NAME}/pull/{talk.number}"
        return {
            **example,
            **self._words(talk),
            **({"in_reply_to_id": talk.first} if talk.first != talk.id else {}),
            "path": talk.path,
            "line": talk.line,
            "original_line": talk.line,
            "diff_hunk": CALC,
            "html_url": f"{at}#discussion_r{talk.id}",
            "pull_request_url": f"{self.url}{self.below}/repos/{OWNER}/{NAME}/pulls/{talk.number}",
        }

    def _words(self, talk: Talk) -> Any:
        return {
            "id": talk.id,
            "body": talk.body,
            "user": self._user(talk.author),
            "created_at": written(talk.at),
            "updated_at": written(talk.changed),
        }

    def _user(self, name: str) -> Any:
        return {**self._description.example("GET", f"{_ISSUES}/comments", 200)[0]["user"], "login": name}

    # ── checks ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _check_runs(self, call: Call) -> Answer:
        if not self.sees_checks:
            raise Refused(
                403, {"message": "Resource not accessible by personal access token", "documentation_url": _DOCS}
            )
        example = self._description.example("GET", f"{_REPO}/commits/{{ref}}/check-runs", 200)
        jobs = [one for one in self.world.jobs if one.sha == call.names["ref"]]
        runs = [self._check_run(one, example["check_runs"][0]) for one in page_of(jobs, call, "per_page")]
        return Answer(200, {"total_count": len(jobs), "check_runs": runs})

    def _check_run(self, job: Job, example: Any) -> Any:
        running = job.state == "running"
        at = f"{self.url}/{OWNER}/{NAME}/actions/runs/{_RUN}/job/{job.id}"
        return {
            **example,
            "id": job.id,
            "name": job.name,
            "status": "in_progress" if running else "completed",
            "conclusion": None if running else job.state,
            "html_url": at,
            "details_url": at,
            "output": {**example["output"], "title": None, "summary": None},
        }

    def _status(self, call: Call) -> Answer:
        example = self._description.example("GET", f"{_REPO}/commits/{{ref}}/status", 200)
        one = example["statuses"][0]
        statuses = [
            {**one, "id": number, "context": name, "state": state, "description": f"{name}: {state}"}
            for number, (name, state) in enumerate(self.world.statuses.items(), 1)
        ]
        shown = page_of(statuses, call, "per_page")
        return Answer(200, {**example, "state": "pending", "statuses": shown, "total_count": len(statuses)})

    def _runs(self, call: Call) -> Answer:
        return Answer(200, {"total_count": 1, "workflow_runs": [self._run()]})

    def _one_run(self, call: Call) -> Answer:
        return Answer(200, self._run())

    def _run(self) -> Any:
        example = self._description.example("GET", f"{_REPO}/actions/runs/{{run_id}}", 200)
        attempt = max((one.attempt for one in self.world.jobs), default=1)
        return {**example, "id": _RUN, "run_attempt": attempt}

    def _jobs(self, call: Call) -> Answer:
        shown = [self._shown_job(one, one.id) for one in self.world.jobs]
        return Answer(200, {"total_count": len(shown), "jobs": page_of(shown, call, "per_page")})

    def _job(self, call: Call) -> Answer:
        return Answer(200, self._shown_job(self._found_job(call), int(call.names["job_id"])))

    def _shown_job(self, job: Job, id: int) -> Any:
        attempt = job.former.index(id) + 1 if id in job.former else job.attempt
        running = job.state == "running" and id == job.id
        conclusion = None if running else "failure" if id in job.former else job.state
        example = self._description.example("GET", _JOB, 200)
        step = example["steps"][0]
        return {
            **example,
            "id": id,
            "run_id": _RUN,
            "run_attempt": attempt,
            "created_at": written(BEGAN),
            "name": job.name,
            "status": "in_progress" if running else "completed",
            "conclusion": conclusion,
            "steps": [step, {**step, "name": job.step, "conclusion": conclusion}],
        }

    def _log(self, call: Call) -> Answer:
        self._found_job(call)
        there = f"http://127.0.0.1:{self._logs.sockets[0].getsockname()[1]}/{call.names['job_id']}"
        return Answer(302, None, {"Location": there if self.logs_at is None else self.logs_at})

    def _rerun(self, call: Call) -> Answer:
        job = self._found_job(call)
        if job.state == "running" or int(call.names["job_id"]) in job.former:
            raise Refused(403, {"message": "This workflow is already running", "documentation_url": _DOCS})
        job.former.append(job.id)
        job.id, job.state, job.attempt = self.world.next_id(), "running", job.attempt + 1
        return Answer(201, {})

    def _found_job(self, call: Call) -> Job:
        job = self.world.job(int(call.names["job_id"]))
        if job is None:
            raise _missing()
        return job


def review_shown(example: Any, posted: Posted) -> Any:
    """What a review has besides, once it is posted."""
    return {**example, "submitted_at": written(posted.at), "user": {**example["user"], "login": posted.by}}


def _as_issue(pull: Pull) -> Issue:
    state = "open" if pull.state == "open" else "closed"
    return Issue(pull.number, pull.title, pull.body, BOT, BEGAN, pull.labels, state)


def _missing() -> Refused:
    return Refused(404, {"message": "Not Found", "documentation_url": _DOCS, "status": "404"})
