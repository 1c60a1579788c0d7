"""What a forge keeps, whatever it calls it: one repository with branches, pull requests, issues, talk and checks."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

SECRET = "a-token-that-nobody-may-see-0123456789"
"""The token of every forge that is played."""
OWNER, NAME = "acme", "shop"
CALC = """@@ -1,4 +1,5 @@
 import math
-def area(r):
-    return 3.14 * r * r
+def area(radius):
+    return math.pi * radius**2
+
 # the end"""
"""The hunk of `calc.py`: lines 1 to 5 are shown, 2 to 4 are new."""
NAMES = "@@ -0,0 +1,2 @@\n+one\n+two"
"""The hunk of a new file."""
BOT = "agentvine-bot"
"""The account of the token."""
BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
"""When the world began. Its clock goes by a second with whatever happens."""


@dataclass
class Comment:
    path: str
    line: int
    body: str
    id: int = 0


@dataclass
class Posted:
    """A review; `done` once everybody sees it."""

    id: int
    body: str
    comments: list[Comment] = field(default_factory=list)
    done: bool = False
    commit: str = ""
    by: str = BOT
    at: datetime = BEGAN


@dataclass
class Pull:
    """A pull request. `state`: open, closed or merged."""

    number: int
    title: str
    body: str
    branch: str
    target: str
    head_sha: str
    state: str = "open"
    draft: bool = False
    ours: bool = True
    """False: it comes from somebody's copy of the repository."""
    labels: list[str] = field(default_factory=list)
    reviewers: list[str] = field(default_factory=list)
    reviews: list[Posted] = field(default_factory=list)

    @property
    def posted(self) -> list[Posted]:
        """The reviews that everybody sees."""
        return [one for one in self.reviews if one.done]


@dataclass
class Issue:
    """`state`: open or closed."""

    number: int
    title: str
    body: str
    author: str
    at: datetime
    labels: list[str] = field(default_factory=list)
    state: str = "open"


@dataclass
class Talk:
    """A comment on an issue or a pull request; with a path, on a line of what is changed."""

    id: int
    number: int
    author: str
    body: str
    at: datetime
    path: str = ""
    line: int = 0
    first: int = 0
    """The first comment of its thread: itself, if it begins one."""
    changed: datetime = BEGAN


@dataclass
class Job:
    """A job of the forge's CI, all of one run. `state`: of its latest attempt."""

    id: int
    name: str
    sha: str
    state: Literal["running", "success", "failure"]
    step: str = ""
    log: str = ""
    attempt: int = 1
    former: list[int] = field(default_factory=list)
    """What it was called in earlier attempts, where each has a name of its own."""


@dataclass
class World:
    """One repository, acme/shop."""

    branches: dict[str, str] = field(default_factory=lambda: {"main": "0" * 40})
    renamed: dict[str, str] = field(default_factory=dict)
    """Former names of branches."""
    people: list[str] = field(default_factory=lambda: ["mira", "noor"])
    labels: list[str] = field(default_factory=lambda: ["agentvine", "automated"])
    """Those that the repository had from the beginning."""
    pulls: list[Pull] = field(default_factory=list)
    patches: dict[str, str] = field(default_factory=lambda: {"calc.py": CALC, "doc/ä b.txt": NAMES})
    drafts: bool = True
    """False: the plan has no draft pull requests."""
    issues: list[Issue] = field(default_factory=list)
    has_issues: bool = True
    talks: list[Talk] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    statuses: dict[str, str] = field(default_factory=dict)
    """Of the head commit, by name, from elsewhere than the forge's own CI: pending, success or failure."""
    conflicts: bool = False
    """Of every open pull request."""
    began: datetime = BEGAN
    """From when on its clock counts."""
    _last: int = 100
    _ticks: int = 0

    def next_id(self) -> int:
        self._last += 1
        return self._last

    def now(self) -> datetime:
        """A second after the last time that it was asked."""
        self._ticks += 1
        return self.began + timedelta(seconds=self._ticks)

    def next_number(self) -> int:
        return 1 + max([0, *(one.number for one in self.pulls), *(one.number for one in self.issues)])

    def issue(self, number: int) -> Issue | None:
        return next((one for one in self.issues if one.number == number), None)

    def write(self, title: str, body: str = "", author: str = "mira", labels: tuple[str, ...] = ()) -> Issue:
        """A new issue."""
        issue = Issue(self.next_number(), title, body, author, self.now(), [*labels])
        self.issues.append(issue)
        return issue

    def talk(self, number: int, author: str, body: str, path: str = "", line: int = 0, first: int = 0) -> Talk:
        """Something said on an issue or a pull request; `first` names the comment whose thread it is in."""
        at = self.now()
        talk = Talk(self.next_id(), number, author, body, at, path, line, first, at)
        talk.first = first or talk.id
        self.talks.append(talk)
        return talk

    def of_thread(self, number: int, first: int) -> Talk | None:
        """The comment that begins that thread of a pull request."""
        return next((one for one in self.talks if (one.number, one.id) == (number, first) and one.path), None)

    def said(self, number: int | None = None, *, on_lines: bool) -> list[Talk]:
        """What was said on one of them, or on all, oldest first."""
        return [one for one in self.talks if number in {None, one.number} and bool(one.path) == on_lines]

    def found(self, id: int) -> Talk | None:
        return next((one for one in self.talks if one.id == id), None)

    def changed(self, number: int, at: datetime) -> datetime:
        """When something last happened to what was made `at` then."""
        return max([at, *(one.changed for one in self.talks if one.number == number)])

    def job(self, id: int) -> Job | None:
        """The job that is or was called so."""
        return next((one for one in self.jobs if id == one.id or id in one.former), None)

    def fail(self, name: str, step: str, log: str) -> Job:
        """A job that failed for the newest pull request."""
        job = Job(self.next_id(), name, self.head_of(self.pulls[-1]), "failure", step, log)
        self.jobs.append(job)
        return job

    def pull(self, number: int) -> Pull | None:
        return next((one for one in self.pulls if one.number == number), None)

    def open_from(self, branch: str) -> Pull | None:
        """The open pull request of a branch of this repository."""
        fitting = (one for one in self.pulls if one.branch == branch and one.state == "open" and one.ours)
        return next(fitting, None)

    def add(self, branch: str, body: str = "", **more: object) -> Pull:
        """A pull request, made by somebody."""
        pull = Pull(self.next_number(), "a title", body, branch, "main", self.branches.get(branch, "f" * 40))
        for name, value in more.items():
            setattr(pull, name, value)
        self.pulls.append(pull)
        return pull

    def head_of(self, pull: Pull) -> str:
        """What the pull request's branch is at; the last that was known of it once it is over."""
        return self.branches.get(pull.branch, pull.head_sha) if pull.state == "open" else pull.head_sha
