"""Logs hold no secret, whenever the logger was made."""

import io
import json
import sys

import structlog

from agentvine.kit.logs import REDACTED, configure_logs, logger, redact
from agentvine.kit.process import run

MADE_BEFORE = logger("early")
KEY = "sk-ant-" + "x" * 24

EARLY_IMPORT = f"""
from agentvine.server import reaper
from agentvine.kit.logs import configure_logs
configure_logs(json=True)
reaper._log.info("told", api_key="{KEY}", text="the key is {KEY}")
"""


def _logged(**fields: object) -> dict[str, object]:
    stream = io.StringIO()
    try:
        configure_logs(json=True, stream=stream)
        MADE_BEFORE.info("told", **fields)
    finally:
        structlog.reset_defaults()
    line: dict[str, object] = json.loads(stream.getvalue())
    return line


def test_a_logger_that_is_older_than_the_configuration_follows_it() -> None:
    line = _logged(order="wo_1")
    assert (line["part"], line["order"], line["event"], line["level"]) == ("early", "wo_1", "told", "info")


def test_secrets_are_taken_out_by_name_and_by_look() -> None:
    line = _logged(api_key="anything", lease_token=7, text=f"the key is {KEY}")
    assert line["api_key"] == REDACTED
    assert line["lease_token"] == 7
    assert line["text"] == f"the key is {REDACTED}"


def test_redacting_leaves_other_words_alone() -> None:
    assert redact("sk-ant is no key, tokens are not either") == "sk-ant is no key, tokens are not either"


async def test_modules_that_were_imported_first_redact_as_well() -> None:
    done = await run([sys.executable, "-c", EARLY_IMPORT], cwd=None, env={}, timeout=60)
    assert done.exit_code == 0, done.stderr
    line = json.loads(done.stderr)
    assert line["api_key"] == REDACTED
    assert KEY not in done.stdout + done.stderr
