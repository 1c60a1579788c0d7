"""Logs hold no secret, whenever the logger was made."""

import base64
import io
import json
import sys

import pytest
import structlog

from agentvine.kit.logs import REDACTED, configure_logs, hide, logger, redact
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


def test_secrets_are_taken_out_of_whatever_is_logged() -> None:
    hide("s3cret-of-this-process")
    line = _logged(
        inner={"password": "x", "list": [f"a {KEY}", ("b", KEY)], "deep": {"text": "s3cret-of-this-process"}},
        thing=RuntimeError(f"with {KEY}"),
        encoded=base64.b64encode(b"user:s3cret-of-this-process").decode(),
        n=1,
    )
    assert line["inner"] == {
        "password": REDACTED,
        "list": [f"a {REDACTED}", ["b", REDACTED]],
        "deep": {"text": REDACTED},
    }
    assert line["thing"] == f"RuntimeError('with {REDACTED}')"
    assert line["n"] == 1
    assert "s3cret" not in str(line)
    assert "czNjcmV0" not in str(line)


@pytest.mark.parametrize("as_json", [True, False])
def test_tracebacks_are_redacted_at_a_terminal_too(as_json: bool) -> None:
    stream = io.StringIO()
    try:
        configure_logs(json=as_json, stream=stream)
        try:
            raise RuntimeError(f"the key is {KEY}")
        except RuntimeError:
            MADE_BEFORE.exception("broke")
    finally:
        structlog.reset_defaults()
    assert "Traceback" in stream.getvalue()
    assert f"the key is {REDACTED}" in stream.getvalue()
    assert KEY not in stream.getvalue()


def test_redacting_leaves_other_words_alone() -> None:
    assert redact("sk-ant is no key, tokens are not either") == "sk-ant is no key, tokens are not either"


async def test_modules_that_were_imported_first_redact_as_well() -> None:
    done = await run([sys.executable, "-c", EARLY_IMPORT], cwd=None, env={}, timeout=240)
    assert done.exit_code == 0, done.stderr
    line = json.loads(done.stderr)
    assert line["api_key"] == REDACTED
    assert KEY not in done.stdout + done.stderr
