"""Claude's transcript for people: what it said, which tools it used on what, what came back. Pure.

Entries are as Claude Code writes them: JSON objects whose `type` is user or assistant, with a message of the Messages
API inside, or something else. Their form is not ours and changes with its versions: whatever is not understood becomes
one dim line with its type, and nothing in an entry can make this raise.
"""

from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue
from rich.text import Text

from agentvine.cli.render import block, line
from agentvine.cli.text import clean, count, duration, money, shortened

Entry = Mapping[str, JsonValue]

ARGUMENT_LENGTH = 160
RESULT_LINES = 4
RESULT_WIDTH = 200
PROMPT_LINES = 6
_LARGEST = 1e15

_ESSENTIAL: Mapping[str, Sequence[str]] = {
    "Bash": ("command",),
    "BashOutput": ("bash_id",),
    "Edit": ("file_path",),
    "Glob": ("pattern", "path"),
    "Grep": ("pattern", "path", "glob"),
    "MultiEdit": ("file_path",),
    "NotebookEdit": ("notebook_path",),
    "Read": ("file_path",),
    "Task": ("description",),
    "WebFetch": ("url",),
    "WebSearch": ("query",),
    "Write": ("file_path",),
}
_TELLING = ("command", "file_path", "path", "pattern", "url", "query", "question", "message", "description", "prompt")
_SILENT = frozenset(
    {
        "api-request",
        "api-request-blob",
        "api-request-shape",
        "atis-latch",
        "attachment",
        "file-history-snapshot",
        "last-prompt",
        "mode",
        "progress",
        "queue-operation",
        "tools-used",
    }
)
"""Bookkeeping of Claude Code that tells a reader nothing."""


def lines(entry: Entry) -> Iterator[Text]:
    """What a person sees of `entry`; nothing for bookkeeping."""
    kind = _word(entry.get("type"))
    message = entry.get("message")
    if kind in _SILENT:
        return
    if kind == "assistant" and isinstance(message, dict):
        yield from _said(message.get("content"))
    elif kind == "user" and isinstance(message, dict):
        yield from _told(message.get("content"))
    elif kind == "summary":
        yield line(("\u00b7 summary: ", "dim"), (shortened(_word(entry.get("summary")), RESULT_WIDTH), "dim"))
    elif kind == "system":
        words = _word(entry.get("content")) or _word(entry.get("subtype"))
        yield line(("\u00b7 ", "dim"), (shortened(words, RESULT_WIDTH), "dim"))
    elif kind == "cost-state":
        yield line(("\u00b7 cost of the session so far: ", "dim"), (_dollars(entry.get("totalCostUSD")), "dim"))
    elif kind == "result":
        yield _result(entry)
    else:
        yield line((f"\u00b7 {shortened(kind, 60) or 'an entry without a type'}", "dim"))


def _said(content: JsonValue) -> Iterator[Text]:
    for piece in _pieces(content):
        match piece.get("type"):
            case "text":
                yield from _speech(_word(piece.get("text")))
            case "thinking" | "redacted_thinking":
                thought = shortened(_word(piece.get("thinking")), RESULT_WIDTH)
                if thought:
                    yield line(("\u2026 ", "dim"), (thought, "dim italic"))
            case "tool_use" | "server_tool_use" | "mcp_tool_use":
                yield tool_call(_word(piece.get("name")), piece.get("input"))
            case other:
                yield line((f"\u00b7 {shortened(_word(other), 60)}", "dim"))


def _speech(text: str) -> Iterator[Text]:
    if text.strip():
        yield block(text.strip("\n"))


def tool_call(name: str, arguments: JsonValue) -> Text:
    """A tool call on one line, with the argument that says most."""
    return line(("\u25cf ", "cyan"), (shortened(name, 80) or "a tool", "bold cyan"), "  ", _essential(name, arguments))


def _essential(name: str, arguments: JsonValue) -> str:
    if not isinstance(arguments, dict):
        return ""
    if isinstance(todos := arguments.get("todos"), list):
        return f"{len(todos)} items"
    wanted = _ESSENTIAL.get(name)
    keys = wanted or [key for key in _TELLING if key in arguments][:1]
    found = [value for key in keys if isinstance(value := arguments.get(key), str) and value.strip()]
    if not found:
        found = [value for value in arguments.values() if isinstance(value, str) and value.strip()][:1]
    return shortened("  ".join(found), ARGUMENT_LENGTH)


def _told(content: JsonValue) -> Iterator[Text]:
    for piece in _pieces(content):
        match piece.get("type"):
            case "tool_result":
                yield _came_back(piece)
            case "text":
                yield from _prompt(_word(piece.get("text")))
            case other:
                yield line((f"\u00b7 {shortened(_word(other), 60)}", "dim"))


def _prompt(text: str) -> Iterator[Text]:
    if not text.strip():
        return
    rows = text.strip().split("\n")
    kept = "\n".join(f"> {row[:RESULT_WIDTH]}" for row in rows[:PROMPT_LINES])
    yield block(kept, "green")
    if len(rows) > PROMPT_LINES:
        yield line((f"> \u2026 {len(rows) - PROMPT_LINES} more lines", "green dim"))


def _came_back(piece: Entry) -> Text:
    failed = piece.get("is_error") is True
    rows = [row.rstrip() for row in _flat(piece.get("content")).strip("\n").split("\n")]
    shown = [row if len(row) <= RESULT_WIDTH else row[: RESULT_WIDTH - 1] + "\u2026" for row in rows[:RESULT_LINES]]
    if len(rows) > RESULT_LINES:
        shown.append(f"\u2026 {len(rows) - RESULT_LINES} more lines")
    head = ("\u2717 " if failed else "\u23bf ") + (shown[0] or "(nothing)")
    body = "\n".join([f"  {head}", *(f"    {row}" for row in shown[1:])])
    return Text(clean(body), style="red" if failed else "dim")


def _flat(content: JsonValue) -> str:
    if isinstance(content, str):
        return content
    words = [_word(piece.get("text")) or f"[{_word(piece.get('type')) or 'something'}]" for piece in _pieces(content)]
    return "\n".join(words)


def _result(entry: Entry) -> Text:
    """The closing entry of a run, where a stream has one."""
    words = [_word(entry.get("subtype")) or "result"]
    if (turns := _number(entry.get("num_turns"))) is not None:
        words.append(f"{turns:g} turns")
    if (took := _number(entry.get("duration_ms"))) is not None:
        words.append(duration(took / 1000))
    if "total_cost_usd" in entry:
        words.append(_dollars(entry["total_cost_usd"]))
    style = "red" if entry.get("is_error") is True else "green"
    return line(("\u25a0 " + " \u00b7 ".join(words), style))


def _dollars(value: JsonValue) -> str:
    usd = _number(value)
    return "unknown" if usd is None else money(usd)


def _number(value: JsonValue) -> float | None:
    """A number that can be calculated with; None for anything else, such as 1e999, which JSON can hold."""
    return float(value) if isinstance(value, (int, float)) and abs(value) < _LARGEST else None


def tokens(incoming: int, outgoing: int) -> str:
    """Tokens in and out, in words."""
    return f"{count(incoming)} in, {count(outgoing)} out"


def _pieces(content: JsonValue) -> Iterator[Entry]:
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    elif isinstance(content, list):
        for piece in content:
            yield piece if isinstance(piece, dict) else {"type": "text", "text": _word(piece)}


def _word(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""
