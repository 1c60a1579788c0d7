"""What a forge keeps, whatever it calls it: one repository with branches, pull requests and reviews."""

from dataclasses import dataclass, field

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


@dataclass
class Comment:
    path: str
    line: int
    body: str


@dataclass
class Posted:
    """A review; `done` once everybody sees it."""

    id: int
    body: str
    comments: list[Comment] = field(default_factory=list)
    done: bool = False
    commit: str = ""
    by: str = "agentvine-bot"


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
    _last: int = 100

    def next_id(self) -> int:
        self._last += 1
        return self._last

    def pull(self, number: int) -> Pull | None:
        return next((one for one in self.pulls if one.number == number), None)

    def open_from(self, branch: str) -> Pull | None:
        """The open pull request of a branch of this repository."""
        fitting = (one for one in self.pulls if one.branch == branch and one.state == "open" and one.ours)
        return next(fitting, None)

    def add(self, branch: str, body: str = "", **more: object) -> Pull:
        """A pull request, made by somebody."""
        pull = Pull(len(self.pulls) + 1, "a title", body, branch, "main", self.branches.get(branch, "f" * 40))
        for name, value in more.items():
            setattr(pull, name, value)
        self.pulls.append(pull)
        return pull

    def head_of(self, pull: Pull) -> str:
        """What the pull request's branch is at; the last that was known of it once it is over."""
        return self.branches.get(pull.branch, pull.head_sha) if pull.state == "open" else pull.head_sha
