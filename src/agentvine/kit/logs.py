"""Structured logs: one line an event, to standard error, for a person at a terminal or a machine in a file."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

_SECRET_KEYS = re.compile(r"(api_?key|authorization|password|secret|token)$", re.IGNORECASE)
_NOT_SECRET = frozenset({"lease_token"})
_SECRET_TEXT = re.compile(
    r"\b(sk-ant-[\w-]{8,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|av_[a-z0-9]{6,}_\w{20,})"
)
REDACTED = "[redacted]"


def redact(text: str) -> str:
    """`text` without what looks like a model key, a forge token or a key of this system."""
    return _SECRET_TEXT.sub(REDACTED, text)


def _redacting(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if _SECRET_KEYS.search(key) and key not in _NOT_SECRET:
            event[key] = REDACTED
        elif isinstance(value, str):
            event[key] = redact(value)
    return event


def configure_logs(*, json: bool, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Set logging up for this process; call it once, in a `main`. `level` is a name of the logging module."""
    target = stream or sys.stderr
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if json
        # The default one shows the local variables of every frame, keys and bodies among them.
        else structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    traceback: list[structlog.typing.Processor] = [structlog.processors.format_exc_info] if json else []
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *traceback,
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
