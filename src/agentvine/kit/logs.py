"""Structured logs: one line an event, to standard error, for a person at a terminal or a machine in a file."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from agentvine.kit.redaction import REDACTED, Redactor

__all__ = ["HIDDEN", "REDACTED", "configure_logs", "hide", "logger", "redact"]

_SECRET_KEYS = re.compile(r"(api_?key|authorization|password|secret|token)$", re.IGNORECASE)
_NOT_SECRET = frozenset({"lease_token"})
HIDDEN = Redactor()
"""What this process hides: of the process, as the configuration of its logs is."""


def hide(*secrets: str | None) -> None:
    """Take these out of whatever this process logs from now on. Call it where secrets are read, in a `main`."""
    HIDDEN.know(*secrets)


def redact(text: str) -> str:
    """`text` without the secrets that this process hides, and without what looks like a key, a token or a password."""
    return HIDDEN.text(text)


def _redacting(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        event[key] = _field(key, value)
    return event


def _field(name: object, value: Any) -> Any:
    secret = isinstance(name, str) and name not in _NOT_SECRET and _SECRET_KEYS.search(name)
    return REDACTED if secret else _clean(value)


def _clean(value: Any) -> Any:
    """`value` without secrets, whatever it is made of; what is no JSON becomes the text that the log would show."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {_clean(name): _field(name, one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float) else redact(repr(value))


def configure_logs(*, json: bool, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Set logging up for this process; call it once, in a `main`. `level` is a name of the logging module."""
    target = stream or sys.stderr
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if json
        # The default one shows the local variables of every frame, keys and bodies among them.
        else structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,  # tracebacks become text, which is redacted like any other
            _redacting,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,
    )


def logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger that names its part of the system in every line.

    It looks at the configuration when it is first used, so a module may make one before `configure_logs` was called.
    """
    lazy: structlog.typing.FilteringBoundLogger = structlog.get_logger(part=name)
    return lazy
