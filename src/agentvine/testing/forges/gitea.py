"""Gitea and Forgejo, as far as we use them."""

from collections.abc import Mapping
from typing import Any

from agentvine.testing.forges.description import recorded
from agentvine.testing.forges.gitea_talk import GiteaTalk
from agentvine.testing.forges.server import Answer, Call, Handler, Refused, page_of, written
from agentvine.testing.forges.world import NAME, OWNER, SECRET, Comment, Posted, Pull, World

_REPO = "/repos/{owner}/{repo}"
_PULL = f"{_REPO}/pulls/{{index}}"
_WHEN = "2026-01-02T03:04:05Z"


class GiteaServer(GiteaTalk):
    """With a token."""

    below = "/api/v1"

    def __init__(self, world: World | None = None) -> None:
        super().__init__(recorded("gitea"), world or World(), SECRET)
        self.longest_page = 50
        """MAX_RESPONSE_ITEMS."""
        self.tells_total = True
        """How many entries a list has; else only that there are more."""

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        return {
            ("GET", f"{_REPO}/pulls"): self._list,
            ("POST", f"{_REPO}/pulls"): self._open,
            ("PATCH", _PULL): self._change,
            ("GET", f"{_PULL}.{{diffType}}"): self._diff,
            ("GET", f"{_PULL}/reviews"): self._reviews,
            ("POST", f"{_PULL}/reviews"): self._write_review,
            ("POST", f"{_PULL}/reviews/{{id}}"): self._submit,
            ("DELETE", f"{_PULL}/reviews/{{id}}"): self._discard,
            ("POST", f"{_PULL}/requested_reviewers"): self._ask,
            ("GET", f"{_REPO}/labels"): self._labels,
            ("POST", f"{_REPO}/issues/{{index}}/labels"): self._label,
            ("GET", f"{_REPO}/branches/{{branch}}"): self._branch,
            **self.talk_routes(),  # behind the ones for `.diff`, which a name in braces would swallow
        }

    def who(self, call: Call) -> None:
        if call.headers.get("authorization") != f"token {self.token}":
            raise Refused(401, {"message": "invalid username, password or token", "url": f"{self.url}/api/swagger"})
        if "owner" in call.names and (call.names["owner"], call.names["repo"]) != (OWNER, NAME):
            raise _missing()

    def forbidden(self) -> Answer:
        said = "token does not have at least one of required scope(s): [write:repository]"
        return Answer(403, {"message": said, "url": f"{self.url}/api/swagger"})

    def _list(self, call: Call) -> Answer:
        state = call.wanted.get("state", "open")
        pulls = [
            one for one in reversed(self.world.pulls) if state == "all" or (one.state == "open") == (state == "open")
        ]
        page = [self.pull_shown(one) for one in page_of(pulls, call, "limit", self.longest_page)]
        return Answer(200, page, {"X-Total-Count": str(len(pulls))} if self.tells_total else self._next_of(call, pulls))

    def _next_of(self, call: Call, entries: list[Pull]) -> dict[str, str]:
        number = int(call.wanted.get("page", "1"))
        more = number * self.longest_page < len(entries)
        return {"Link": f'<{self.url}{call.path}?page={number + 1}>; rel="next"'} if more else {}

    def _open(self, call: Call) -> Answer:
        world, head, base = self.world, call.body["head"], call.body["base"]
        if head not in world.branches or base not in world.branches:
            raise _missing("The target couldn't be found.")
        if world.open_from(head):
            raise Refused(409, {"message": f"pull request already exists for these targets [head: {head}]"})
        title = call.body["title"]
        pull = world.add(head, call.body["body"], title=title, target=base, draft=title.startswith("WIP: "))
        return Answer(201, self.pull_shown(pull))

    def _change(self, call: Call) -> Answer:
        pull = self._pull(call)
        pull.body = call.body.get("body", pull.body)
        return Answer(201, self.pull_shown(pull))

    def _labels(self, call: Call) -> Answer:
        return Answer(200, page_of([self._one_label(name) for name in self.world.labels], call, "limit"))

    def _label(self, call: Call) -> Answer:
        pull = self._pull(call)
        names = [self.world.labels[number - 1] for number in call.body["labels"]]
        pull.labels += [name for name in names if name not in pull.labels]
        return Answer(200, [self._one_label(name) for name in pull.labels])

    def _ask(self, call: Call) -> Answer:
        pull = self._pull(call)
        for name in call.body["reviewers"]:
            if name not in self.world.people:
                raise _missing(f"user does not exist [name: {name}]")
            if name not in pull.reviewers:
                pull.reviewers.append(name)
        return Answer(201, [])

    def _branch(self, call: Call) -> Answer:
        if call.names["branch"] not in self.world.branches:
            raise _missing("The target couldn't be found.")
        return Answer(200, {"name": call.names["branch"], "protected": False})

    # ── reviews ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _diff(self, call: Call) -> Answer:
        self._pull(call)
        files = [_section(path, hunk) for path, hunk in self.world.patches.items()]
        return Answer(200, "".join(files))

    def _reviews(self, call: Call) -> Answer:
        pull = self._pull(call)
        return Answer(
            200, page_of([*(self._review(pull, one) for one in pull.reviews), *self.talked(pull.number)], call, "limit")
        )

    def _write_review(self, call: Call) -> Answer:
        """What one account has not posted yet is one review: a second call adds to it."""
        pull, told = self._pull(call), call.body
        comments = [
            Comment(one["path"], one["new_position"], one["body"], self.world.next_id())
            for one in told.get("comments", [])
        ]
        posted = next((one for one in pull.reviews if not one.done), None)
        if posted is None:
            posted = Posted(self.world.next_id(), "", at=self.world.now())
            pull.reviews.append(posted)
        posted.comments += comments
        posted.body, posted.done = told.get("body", ""), told.get("event") != "PENDING"
        return Answer(200, self._review(pull, posted))

    def _submit(self, call: Call) -> Answer:
        pull = self._pull(call)
        posted = self._found(pull, call)
        if posted.done:
            raise Refused(422, {"message": "only a pending review can be submitted"})
        posted.done, posted.body = True, call.body.get("body", posted.body)
        return Answer(200, self._review(pull, posted))

    def _discard(self, call: Call) -> Answer:
        pull = self._pull(call)
        pull.reviews.remove(self._found(pull, call))
        return Answer(204)

    def leave_unfinished(self, pull: Pull) -> None:
        pull.reviews.append(Posted(self.world.next_id(), "of somebody else"))

    def _found(self, pull: Pull, call: Call) -> Posted:
        posted = next((one for one in pull.reviews if str(one.id) == call.names["id"]), None)
        if posted is None:
            raise _missing()
        return posted

    # ── what answers look like ───────────────────────────────────────────────────────────────────────────────────

    def pull_shown(self, pull: Pull) -> Any:
        repository = {"id": 1, "name": NAME, "full_name": f"{OWNER}/{NAME}"}
        number = 1 if pull.ours else 2
        gone = pull.state != "open" and pull.branch not in self.world.branches
        ref = f"refs/pull/{pull.number}/head" if gone else pull.branch
        head = {"label": pull.branch, "ref": ref, "sha": self.world.head_of(pull), "repo_id": number}
        base = {"label": pull.target, "ref": pull.target, "sha": "0" * 40, "repo_id": 1, "repo": repository}
        return {
            "id": 1000 + pull.number,
            "number": pull.number,
            "html_url": f"{self.url}/{OWNER}/{NAME}/pulls/{pull.number}",
            "state": "open" if pull.state == "open" else "closed",
            "merged": pull.state == "merged",
            "title": pull.title,
            "body": pull.body,
            "draft": pull.draft,
            "head": {**head, "repo": {**repository, "id": number}},
            "base": base,
            "created_at": _WHEN,
        }

    def _review(self, pull: Pull, posted: Posted) -> Any:
        return {
            "id": posted.id,
            "body": posted.body,
            "state": "COMMENT" if posted.done else "PENDING",
            "comments_count": len(posted.comments),
            "html_url": f"{self.url}/{OWNER}/{NAME}/pulls/{pull.number}#issuecomment-{posted.id}",
            "user": {"id": 9, "login": posted.by},
            "submitted_at": written(posted.at),
        }

    def _one_label(self, name: str) -> Any:
        return {"id": self.world.labels.index(name) + 1, "name": name, "color": "00aabb"}

    def _pull(self, call: Call) -> Pull:
        pull = self.world.pull(int(call.names["index"]))
        if pull is None:
            raise _missing()
        return pull


def _section(path: str, hunk: str) -> str:
    """As git writes it: unusual names in quotes, with octal escapes."""
    plain = path.isascii() and " " not in path
    name = path if plain else "".join(char if char.isascii() else _octal(char) for char in path)
    old, new = (f"a/{name}", f"b/{name}") if path.isascii() else (f'"a/{name}"', f'"b/{name}"')
    former = "/dev/null" if hunk.startswith("@@ -0,0") else old
    return f"diff --git {old} {new}\nindex 1..2 100644\n--- {former}\n+++ {new}\n{hunk}\n"


def _octal(char: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in char.encode())


def _missing(said: str = "The target couldn't be found.") -> Refused:
    return Refused(404, {"message": said, "url": "https://gitea.example/api/swagger"})
