"""GitHub, as far as we use it. Answers are the examples of its own description, with what is ours filled in."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from agentvine.testing.forges.description import Description
from agentvine.testing.forges.github_talk import GitHubTalk, review_shown
from agentvine.testing.forges.server import Answer, Call, Handler, Refused, page_of
from agentvine.testing.forges.world import NAME, OWNER, SECRET, Comment, Posted, Pull, World

_REPO = "/repos/{owner}/{repo}"
_PULL = f"{_REPO}/pulls/{{pull_number}}"
_DOCS = "https://docs.github.com/rest"


class GitHubServer(GitHubTalk):
    """With a token, or with an app whose public key is `app_key`."""

    below = "/api/v3"

    def __init__(self, description: Description, world: World | None = None) -> None:
        super().__init__(description, world or World(), SECRET)
        self.app_key: RSAPublicKey | None = None
        self.lifetime = timedelta(hours=1)
        self.given = 0
        """Tokens of the installation that were given out."""
        self.moved_from = "acme/old-shop"
        """The repository's former name: GitHub leads from there to its number."""

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        return {
            ("GET", f"{_REPO}/pulls"): self._list,
            ("POST", f"{_REPO}/pulls"): self._open,
            ("PATCH", _PULL): self._change,
            ("GET", f"{_PULL}/files"): self._files,
            ("GET", f"{_PULL}/reviews"): self._reviews,
            ("POST", f"{_PULL}/reviews"): self._write_review,
            ("POST", f"{_PULL}/reviews/{{review_id}}/events"): self._submit,
            ("POST", f"{_PULL}/requested_reviewers"): self._ask,
            ("POST", f"{_REPO}/issues/{{issue_number}}/labels"): self._label,
            ("GET", f"{_REPO}/branches/{{branch}}"): self._branch,
            ("GET", f"{_REPO}/installation"): self._installation,
            ("POST", "/app/installations/{installation_id}/access_tokens"): self._token,
            **self.talk_routes(),
        }

    def located(self, path: str) -> str:
        return path.replace("/repositories/1/", f"/repos/{OWNER}/{NAME}/")

    def who(self, call: Call) -> None:
        scheme, _, shown = call.headers.get("authorization", "").partition(" ")
        app = call.path.startswith("/app/") or call.path.endswith("/installation")
        known = self._is_signed(shown) if app else shown == self.token
        if scheme != "Bearer" or not known:
            raise Refused(401, {"message": "Bad credentials", "documentation_url": _DOCS, "status": "401"})
        named = f"{call.names.get('owner')}/{call.names.get('repo')}"
        if named == self.moved_from:
            rest = call.path.split("/", 4)[-1]
            there = f"{self.url}{self.below}/repositories/1/{rest}?{call.query}"
            raise Refused(
                301, {"message": "Moved Permanently", "url": there, "documentation_url": _DOCS}, {"Location": there}
            )
        if "owner" in call.names and named != f"{OWNER}/{NAME}":
            raise Refused(404, {"message": "Not Found", "documentation_url": _DOCS, "status": "404"})

    def forbidden(self) -> Answer:
        return Answer(403, {"message": "Resource not accessible by personal access token", "documentation_url": _DOCS})

    # ── pull requests ────────────────────────────────────────────────────────────────────────────────────────────

    def _list(self, call: Call) -> Answer:
        owner, _, branch = call.wanted.get("head", "").partition(":")
        pulls = [one for one in reversed(self.world.pulls) if call.wanted.get("state") == "all" or one.state == "open"]
        if branch:
            pulls = [one for one in pulls if one.branch == branch and one.ours == (owner == OWNER)]
        example = self._description.example("GET", f"{_REPO}/pulls", 200)[0]
        return Answer(200, [self.pull_shown(one, example) for one in page_of(pulls, call, "per_page")])

    def _open(self, call: Call) -> Answer:
        world, head, base = self.world, call.body["head"], call.body["base"]
        if base not in world.branches:
            raise _invalid({"resource": "PullRequest", "field": "base", "code": "invalid"})
        if head not in world.branches:
            raise _invalid({"resource": "PullRequest", "field": "head", "code": "invalid"})
        if world.open_from(head):
            said = f"A pull request already exists for {OWNER}:{head}."
            raise _invalid({"resource": "PullRequest", "code": "custom", "message": said})
        if world.branches[head] == world.branches[base]:
            raise _invalid(
                {"resource": "PullRequest", "code": "custom", "message": f"No commits between {base} and {head}"}
            )
        if call.body.get("draft") and not world.drafts:
            said = "Draft pull requests are not supported in this repository."
            raise Refused(422, {"message": said, "documentation_url": _DOCS})
        pull = world.add(
            head, call.body["body"], title=call.body["title"], target=base, draft=bool(call.body.get("draft"))
        )
        return Answer(201, self.pull_shown(pull, self._description.example("POST", f"{_REPO}/pulls", 201)))

    def _change(self, call: Call) -> Answer:
        pull = self._pull(call)
        pull.body = call.body.get("body", pull.body)
        return Answer(200, self.pull_shown(pull, self._description.example("PATCH", _PULL, 200)))

    def _label(self, call: Call) -> Answer:
        pull = self.world.pull(int(call.names["issue_number"]))
        if pull is None:
            raise _missing()
        pull.labels += [name for name in call.body["labels"] if name not in pull.labels]
        example = self._description.example("POST", f"{_REPO}/issues/{{issue_number}}/labels", 200)[0]
        return Answer(200, [{**example, "name": name} for name in pull.labels])

    def _ask(self, call: Call) -> Answer:
        pull = self._pull(call)
        wanted = [*call.body.get("reviewers", []), *(f"team/{one}" for one in call.body.get("team_reviewers", []))]
        if any(name not in self.world.people and not name.startswith("team/") for name in wanted):
            said = "Reviews may only be requested from collaborators."
            raise Refused(422, {"message": said, "documentation_url": _DOCS})
        pull.reviewers += [name for name in wanted if name not in pull.reviewers]
        return Answer(
            201, self.pull_shown(pull, self._description.example("POST", f"{_PULL}/requested_reviewers", 201))
        )

    def _branch(self, call: Call) -> Answer:
        name = call.names["branch"]
        if name in self.world.renamed:
            there = f"{self.url}{self.below}/repositories/1/branches/{self.world.renamed[name]}"
            raise Refused(
                301, {"message": "Moved Permanently", "url": there, "documentation_url": _DOCS}, {"Location": there}
            )
        if name not in self.world.branches:
            raise Refused(404, {"message": "Branch not found", "documentation_url": _DOCS})
        example = self._description.example("GET", f"{_REPO}/branches/{{branch}}", 200)
        return Answer(200, {**example, "name": name})

    def pull_shown(self, pull: Pull, example: Any) -> Any:
        repository = {**example["base"]["repo"], "full_name": f"{OWNER}/{NAME}"}
        copied = {**repository, "full_name": f"stranger/{NAME}"}
        return {
            **example,
            "number": pull.number,
            "html_url": f"{self.url}/{OWNER}/{NAME}/pull/{pull.number}",
            "state": "open" if pull.state == "open" else "closed",
            "merged_at": "2026-01-02T03:04:05Z" if pull.state == "merged" else None,
            "title": pull.title,
            "body": pull.body,
            "draft": pull.draft,
            "requested_teams": [],
            "head": {
                **example["head"],
                "ref": pull.branch,
                "sha": self.world.head_of(pull),
                "repo": repository if pull.ours else copied,
            },
            "base": {**example["base"], "ref": pull.target, "repo": repository},
        }

    # ── reviews ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _files(self, call: Call) -> Answer:
        self._pull(call)
        example = self._description.example("GET", f"{_PULL}/files", 200)[0]
        files = [{**example, "filename": path, "patch": hunk} for path, hunk in self.world.patches.items()]
        return Answer(200, page_of(files, call, "per_page"))

    def _reviews(self, call: Call) -> Answer:
        shown = [self._review(self._pull(call), one) for one in self._pull(call).reviews]
        return Answer(200, page_of(shown, call, "per_page"))

    def _write_review(self, call: Call) -> Answer:
        pull = self._pull(call)
        if any(not one.done for one in pull.reviews):
            raise _simply("User can only have one pending review per pull request")
        comments = [Comment(one["path"], one["line"], one["body"]) for one in call.body.get("comments", [])]
        if any(not self._is_shown(one) for one in comments):
            raise _simply("Line could not be resolved")
        posted = Posted(self.world.next_id(), call.body.get("body", ""), comments, "event" in call.body)
        pull.reviews.append(posted)
        return Answer(200, self._review(pull, posted))

    def _submit(self, call: Call) -> Answer:
        pull = self._pull(call)
        posted = next((one for one in pull.reviews if str(one.id) == call.names["review_id"]), None)
        if posted is None:
            raise _missing()
        if posted.done:
            raise _simply("Can not submit a review that was submitted")
        posted.done, posted.body = True, call.body.get("body", posted.body)
        return Answer(200, self._review(pull, posted))

    def leave_unfinished(self, pull: Pull) -> None:
        pull.reviews.append(Posted(self.world.next_id(), "of somebody else"))

    def _is_shown(self, comment: Comment) -> bool:
        return comment.path in self.world.patches and 1 <= comment.line <= 5

    def _review(self, pull: Pull, posted: Posted) -> Any:
        example = self._description.example("GET", f"{_PULL}/reviews", 200)[0]
        return {
            **review_shown(example, posted),
            "id": posted.id,
            "body": posted.body,
            "state": "COMMENTED" if posted.done else "PENDING",
            "html_url": f"{self.url}/{OWNER}/{NAME}/pull/{pull.number}#pullrequestreview-{posted.id}",
        }

    def _pull(self, call: Call) -> Pull:
        pull = self.world.pull(int(call.names["pull_number"]))
        if pull is None:
            raise _missing()
        return pull

    # ── the app ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _installation(self, call: Call) -> Answer:
        return Answer(200, self._description.example("GET", f"{_REPO}/installation", 200))

    def _token(self, call: Call) -> Answer:
        self.given += 1
        self.token = f"{SECRET}-{self.given}"
        ends = datetime.now(UTC) + self.lifetime  # noqa: TID251 - a server has a clock of its own
        path = "/app/installations/{installation_id}/access_tokens"
        example = self._description.example("POST", path, 201)
        return Answer(201, {**example, "token": self.token, "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%SZ")})

    def _is_signed(self, statement: str) -> bool:
        if self.app_key is None:
            return False
        said, _, signature = statement.rpartition(".")
        self.app_key.verify(_decoded(signature), said.encode(), PKCS1v15(), SHA256())
        claims = json.loads(_decoded(said.partition(".")[2]))
        return bool(claims["iss"] == "4711" and 0 < claims["exp"] - claims["iat"] <= 600)


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _invalid(error: dict[str, str]) -> Refused:
    return Refused(422, {"message": "Validation Failed", "errors": [error], "documentation_url": _DOCS})


def _simply(said: str) -> Refused:
    return Refused(422, {"message": "Unprocessable Entity", "errors": [said], "documentation_url": _DOCS})


def _moved(there: str) -> Refused:
    told = {"message": "Moved Permanently", "url": there, "documentation_url": _DOCS}
    return Refused(301, told, {"Location": there})


def _missing() -> Refused:
    return Refused(404, {"message": "Not Found", "documentation_url": _DOCS, "status": "404"})
