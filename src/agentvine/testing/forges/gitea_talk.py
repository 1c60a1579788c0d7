"""The part of the played Gitea that has issues, what people say, and checks."""

from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from agentvine.testing.forges.server import Answer, Call, ForgeServer, Handler, Refused, page_of, since, written
from agentvine.testing.forges.world import BEGAN, BOT, CALC, NAME, OWNER, Comment, Issue, Job, Posted, Pull, Talk

_REPO = "/repos/{owner}/{repo}"
_ISSUES = f"{_REPO}/issues"
_PULL = f"{_REPO}/pulls/{{index}}"
_RUN = 7


class GiteaTalk(ForgeServer):
    """`answers`: the API has answers in threads; `actions`: and jobs. `tells_account`: the token may read the user."""

    answers = True
    actions = True
    tells_account = True

    def talk_routes(self) -> Mapping[tuple[str, str], Handler]:
        return {
            ("GET", "/user"): self._me,
            ("GET", _REPO): self._repository,
            ("GET", _PULL): self._one_pull,
            ("GET", f"{_PULL}/reviews/{{id}}/comments"): self._remarks,
            ("POST", f"{_PULL}/comments/{{id}}/replies"): self._reply,
            ("GET", _ISSUES): self._issues,
            ("GET", f"{_ISSUES}/comments"): self._all_comments,
            ("PATCH", f"{_ISSUES}/comments/{{id}}"): self._edit,
            ("DELETE", f"{_ISSUES}/comments/{{id}}"): self._delete,
            ("GET", f"{_ISSUES}/{{index}}"): self._issue,
            ("GET", f"{_ISSUES}/{{index}}/comments"): self._comments,
            ("POST", f"{_ISSUES}/{{index}}/comments"): self._say,
            ("GET", f"{_REPO}/commits/{{ref}}/status"): self._status,
            ("GET", f"{_REPO}/actions/runs"): self._runs,
            ("GET", f"{_REPO}/actions/runs/{{run}}"): self._one_run,
            ("GET", f"{_REPO}/actions/runs/{{run}}/jobs"): self._jobs,
            ("POST", f"{_REPO}/actions/runs/{{run}}/jobs/{{job_id}}/rerun"): self._rerun,
            ("GET", f"{_REPO}/actions/jobs/{{job_id}}"): self._job,
            ("GET", f"{_REPO}/actions/jobs/{{job_id}}/logs"): self._log,
        }

    @abstractmethod
    def pull_shown(self, pull: Pull) -> Any:
        """A pull request as Gitea shows it."""

    def thread_of(self, first: Talk) -> str:
        return f"remark-{first.id}"

    def check_of(self, job: Job) -> str:
        return f"job-{_RUN}-{job.id}-{job.attempt}"

    def _me(self, call: Call) -> Answer:
        if not self.tells_account:
            raise Refused(403, {"message": "token does not have at least one of required scope(s): [read:user]"})
        return Answer(200, _user(BOT))

    def _repository(self, call: Call) -> Answer:
        return Answer(200, {"id": 1, "name": NAME, "full_name": f"{OWNER}/{NAME}", "has_issues": self.world.has_issues})

    def _one_pull(self, call: Call) -> Answer:
        pull = self.world.pull(int(call.names["index"]))
        if pull is None:
            raise _missing()
        conflicts = self.world.conflicts and pull.state == "open"
        return Answer(200, {**self.pull_shown(pull), "mergeable": not conflicts})

    # ── issues ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _issues(self, call: Call) -> Answer:
        self._must_have_issues()
        wanted, after, world = call.wanted, since(call), self.world
        everything = [self._shown_issue(one) for one in world.issues] + [self._as_issue(one) for one in world.pulls]
        fitting = [
            one
            for one in sorted(everything, key=lambda one: -int(one["number"]))
            if wanted.get("state", "open") in {"all", one["state"]}
            and (wanted.get("type") != "issues" or "pull_request" not in one)
            and datetime.fromisoformat(one["updated_at"]) >= after
        ]
        if (label := wanted.get("labels")) is not None and label in world.labels:
            fitting = [one for one in fitting if label in [each["name"] for each in one["labels"]]]
        return Answer(200, page_of(fitting, call, "limit"))

    def _issue(self, call: Call) -> Answer:
        self._must_have_issues()
        number = int(call.names["index"])
        if (issue := self.world.issue(number)) is not None:
            return Answer(200, self._shown_issue(issue))
        if (pull := self.world.pull(number)) is not None:
            return Answer(200, self._as_issue(pull))
        raise _missing()

    def _must_have_issues(self) -> None:
        if not self.world.has_issues:
            raise _missing()

    def _shown_issue(self, issue: Issue) -> Any:
        return {
            "id": 2000 + issue.number,
            "number": issue.number,
            "html_url": f"{self.url}/{OWNER}/{NAME}/issues/{issue.number}",
            "title": issue.title,
            "body": issue.body,
            "user": _user(issue.author),
            "state": issue.state,
            "labels": [{"id": 1, "name": name, "color": "00aabb"} for name in issue.labels],
            "created_at": written(issue.at),
            "updated_at": written(self.world.changed(issue.number, issue.at)),
        }

    def _as_issue(self, pull: Pull) -> Any:
        issue = Issue(pull.number, pull.title, pull.body, BOT, BEGAN, pull.labels)
        issue.state = "open" if pull.state == "open" else "closed"
        shown = self._shown_issue(issue)
        address = f"{self.url}/{OWNER}/{NAME}/pulls/{pull.number}"
        return {**shown, "html_url": address, "pull_request": {"merged": pull.state == "merged"}}

    # ── what is said ─────────────────────────────────────────────────────────────────────────────────────────────

    def _all_comments(self, call: Call) -> Answer:
        self._must_have_issues()
        said = [one for one in self.world.said(on_lines=False) if one.changed >= since(call)]
        return Answer(200, page_of([self._comment(one) for one in said], call, "limit"))

    def _comments(self, call: Call) -> Answer:
        number = self._number(call)
        return Answer(200, [self._comment(one) for one in self.world.said(number, on_lines=False)])

    def _say(self, call: Call) -> Answer:
        return Answer(201, self._comment(self.world.talk(self._number(call), BOT, call.body["body"])))

    def _edit(self, call: Call) -> Answer:
        talk = self._talk(call)
        talk.body, talk.changed = call.body["body"], self.world.now()
        return Answer(200, self._comment(talk))

    def _delete(self, call: Call) -> Answer:
        """A remark goes with its review if it was all there was in it."""
        for pull in self.world.pulls:
            for review in pull.reviews:
                if [str(one.id) for one in review.comments] == [call.names["id"]]:
                    pull.reviews.remove(review)
                    return Answer(204)
        self.world.talks.remove(self._talk(call))
        return Answer(204)

    def _reply(self, call: Call) -> Answer:
        if not self.answers:
            raise _missing()
        number = int(call.names["index"])
        first = self.world.of_thread(number, int(call.names["id"]))
        if first is None:
            raise _missing()
        talk = self.world.talk(number, BOT, call.body["body"], first.path, first.line, first.id)
        return Answer(201, self._remark(talk))

    def talked(self, number: int) -> list[Any]:
        """The reviews that are made of what was said on lines: one a thread, as when somebody answers in it."""
        firsts = [one for one in self.world.said(number, on_lines=True) if one.first == one.id]
        return [
            {
                "id": 50_000 + one.id,
                "body": "",
                "state": "COMMENT",
                "comments_count": len([each for each in self.world.talks if each.first == one.id]),
                "html_url": f"{self.url}/{OWNER}/{NAME}/pulls/{number}#issuecomment-{one.id}",
                "user": _user(one.author),
                "submitted_at": written(one.at),
            }
            for one in firsts
        ]

    def _remarks(self, call: Call) -> Answer:
        number, review = int(call.names["index"]), int(call.names["id"])
        pull = self.world.pull(number)
        if pull is None:
            raise _missing()
        posted = next((one for one in pull.reviews if one.id == review), None)
        if posted is not None:
            return Answer(200, [self._remark(_as_talk(pull, posted, one)) for one in posted.comments])
        said = self.world.said(number, on_lines=True)
        return Answer(200, [self._remark(one) for one in said if one.first == review - 50_000])

    def _comment(self, talk: Talk) -> Any:
        kind = "pulls" if self.world.pull(talk.number) else "issues"
        at = f"{self.url}/{OWNER}/{NAME}/{kind}/{talk.number}"
        return {
            "id": talk.id,
            "html_url": f"{at}#issuecomment-{talk.id}",
            "issue_url": at if kind == "issues" else "",
            "pull_request_url": at if kind == "pulls" else "",
            "body": talk.body,
            "user": _user(talk.author),
            "created_at": written(talk.at),
            "updated_at": written(talk.changed),
        }

    def _remark(self, talk: Talk) -> Any:
        return {
            "id": talk.id,
            "body": talk.body,
            "user": _user(talk.author),
            "created_at": written(talk.at),
            "updated_at": written(talk.changed),
            "html_url": f"{self.url}/{OWNER}/{NAME}/pulls/{talk.number}#issuecomment-{talk.id}",
            "path": talk.path,
            "position": talk.line,
            "original_position": 0,
            "diff_hunk": CALC,
            "pull_request_review_id": 50_000 + talk.first,
        }

    def _number(self, call: Call) -> int:
        number = int(call.names["index"])
        if self.world.issue(number) is None and self.world.pull(number) is None:
            raise _missing("issue does not exist")
        return number

    def _talk(self, call: Call) -> Talk:
        talk = self.world.found(int(call.names["id"]))
        if talk is None:
            raise _missing("comment does not exist")
        return talk

    # ── checks ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _status(self, call: Call) -> Answer:
        sha = call.names["ref"]
        jobs = [one for one in self.world.jobs if one.sha == sha] if self.actions else []
        states = {"running": "pending"}
        rows = [(one.name, states.get(one.state, one.state), self._job_address(one)) for one in jobs]
        rows += [(name, state, "https://ci.example/1") for name, state in self.world.statuses.items()]
        statuses = [
            {"id": number, "context": name, "status": state, "target_url": url, "description": f"{name}: {state}"}
            for number, (name, state, url) in enumerate(rows, 1)
        ]
        return Answer(200, {"sha": sha, "total_count": len(rows), "statuses": page_of(statuses, call, "limit")})

    def _runs(self, call: Call) -> Answer:
        self._must_have_actions()
        jobs = [one for one in self.world.jobs if one.sha == call.wanted["head_sha"]]
        runs = [self._run()] if jobs else []
        return Answer(200, {"total_count": len(runs), "workflow_runs": runs})

    def _one_run(self, call: Call) -> Answer:
        self._must_have_actions()
        return Answer(200, self._run())

    def _jobs(self, call: Call) -> Answer:
        self._must_have_actions()
        shown = [self._shown_job(one) for one in self.world.jobs]
        return Answer(200, {"total_count": len(shown), "jobs": page_of(shown, call, "limit")})

    def _job(self, call: Call) -> Answer:
        return Answer(200, self._shown_job(self._found_job(call)))

    def _log(self, call: Call) -> Answer:
        return Answer(200, self._found_job(call).log)

    def _rerun(self, call: Call) -> Answer:
        job = self._found_job(call)
        if job.state != "failure":
            raise Refused(409, {"message": "the job is not done"})
        job.state, job.attempt = "running", job.attempt + 1
        return Answer(201, self._shown_job(job))

    def _found_job(self, call: Call) -> Job:
        self._must_have_actions()
        job = self.world.job(int(call.names["job_id"]))
        if job is None:
            raise _missing("job does not exist")
        return job

    def _must_have_actions(self) -> None:
        if not self.actions:
            raise _missing()

    def _run(self) -> Any:
        states = {one.state for one in self.world.jobs}
        running = "running" in states
        return {
            "id": _RUN,
            "status": "in_progress" if running else "completed",
            "conclusion": "" if running else "failure" if "failure" in states else "success",
            "run_attempt": max((one.attempt for one in self.world.jobs), default=1),
        }

    def _shown_job(self, job: Job) -> Any:
        conclusion = "" if job.state == "running" else job.state
        steps = [{"name": "Set up", "number": 1, "status": "completed", "conclusion": "success"}]
        steps += [{"name": job.step, "number": 2, "status": "completed", "conclusion": conclusion}] if job.step else []
        return {
            "id": job.id,
            "run_id": _RUN,
            "run_attempt": job.attempt,
            "name": job.name,
            "status": "in_progress" if job.state == "running" else "completed",
            "conclusion": conclusion,
            "html_url": self._job_address(job),
            "steps": steps,
        }

    def _job_address(self, job: Job) -> str:
        return f"{self.url}/{OWNER}/{NAME}/actions/runs/{_RUN}/jobs/{job.id}"


def _as_talk(pull: Pull, posted: Posted, comment: Comment) -> Talk:
    return Talk(comment.id, pull.number, posted.by, comment.body, posted.at, comment.path, comment.line)


def _user(name: str) -> Any:
    return {"id": 9 if name == BOT else 10, "login": name}


def _missing(said: str = "The target couldn't be found.") -> Refused:
    return Refused(404, {"message": said, "url": "https://gitea.example/api/swagger"})
