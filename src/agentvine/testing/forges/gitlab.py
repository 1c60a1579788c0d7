"""GitLab, as far as we use it."""

from collections.abc import Mapping
from typing import Any

from agentvine.testing.forges.description import recorded
from agentvine.testing.forges.gitlab_talk import GitLabTalk, moment
from agentvine.testing.forges.server import Answer, Call, Handler, Refused, page_of, since
from agentvine.testing.forges.world import BEGAN, BOT, NAME, OWNER, SECRET, Comment, Posted, Pull, World

_PROJECT = "/projects/{id}"
_MERGES = f"{_PROJECT}/merge_requests"
_MERGE = f"{_MERGES}/{{merge_request_iid}}"
_WHEN = "2026-01-02T03:04:05.678Z"
_STATES = {"open": "opened", "closed": "closed", "merged": "merged"}
_BASE, _START = "b" * 40, "c" * 40


class GitLabServer(GitLabTalk):
    """With a token."""

    below = "/api/v4"

    def __init__(self, world: World | None = None) -> None:
        super().__init__(recorded("gitlab"), world or World(), SECRET)
        self.notes: dict[int, Comment] = {}
        """The unpublished ones, by their ids; what has no line is on line 0."""

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        return {
            ("GET", _MERGES): self._list,
            ("POST", _MERGES): self._open,
            ("GET", _MERGE): self._get,
            ("PUT", _MERGE): self._change,
            ("GET", f"{_MERGE}/diffs"): self._diffs,
            ("GET", f"{_MERGE}/notes"): self._notes,
            ("GET", f"{_MERGE}/draft_notes"): self._draft_notes,
            ("POST", f"{_MERGE}/draft_notes/bulk_publish"): self._publish,
            ("POST", f"{_MERGE}/draft_notes"): self._note_down,
            ("DELETE", f"{_MERGE}/draft_notes/{{draft_note_id}}"): self._discard,
            ("GET", "/users"): self._users,
            ("GET", f"{_PROJECT}/repository/branches/{{branch}}"): self._branch,
            **self.talk_routes(),
        }

    def kept(self) -> str:
        return f"{super().kept()} {self.notes}"

    def who(self, call: Call) -> None:
        if call.headers.get("authorization") != f"Bearer {self.token}":
            raise Refused(401, {"message": "401 Unauthorized"})
        if call.names.get("id", f"{OWNER}/{NAME}") != f"{OWNER}/{NAME}":
            raise Refused(404, {"message": "404 Project Not Found"})

    def forbidden(self) -> Answer:
        return Answer(403, {"error": "insufficient_scope", "error_description": "needs a higher scope", "scope": "api"})

    def _list(self, call: Call) -> Answer:
        branch, state = call.wanted.get("source_branch"), call.wanted.get("state", "all")
        pulls = [one for one in reversed(self.world.pulls) if branch in {None, one.branch}]
        pulls = [one for one in pulls if state in {"all", _STATES[one.state]}]
        pulls = [one for one in pulls if self.world.changed(one.number, BEGAN) >= since(call, "updated_after")]
        return Answer(200, [self._shown(one) for one in page_of(pulls, call, "per_page")])

    def _open(self, call: Call) -> Answer:
        world, source, target = self.world, call.body["source_branch"], call.body["target_branch"]
        if (there := world.open_from(source)) is not None:
            said = f"Another open merge request already exists for this source branch: !{there.number}"
            raise Refused(409, {"message": [said]})
        if target not in world.branches:
            raise Refused(422, {"message": [f'Target branch "{target}" does not exist']})
        if source not in world.branches:
            raise Refused(400, {"message": {"source_branch": ["does not exist"]}})
        title = call.body["title"]
        draft = title.startswith("Draft: ")
        pull = world.add(source, call.body["description"], title=title, target=target, draft=draft)
        return Answer(201, self._shown(pull))

    def _get(self, call: Call) -> Answer:
        return Answer(200, self._shown(self._pull(call)))

    def _change(self, call: Call) -> Answer:
        pull, ids = self._pull(call), call.body.get("reviewer_ids")
        pull.body = call.body.get("description", pull.body)
        pull.labels += [name for name in call.body.get("add_labels", "").split(",") if name and name not in pull.labels]
        pull.reviewers = pull.reviewers if ids is None else [self.world.people[one - 1] for one in ids]
        return Answer(200, self._shown(pull))

    def _diffs(self, call: Call) -> Answer:
        self._pull(call)
        diffs = [
            {
                "old_path": path,
                "new_path": path,
                "diff": f"{hunk}\n",
                "new_file": hunk.startswith("@@ -0,0"),
                "renamed_file": False,
                "deleted_file": False,
            }
            for path, hunk in self.world.patches.items()
        ]
        return Answer(200, page_of(diffs, call, "per_page"))

    def _users(self, call: Call) -> Answer:
        name = call.wanted["username"]
        return Answer(200, [self.user(name)] if name in self.world.people else [])

    def _branch(self, call: Call) -> Answer:
        name = call.names["branch"]
        if name not in self.world.branches:
            raise Refused(404, {"message": "404 Branch Not Found"})
        return Answer(200, {"name": name, "merged": False, "protected": False, "default": name == "main"})

    # ── reviews ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _notes(self, call: Call) -> Answer:
        return Answer(200, page_of(self.reviewed(self._pull(call).number), call, "per_page"))

    def reviewed(self, number: int) -> list[Any]:
        pull = self.world.pull(number)
        return [self._note(pull, one.id, one.body) for one in pull.posted] if pull is not None else []

    def _draft_notes(self, call: Call) -> Answer:
        shown = [self._draft(number, note) for number, note in self.notes.items()]
        return Answer(200, page_of(shown, call, "per_page"))

    def _note_down(self, call: Call) -> Answer:
        pull, position = self._pull(call), call.body.get("position")
        if position is not None and not self._is_shown(pull, position):
            raise Refused(400, {"message": "400 Bad request - Position is invalid"})
        path, line = (position["new_path"], position["new_line"]) if position else ("", 0)
        number = self.world.next_id()
        self.notes[number] = Comment(path, line, call.body["note"])
        return Answer(201, self._draft(number, self.notes[number]))

    def _discard(self, call: Call) -> Answer:
        if self.notes.pop(int(call.names["draft_note_id"]), None) is None:
            raise Refused(404, {"message": "404 Not found"})
        return Answer(204)

    def _publish(self, call: Call) -> Answer:
        pull = self._pull(call)
        if self.notes:
            text = [note.body for note in self.notes.values() if not note.path]
            on_lines = [note for note in self.notes.values() if note.path]
            pull.reviews.append(Posted(self.world.next_id(), "\n".join(text), on_lines, True))
        self.notes = {}
        return Answer(204)

    def leave_unfinished(self, pull: Pull) -> None:
        self.notes[self.world.next_id()] = Comment("", 0, "of somebody else")

    def _is_shown(self, pull: Pull, position: Mapping[str, Any]) -> bool:
        """A line that was not changed has to be named by both of its numbers."""
        of_diff = (position["base_sha"], position["start_sha"], position["head_sha"])
        known = of_diff == (_BASE, _START, self.world.head_of(pull)) and position["new_path"] in self.world.patches
        old = {1: 1, 5: 4}.get(position["new_line"]) if position["new_path"] == "calc.py" else None
        return known and position.get("old_line") == old

    # ── what answers look like ───────────────────────────────────────────────────────────────────────────────────

    def _shown(self, pull: Pull) -> Any:
        head = self.world.head_of(pull)
        return {
            "id": 1000 + pull.number,
            "iid": pull.number,
            "project_id": 1,
            "title": pull.title,
            "description": pull.body,
            "state": _STATES[pull.state],
            "created_at": _WHEN,
            "updated_at": moment(self.world.changed(pull.number, BEGAN)),
            "author": self.user(BOT),
            "has_conflicts": self.world.conflicts and pull.state == "open",
            "source_branch": pull.branch,
            "target_branch": pull.target,
            "source_project_id": 1 if pull.ours else 2,
            "target_project_id": 1,
            "labels": pull.labels,
            "draft": pull.draft,
            "reviewers": [self.user(name) for name in pull.reviewers],
            "sha": head,
            "web_url": f"{self.url}/{OWNER}/{NAME}/-/merge_requests/{pull.number}",
            "diff_refs": {"base_sha": _BASE, "start_sha": _START, "head_sha": head},
        }

    def user(self, name: str) -> Any:
        number = self.world.people.index(name) + 1 if name in self.world.people else 99
        return {"id": number, "username": name, "name": name, "state": "active", "web_url": f"{self.url}/{name}"}

    def _draft(self, number: int, note: Comment) -> Any:
        return {"id": number, "author_id": 99, "merge_request_id": 1001, "note": note.body}

    def _note(self, pull: Pull, number: int, body: str) -> Any:
        return {
            "id": number,
            "body": body,
            "author": self.user(BOT),
            "created_at": _WHEN,
            "system": False,
            "noteable_id": 1000 + pull.number,
            "noteable_type": "MergeRequest",
        }

    def _pull(self, call: Call) -> Pull:
        pull = self.world.pull(int(call.names["merge_request_iid"]))
        if pull is None:
            raise Refused(404, {"message": "404 Not found"})
        return pull
