"""What the agent's tools for files will make of one: known before the call, where the tool's input tells it."""

from collections.abc import Iterable

from pydantic import JsonValue

from agentvine.worker.agent.base import ToolCall


def writes_whole(call: ToolCall) -> bool:
    """Whether the file is afterwards what the call says, whatever it was before."""
    return call.name == "Write"


def content_after(call: ToolCall, before: bytes | None) -> bytes | None:
    """What the file that `call` names will hold, if it holds `before` now (None: there is no such file).

    None where that cannot be told: of other tools, and where the tool would refuse the call or see to line ends itself.
    """
    try:
        if writes_whole(call):
            content = call.input.get("content")
            return content.encode() if isinstance(content, str) else None
        if before is None or b"\r" in before:
            return None
        text = before.decode()
        for old, new, everywhere in _replacements(call):
            if not old or old == new or (text.count(old) != 1 and not (everywhere and old in text)):
                return None
            text = text.replace(old, new)
        return text.encode() if call.name in {"Edit", "MultiEdit"} else None
    except (UnicodeError, _Unclear):
        return None


class _Unclear(Exception):
    """The input is not one of the tool's."""


def _replacements(call: ToolCall) -> Iterable[tuple[str, str, bool]]:
    given: JsonValue = [dict(call.input)] if call.name == "Edit" else call.input.get("edits")
    if not isinstance(given, list) or not given:
        raise _Unclear
    for one in given:
        old, new = (one.get("old_string"), one.get("new_string")) if isinstance(one, dict) else (None, None)
        if not isinstance(one, dict) or not isinstance(old, str) or not isinstance(new, str):
            raise _Unclear
        yield old, new, one.get("replace_all") is True
