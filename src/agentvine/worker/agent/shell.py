"""Reads a shell command far enough to see which programs it would start.

It knows quoting, substitution, here-documents, lists and pipelines (POSIX Shell Command Language, sections 2.2 to 2.9,
and what bash adds to them). It does not evaluate: a word made from a variable, a substitution or a pattern is
*dynamic*, and whoever judges it must think of the worst.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

_DEEPEST = 20
_NEW_COMMAND = frozenset(";&|\n()")
_BLANK = frozenset(" \t\r")
_PATTERN = frozenset("*?[")


class Unreadable(Exception):
    """No shell would take it, or it is nested too deep; the message says which."""


class Word(NamedTuple):
    """One word of a command, without its quotes."""

    text: str
    dynamic: bool = False
    """True if the shell would put something else in its place."""


@dataclass(slots=True)
class Command:
    """A simple command: its words, and the files that it is redirected to with `>` in any form."""

    words: list[Word] = field(default_factory=list)
    writes_to: list[Word] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    """The here-documents that are its input."""


def commands(text: str) -> list[Command]:
    """All simple commands in `text`, those within substitutions included. Raises Unreadable."""
    reader = _Reader(text)
    reader.read()
    return [command for command in reader.found if command.words or command.writes_to]


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text.replace("\\\n", "")
        self._at = 0
        self._deep = 0
        self.found: list[Command] = []
        self._documents: list[tuple[Command, str, bool]] = []

    def read(self, close: str | None = None) -> None:
        """Read commands up to the end, or up to `close`, which is passed over."""
        self._deep += 1
        if self._deep > _DEEPEST:
            raise Unreadable("it is nested too deep")
        command = self._begin()
        while (char := self._peek()) is not None:
            if char == close:
                self._at += 1
                self._deep -= 1
                return
            if char in _BLANK:
                self._at += 1
            elif char == "#":
                self._skip_line()
            elif char in "<>" or self._text.startswith("&>", self._at):
                self._redirection(command)
            elif char in _NEW_COMMAND:
                self._at += 1
                if char == "\n":
                    self._take_documents()
                command = self._begin()
            else:
                command.words.append(self._word(close))
        if close is not None:
            raise Unreadable(f"a {close!r} is missing")
        self._deep -= 1

    def _begin(self) -> Command:
        command = Command()
        self.found.append(command)
        return command

    def _peek(self) -> str | None:
        return self._text[self._at] if self._at < len(self._text) else None

    def _next(self) -> str:
        char = self._peek()
        if char is None:
            raise Unreadable("a quote or bracket is not closed")
        self._at += 1
        return char

    def _skip_line(self) -> None:
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end

    def _word(self, close: str | None = None) -> Word:
        parts: list[str] = []
        dynamic = False
        while (char := self._peek()) is not None:
            if char in _BLANK or char in _NEW_COMMAND or char in "<>" or char == close:
                break
            self._at += 1
            if char == "'":
                parts.append(self._until("'"))
            elif char == '"':
                dynamic |= self._double_quoted(parts)
            elif char == "\\":
                parts.append(self._next())
            elif char in "$`":
                dynamic |= self._expansion(char, parts)
            else:
                dynamic |= char in _PATTERN or (char == "{" and self._braces())
                parts.append(char)
        return Word("".join(parts), dynamic)

    def _until(self, end: str) -> str:
        start = self._at
        while self._next() != end:
            pass
        return self._text[start : self._at - 1]

    def _braces(self) -> bool:
        """True if what follows an opening brace makes several words of one (`{a,b}`, `{1..3}`)."""
        end = self._text.find("}", self._at)
        inside = self._text[self._at : end] if end >= 0 else ""
        return "," in inside or ".." in inside

    def _double_quoted(self, parts: list[str]) -> bool:
        dynamic = False
        while (char := self._next()) != '"':
            if char == "\\":
                following = self._next()
                parts.append(following if following in '$`"\\' else char + following)
            elif char in "$`":
                dynamic |= self._expansion(char, parts, quoted=True)
            else:
                parts.append(char)
        return dynamic

    def _expansion(self, char: str, parts: list[str], *, quoted: bool = False) -> bool:
        """Read what follows `$` or a backquote; commands inside it are found. False for a lone dollar sign."""
        following = self._peek() or " "
        if char == "`":
            self._inner(self._backquoted())
        elif following == "(":
            self._at += 1
            self.read(")")
        elif following == "{":
            self._at += 1
            self._parameter()
        elif following == "'" and not quoted:
            self._at += 1
            parts.append(self._until("'"))
        elif not (following.isalnum() or following in '_@*#?$!-"'):
            parts.append(char)
            return False
        return not (following == '"' and not quoted)

    def _parameter(self) -> None:
        """The rest of `${…}`, which may hold substitutions of its own."""
        while (char := self._next()) != "}":
            if char == "'":
                self._until("'")
            elif char == '"':
                self._double_quoted([])
            elif char == "\\":
                self._next()
            elif char in "$`":
                self._expansion(char, [])

    def _backquoted(self) -> str:
        parts: list[str] = []
        while (char := self._next()) != "`":
            parts.append(self._next() if char == "\\" else char)
        return "".join(parts)

    def _inner(self, text: str) -> None:
        inner = _Reader(text)
        inner._deep = self._deep
        inner.read()
        self.found += inner.found

    def _redirection(self, command: Command) -> None:
        start = self._at
        while (char := self._peek()) is not None and char in "<>&|":
            self._at += 1
        operator = self._text[start : self._at]
        if (self._peek() or "") == "(" and operator in {"<", ">"}:
            return  # a process substitution: the bracket begins a command
        while (char := self._peek()) is not None and (char in _BLANK or (char == "-" and operator == "<<")):
            self._at += 1
        literal = (self._peek() or "") in "'\"\\"
        target = self._word()
        if operator == "<<":
            self._documents.append((command, target.text, literal))
        elif operator == "<<<":
            command.documents.append(target.text)
        elif ">" in operator and not (operator.endswith("&") and (target.text.isdigit() or target.text == "-")):
            command.writes_to.append(target)

    def _take_documents(self) -> None:
        """At the end of a line: the here-documents that it announced. One without an end is read as commands."""
        for command, end, literal in self._documents:
            found = re.compile(rf"^\t*{re.escape(end)}$", re.MULTILINE).search(self._text, self._at)
            if found is None:
                continue
            body = self._text[self._at : found.start()]
            self._at = found.end()
            command.documents.append(body)
            if not literal:
                self._substitutions(body)
        self._documents.clear()

    def _substitutions(self, text: str) -> None:
        """The commands that the shell runs while it fills in a here-document."""
        inner = _Reader(text)
        inner._deep = self._deep
        while (char := inner._peek()) is not None:
            inner._at += 1
            if char == "\\":
                inner._at += 1
            elif char in "$`":
                inner._expansion(char, [], quoted=True)
        self.found += inner.found
