"""The part of the played GitLab that has issues, what people say, and checks."""

from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from agentvine.testing.forges.server import Answer, Call, ForgeServer, Handler, Refused, page_of, since
from agentvine.testing.forges.world import BOT, NAME, OWNER, Issue, Job, Pull, Talk

_PROJECT = "/projects/{id}"
_ISSUES = f"{_PROJECT}/issues"
_ISSUE = f"{_ISSUES}/{{issue_iid}}"
_MERGE = f"{_PROJECT}/merge_requests/{{merge_request_iid}}"
_JOB = f"{_PROJECT}/jobs/{{job_id}}"
_PIPELINE = 6


class GitLabTalk(ForgeServer):
    """It does not tell which step of a job failed."""

    steps = False
    issues_have_threads = True

    def talk_routes(self) -> Mapping[tuple[str, str], Handler]:
        both = {
            ("GET", "{}/discussions"): self._discussions,
            ("POST", "{}/discussions/{{discussion_id}}/notes"): self._answer_in_thread,
            ("POST", "{}/notes"): self._say,
            ("PUT", "{}/notes/{{note_id}}"): self._edit,
            ("DELETE", "{}/notes/{{note_id}}"): self._delete,
        }
        return {
            **{(method, path.format(at)): do for (method, path), do in both.items() for at in (_ISSUE, _MERGE)},
            ("GET", "/user"): self._me,
            ("GET", _PROJECT): self._project,
            ("GET", _ISSUES): self._issues,
            ("GET", _ISSUE): self._issue,
            ("GET", f"{_PROJECT}/repository/commits/{{sha}}/statuses"): self._statuses,
            ("GET", f"{_PROJECT}/pipelines/{{pipeline_id}}/jobs"): self._jobs,
            ("GET", _JOB): self._job,
            ("GET", f"{_JOB}/trace"): self._trace,
            ("POST", f"{_JOB}/retry"): self._retry,
        }

    @abstractmethod
    def user(self, name: str) -> Any:
        """Somebody, as GitLab shows them."""

    def thread_of(self, first: Talk) -> str:
        return f"discussion-{first.id:040x}"

    def check_of(self, job: Job) -> str:
        return f"job-{job.id}"

    def _me(self, call: Call) -> Answer:
        return Answer(200, self.user(BOT))

    def _project(self, call: Call) -> Answer:
        level = "enabled" if self.world.has_issues else "disabled"
        path = f"{OWNER}/{NAME}"
        return Answer(200, {"id": 1, "name": NAME, "path_with_namespace": path, "issues_access_level": level})

    # ── issues ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _issues(self, call: Call) -> Answer:
        if not self.world.has_issues:
            raise Refused(403, {"message": "403 Forbidden"})
        wanted = call.wanted
        fitting = [
            one
            for one in reversed(self.world.issues)
            if wanted.get("state", "all") in {"all", _state(one)}
            and wanted.get("labels", "") in {"", *one.labels}
            and self.world.changed(one.number, one.at) >= since(call, "updated_after")
        ]
        return Answer(200, [self._shown_issue(one) for one in page_of(fitting, call, "per_page")])

    def _issue(self, call: Call) -> Answer:
        issue = self.world.issue(int(call.names["issue_iid"]))
        if issue is None:
            raise missing()
        return Answer(200, self._shown_issue(issue))

    def _shown_issue(self, issue: Issue) -> Any:
        return {
            "id": 2000 + issue.number,
            "iid": issue.number,
            "project_id": 1,
            "title": issue.title,
            "description": issue.body or None,
            "state": _state(issue),
            "created_at": moment(issue.at),
            "updated_at": moment(self.world.changed(issue.number, issue.at)),
            "labels": issue.labels,
            "author": self.user(issue.author),
            "web_url": f"{self.url}/{OWNER}/{NAME}/-/issues/{issue.number}",
        }

    # ── what is said ─────────────────────────────────────────────────────────────────────────────────────────────

    def _discussions(self, call: Call) -> Answer:
        number = self._number(call)
        said = [one for one in self.world.talks if one.number == number]
        threads = [[one for one in said if one.first == first.id] for first in said if first.first == first.id]
        shown = [self._thread(one) for one in threads] + [self._review_thread(one) for one in self.reviewed(number)]
        return Answer(200, page_of(shown, call, "per_page"))

    @abstractmethod
    def reviewed(self, number: int) -> list[Any]:
        """The notes of reviews that were published there."""

    def _review_thread(self, note: Any) -> Any:
        return {"id": f"{note['id']:040x}", "individual_note": True, "notes": [note]}

    def _thread(self, talks: list[Talk]) -> Any:
        alone = len(talks) == 1 and not talks[0].path
        notes = [self._noted(one) for one in talks]
        return {"id": f"{talks[0].id:040x}", "individual_note": alone, "notes": notes}

    def _noted(self, talk: Talk) -> Any:
        merge = self.world.pull(talk.number) is not None
        position = {"position_type": "text", "new_path": talk.path, "old_path": talk.path, "new_line": talk.line}
        return {
            "id": talk.id,
            "type": "DiffNote" if talk.path else None,
            "body": talk.body,
            "author": self.user(talk.author),
            "created_at": moment(talk.at),
            "updated_at": moment(talk.changed),
            "system": False,
            "noteable_id": (1000 if merge else 2000) + talk.number,
            "noteable_type": "MergeRequest" if merge else "Issue",
            **({"position": {**position, "old_line": None}} if talk.path else {}),
        }

    def _say(self, call: Call) -> Answer:
        return Answer(201, self._noted(self.world.talk(self._number(call), BOT, call.body["body"])))

    def _answer_in_thread(self, call: Call) -> Answer:
        number, first = self._number(call), self.world.found(int(call.names["discussion_id"], 16))
        if first is None or first.number != number:
            raise missing("404 Discussion Not Found")
        talk = self.world.talk(number, BOT, call.body["body"], first.path, first.line, first.id)
        return Answer(201, self._noted(talk))

    def _edit(self, call: Call) -> Answer:
        talk = self._talk(call)
        talk.body, talk.changed = call.body["body"], self.world.now()
        return Answer(200, self._noted(talk))

    def _delete(self, call: Call) -> Answer:
        self.world.talks.remove(self._talk(call))
        return Answer(204)

    def _talk(self, call: Call) -> Talk:
        talk = self.world.found(int(call.names["note_id"]))
        if talk is None or talk.number != self._number(call):
            raise missing()
        return talk

    def _number(self, call: Call) -> int:
        if (issue := call.names.get("issue_iid")) is not None:
            if self.world.issue(int(issue)) is None:
                raise missing()
            return int(issue)
        merge = int(call.names["merge_request_iid"])
        if self.world.pull(merge) is None:
            raise missing()
        return merge

    # ── checks ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _statuses(self, call: Call) -> Answer:
        sha = call.names["sha"]
        jobs = [one for one in self.world.jobs if one.sha == sha]
        rows = [(id, one.name, "failed", self._address(id)) for one in jobs for id in one.former]
        rows += [(one.id, one.name, _of(one.state), self._address(one.id)) for one in jobs]
        others = enumerate(self.world.statuses.items(), 9000)
        rows += [(id, name, _of(state), "https://ci.example/jobs/1") for id, (name, state) in others]
        shown = [
            {
                "id": id,
                "sha": sha,
                "name": name,
                "status": status,
                "target_url": url,
                "description": None,
                "allow_failure": False,
                "author": self.user(BOT),
            }
            for id, name, status, url in rows
        ]
        return Answer(200, page_of(shown, call, "per_page"))

    def _jobs(self, call: Call) -> Answer:
        return Answer(200, page_of([self._shown_job(one, one.id) for one in self.world.jobs], call, "per_page"))

    def _job(self, call: Call) -> Answer:
        return Answer(200, self._shown_job(self._found_job(call), int(call.names["job_id"])))

    def _trace(self, call: Call) -> Answer:
        job = self._found_job(call)
        began = "\x1b[0Ksection_start:1767323045:step_script\r\x1b[0K\x1b[0;m\x1b[36;1mExecuting\x1b[0;m\n"
        return Answer(200, began + job.log)

    def _retry(self, call: Call) -> Answer:
        job = self._found_job(call)
        if job.state != "failure" or int(call.names["job_id"]) in job.former:
            raise Refused(403, {"message": "403 Forbidden - Job is not retryable"})
        job.former.append(job.id)
        job.id, job.state, job.attempt = self.world.next_id(), "running", job.attempt + 1
        return Answer(201, self._shown_job(job, job.id))

    def _found_job(self, call: Call) -> Job:
        job = self.world.job(int(call.names["job_id"]))
        if job is None:
            raise missing()
        return job

    def _shown_job(self, job: Job, id: int) -> Any:
        return {
            "id": id,
            "name": job.name,
            "stage": "test",
            "status": "failed" if id in job.former else _of(job.state),
            "allow_failure": False,
            "pipeline": {"id": _PIPELINE, "project_id": 1, "ref": "x", "sha": job.sha, "status": "failed"},
            "web_url": self._address(id),
        }

    def _address(self, id: int) -> str:
        return f"{self.url}/{OWNER}/{NAME}/-/jobs/{id}"


def moment(at: datetime) -> str:
    """A moment as GitLab writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def updated(pull: Pull, call: Call, changed: datetime) -> bool:
    """Whether a call asks for what was changed then."""
    return changed >= since(call, "updated_after")


def _state(issue: Issue) -> str:
    return "opened" if issue.state == "open" else "closed"


def _of(state: str) -> str:
    return "failed" if state == "failure" else state


def missing(said: str = "404 Not found") -> Refused:
    return Refused(404, {"message": said})
