"""What commands print: tables and lines for people, JSON for programs. Needs Rich; commands import it when they run."""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from typing import IO, Literal

from pydantic import BaseModel, JsonValue
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from agentvine.cli.text import clean, clean_line

STATUS_STYLES = {
    "blocked": "dim",
    "pending": "cyan",
    "running": "blue",
    "waiting": "yellow",
    "completed": "green",
    "failed": "red",
    "cancelled": "dim",
    "released": "dim",
    "parked": "yellow",
    "lost": "red",
    "initializing": "cyan",
    "idle": "green",
    "busy": "blue",
    "draining": "yellow",
    "error": "red",
    "offline": "dim",
    "open": "yellow",
    "answered": "green",
    "approved": "green",
    "denied": "red",
    "expired": "red",
    "withdrawn": "dim",
    "passed": "green",
    "not_applicable": "dim",
    "unknown": "yellow",
}
"""How a status looks, of whatever kind; one that is not here is plain."""

Part = str | tuple[str, str]
"""A piece of a line, with or without a style."""
Cell = str | Text

_PIPE_WIDTH = 100_000
"""Columns of an output that is no terminal: nothing is wrapped or cut where a program may read it."""
_NOT_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. A flexible one gives way first when the terminal is narrow: its cells are cut, or, if it
    wraps, go on beneath."""

    title: str
    justify: Literal["left", "right"] = "left"
    flexible: bool = False
    wraps: bool = False


def line(*parts: Part) -> Text:
    """One line from pieces; each is cleaned, and none is read as markup."""
    joined = Text()
    for part in parts:
        text, style = (part, "") if isinstance(part, str) else part
        joined.append(clean_line(text), style=style or None)
    return joined


def block(text: str, style: str = "", indent: int = 0) -> Text:
    """Cleaned text on as many lines as it has, each indented."""
    rows = clean(text).rstrip("\n").split("\n")
    return Text("\n".join(" " * indent + row if row else "" for row in rows), style=style)


def status(word: str) -> Text:
    """A status in its colour."""
    return Text(clean_line(word), style=STATUS_STYLES.get(word, ""))


def to_json(value: BaseModel | Sequence[BaseModel], *, indent: int | None = 2) -> str:
    """`value` as it travels on the wire, as one JSON document; a sequence becomes an array.

    What a terminal might obey is escaped, which JSON allows everywhere that such a character can stand.
    """
    plain: JsonValue
    if isinstance(value, BaseModel):
        plain = value.model_dump(mode="json")
    else:
        plain = [item.model_dump(mode="json") for item in value]
    return plain_json(plain, indent=indent)


def plain_json(value: JsonValue, *, indent: int | None = None) -> str:
    """As `to_json`, for what is JSON already."""
    document = json.dumps(value, ensure_ascii=False, indent=indent)
    return _NOT_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


class Screen:
    """The two outputs of a command: `out` for what was asked for, `err` for everything said beside it."""

    def __init__(self, out: Console, err: Console) -> None:
        self.out = out
        self.err = err

    def say(self, *parts: Part) -> None:
        """One line of what was asked for."""
        self.show(line(*parts))

    def show(self, what: RenderableType) -> None:
        """Something that Rich can draw."""
        if self.out.is_terminal:
            text = what if isinstance(what, Text) else Text()
            self.out.print(what, no_wrap=text.no_wrap, overflow=text.overflow)  # print() itself forgets them
            return
        with self.out.capture() as captured:
            self.out.print(what)
        for row in captured.get().splitlines():
            self.raw(row.rstrip())

    def raw(self, text: str) -> None:
        """A line exactly as it is: for data, never for words from strangers on their way to a person."""
        self.out.file.write(text + "\n")

    def note(self, *parts: Part) -> None:
        """One line beside it."""
        self.err.print(line(*parts))

    def json(self, value: BaseModel | Sequence[BaseModel]) -> None:
        """One JSON document."""
        self.raw(to_json(value))

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], title: str | None = None) -> None:
        """A table with a heading for each column; cells are cleaned. A title goes on a line above it."""
        if title is not None:
            self.say((title, "bold"))
        self.show(table(columns, rows))

    def flush(self) -> None:
        """Hand on what was printed so far, for whoever follows a pipe."""
        self.out.file.flush()


def table(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> Table:
    """A table without lines, as wide as it must be."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        fixed = not (column.flexible or column.wraps)
        drawn.add_column(column.title, justify=column.justify, no_wrap=fixed)
    for row in rows:
        drawn.add_row(*(_cell(cell, column) for cell, column in zip(row, columns, strict=True)))
    return drawn


def _cell(cell: Cell, column: Column) -> Text:
    if not column.wraps:
        return _one_line(cell)
    return cell.copy() if isinstance(cell, Text) else Text(clean_line(cell), overflow="fold")


def _one_line(cell: Cell) -> Text:
    return cut(cell.copy() if isinstance(cell, Text) else Text(clean_line(cell)))


def cut(text: Text) -> Text:
    """`text`, to be cut at the terminal's edge instead of going on beneath."""
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def screen() -> Screen:
    """The process's own outputs. Colours only on a terminal, and only without NO_COLOR (https://no-color.org)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # an output in another encoding shows '?' instead of ending us
    return Screen(console(sys.stdout), console(sys.stderr))


def console(stream: IO[str], *, width: int | None = None) -> Console:
    """A console that takes every text literally. `width` None: the terminal's; no limit where there is none."""
    drawn = Console(file=stream, markup=False, emoji=False, highlight=False, soft_wrap=False, width=width)
    if width is None and not drawn.is_terminal:
        drawn.width = _PIPE_WIDTH
    return drawn
