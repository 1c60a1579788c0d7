"""What the agent of one execution wanted to do and was not let: logged, and kept for the evidence."""

from agentvine.domain.evidence import RefusedCall
from agentvine.kit.logs import logger, redact
from agentvine.worker.agent.base import ToolCall

_MOST = 200
_LONGEST = 500
_SUBJECTS = ("command", "file_path", "notebook_path", "path", "url", "query", "pattern")

_log = logger("gate")


class Refusals:
    """Bounded: what is alike is counted, and beyond 200 kinds it is only logged."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str, str], RefusedCall] = {}

    def note(self, call: ToolCall, rule: str, reason: str) -> None:
        """Keep one refused call."""
        tool, subject = _clean(call.name, 100) or "?", subject_of(call)
        _log.warning("refused", tool=tool, subject=subject, rule=rule)
        key = (tool, subject, rule)
        known = self._calls.get(key)
        if known is not None:
            self._calls[key] = known.model_copy(update={"count": known.count + 1})
        elif len(self._calls) < _MOST:
            self._calls[key] = RefusedCall(tool=tool, subject=subject, rule=rule, reason=_clean(reason, 2000))

    @property
    def calls(self) -> tuple[RefusedCall, ...]:
        """In the order in which they came first."""
        return tuple(self._calls.values())


def subject_of(call: ToolCall) -> str:
    """What a call is about, in one line, without what looks like a secret."""
    given = next((value for name in _SUBJECTS if isinstance(value := call.input.get(name), str)), "")
    return _clean(given, _LONGEST)


def _clean(text: str, longest: int) -> str:
    printable = "".join(char if char.isprintable() else " " for char in redact(text))
    return printable.strip()[:longest].strip()
