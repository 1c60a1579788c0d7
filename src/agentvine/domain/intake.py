"""How work comes in from a forge: what is a command, who may give one, what task becomes of it, what people are told.

All of it is pure. What it is made from was written by strangers: of that, only words reach a task. Type, branch, level
and everything else that decides what may happen come from a list of known words or from what an operator said.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from agentvine.domain.forge import ForgeComment, IssueSeen
from agentvine.domain.permission import PermissionLevel, lowest
from agentvine.domain.repository import BranchName, check_branch
from agentvine.domain.repository_settings import IntakeRules, RepositorySettings
from agentvine.domain.request import WorkerRequest
from agentvine.domain.task import NewTask, Origin
from agentvine.domain.worker_types import PROFILES, TaskType

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

COMMAND = "/agentvine"
LONGEST_TITLE = 200
LONGEST_TEXT = 40_000
"""Characters of an issue or a comment that become a part of a task."""
LONGEST_ANSWER = 20_000
LONGEST_READ = 16_000
"""Characters of a comment in which a command is looked for: reading Markdown can take the square of its length."""
CLOCK_SLACK = timedelta(minutes=5)
"""How far a forge's clock may be behind the server's, by which somebody is named, until what he writes is lost."""
RESERVED = frozenset({"answer", "approve", "cancel", "close", "deny", "help", "merge", "retry", "status", "stop"})
"""Words that, alone behind the command, ask for something else than a task. Nothing follows from them."""
_LINE = re.compile(rf"^ {{0,3}}{re.escape(COMMAND)}(?:[ \t]+(.*))?$")
_BEGINNING = re.compile(rf"^ {{0,3}}(?={re.escape(COMMAND)}(?:[ \t]|$))")
_MARK = "\ue000"
_MARKED = re.compile(rf"{_MARK}(\d+){_MARK}")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_RAW = "code|iframe|noembed|noframes|noscript|pre|script|style|template|textarea|title|xmp"
_MASKED = re.compile(rf"{_COMMENT.pattern}|<({_RAW})\b.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE)
_HIDING = re.compile(r"\b(?:hidden|style)\b", re.IGNORECASE)
_TYPES = {type_.value: type_ for type_ in TaskType}
_BRANCH: TypeAdapter[str] = TypeAdapter(BranchName)


@dataclass(frozen=True, slots=True)
class Command:
    """`/agentvine [type] words…`, as somebody wrote it."""

    type: TaskType | None
    words: str
    """Behind the type, on the line of the command."""
    text: str
    """Below that line."""
    reserved: bool = False
    """Nothing follows from it."""


def command_in(body: str) -> Command | None:
    """The first command in a comment, if there is one.

    It begins a line. What is quoted, code, or hidden from readers is none: who quotes a command does not give it.
    """
    lines = (text := _plain(body)).split("\n")
    masked = _MASKED.sub(lambda found: re.sub(r"[^\n]+", "", found[0]), text).split("\n")
    unquoted = _unquoted(lines)
    for number in _words(lines):
        found = _LINE.match(lines[number].rstrip())
        if found is not None and number in unquoted and masked[number] == lines[number]:
            return _command(found[1] or "", "\n".join(lines[number + 1 :]).strip())
    return None


@cache
def _markdown() -> "MarkdownIt":
    from markdown_it import MarkdownIt  # not before somebody has written something

    return MarkdownIt("commonmark")


def _words(lines: Sequence[str]) -> Iterator[int]:
    """Of the lines that begin with the command, those that CommonMark shows as words, not as code, HTML or a quotation;
    up to HTML that may hide what is below it."""
    marked = (
        _BEGINNING.sub(lambda found: f"{found[0]}{_MARK}{number}{_MARK}", line.replace(_MARK, "?"))  # noqa: B023
        for number, line in enumerate(lines)
    )
    text, quoted = "\n".join(marked), 0
    if _MARK not in text:
        return
    if len(text) > LONGEST_READ:  # at an empty line no code within words is cut in two
        text = text[:LONGEST_READ].rpartition("\n\n")[0]
    for token in _markdown().parse(text):
        quoted += {"blockquote_open": 1, "blockquote_close": -1}.get(token.type, 0)
        for part in token.children or (token,):
            if part.type.startswith("html_") and _HIDING.search(_COMMENT.sub("", part.content)):
                return
            found = _MARKED.match(part.content) if part.type == "text" and not quoted else None
            if found is not None:
                yield int(found[1])


def _unquoted(lines: Sequence[str]) -> frozenset[int]:
    """The numbers of those that are no quotation; a line right below one goes on with it."""
    found, quoted = set[int](), False
    for number, line in enumerate(lines):
        quoted = line.lstrip().startswith(">") or (quoted and bool(line.strip()))
        if not quoted:
            found.add(number)
    return frozenset(found)


def _command(rest: str, text: str) -> Command:
    first, _, others = rest.strip().partition(" ")
    type_ = _TYPES.get(first.lower())
    words = others.strip() if type_ is not None else rest.strip()
    return Command(type_, words, text, reserved=not text and words.lower() in RESERVED)


def is_allowed(author: str, users: Sequence[str]) -> bool:
    """Whether an operator has named this user. Forges tell users apart regardless of case, in ASCII."""
    return author.isascii() and author.lower() in {user.lower() for user in users}


def is_labelled(issue: IssueSeen, rules: IntakeRules) -> bool:
    """Whether this issue is to become a task by its label."""
    if rules.label is None or not issue.is_open or issue.is_pull:
        return False
    return rules.label.casefold() in {label.casefold() for label in issue.labels}


def is_on(rules: IntakeRules) -> bool:
    """Whether anything on the forge can become a task."""
    return rules.label is not None or bool(rules.users)


def heeded(comment: ForgeComment, rules: IntakeRules) -> bool:
    """Whether anything can follow from this comment. Ours say nothing, so that no loop can begin with one; and one
    that was changed may have been changed by somebody else."""
    return not comment.ours and not comment.edited and is_allowed(comment.author, rules.users)


# ── a task ───────────────────────────────────────────────────────────────────────────────────────────────────────


def level_of(type_: TaskType, settings: RepositorySettings) -> PermissionLevel:
    """The highest level that a task from the forge has: its type's, and no more than the repository's.

    Where an operator said nothing of that, a person looks at each result before it counts.
    """
    return lowest([PROFILES[type_].permission_level, settings.permission_level or PermissionLevel.SUPERVISED])


def task_of_issue(issue: IssueSeen, settings: RepositorySettings) -> NewTask:
    """What a labelled issue asks for."""
    type_ = settings.intake.type
    origin = Origin(kind="issue", number=issue.number, url=issue.url, author=issue.author)
    return _task(type_, _title(issue.title, issue), _clipped(issue.body, LONGEST_TEXT), settings, origin)


def start_of(issue: IssueSeen) -> str:
    """The branch at which a command that stands there starts: a pull request's own; empty: the default branch.

    Raises ValueError for one at which no work can start; the message says why, and what to do instead.
    """
    if not issue.is_pull or issue.head is None:
        return ""
    if not issue.is_open:
        raise ValueError("this pull request is closed: open an issue for what is still to be done")
    if not issue.head.own:
        raise ValueError(
            "this pull request comes from a fork, to which nothing is delivered: give the command on a pull request "
            "from a branch of this repository, or on an issue"
        )
    if not issue.head.branch:
        raise ValueError("the forge does not show where this pull request comes from: give the command on an issue")
    try:
        return _BRANCH.validate_python(check_branch(issue.head.branch))
    except ValueError:
        raise ValueError("its branch has a name with which AgentVine does not work: rename it") from None


def refusal_comment(why: str) -> str:
    """What is answered to a command that cannot be followed."""
    return f"Nothing follows from this command: {why}."


def task_of_command(
    command: Command, comment: ForgeComment, issue: IssueSeen, settings: RepositorySettings, branch: str = ""
) -> NewTask:
    """What a command asks for that stands in a comment on this issue or pull request, starting at `branch`."""
    type_ = command.type or settings.intake.type
    asked = "\n\n".join(part for part in (command.words, command.text) if part)
    what = "pull request" if issue.is_pull else "issue"
    about = f"It was asked for in a comment on the {what} “{_one_line(issue.title)}”, whose text is:\n\n"
    parts = [_clipped(asked, LONGEST_TEXT)] if asked else []
    parts.append(about + (_clipped(issue.body, LONGEST_TEXT).strip() or "(none)"))
    origin = Origin(kind="comment", number=issue.number, url=comment.url or issue.url, author=comment.author)
    return _task(type_, _title(command.words or issue.title, issue), "\n\n".join(parts), settings, origin, branch)


def _task(
    type_: TaskType, title: str, text: str, settings: RepositorySettings, origin: Origin, branch: str = ""
) -> NewTask:
    return NewTask(
        type=type_,
        title=title,
        description=text,
        repository=settings.repository,
        branch=branch,
        permission_level=level_of(type_, settings),
        origin=origin,
    )


def _title(text: str, issue: IssueSeen) -> str:
    return _one_line(text)[:LONGEST_TITLE].strip() or f"issue {issue.number}"


# ── an answer ────────────────────────────────────────────────────────────────────────────────────────────────────


def answer_in(comment: ForgeComment, request: WorkerRequest, rules: IntakeRules) -> str | None:
    """What a comment answers to a question that was shown before it; None if it is no answer.

    A number alone names an option.
    """
    text = _plain(comment.body).strip()
    if not text or not heeded(comment, rules) or command_in(text) is not None:
        return None
    if text.isascii() and text.isdecimal() and len(text) < 4 and 1 <= int(text) <= len(request.options):
        return request.options[int(text) - 1]
    return _clipped(text, LONGEST_ANSWER)


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _plain(text: str) -> str:
    """Text that can be stored and sent: whole characters, no NUL, one kind of line end."""
    clean = text.encode("utf-8", "replace").decode().replace("\0", "")
    return clean.replace("\r\n", "\n").replace("\r", "\n")


def _one_line(text: str) -> str:
    """Without control characters and what changes the direction of reading."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]", " ", _plain(text)).split())


def _clipped(text: str, most: int) -> str:
    text = _plain(text)
    return text if len(text) <= most else f"{text[:most]}\n[cut here: {len(text) - most} characters more]"
