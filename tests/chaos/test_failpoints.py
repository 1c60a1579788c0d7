"""Failpoints: what they can be told, that each is really somewhere, and that there are none unless asked for."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import agentvine
from agentvine.kit import failpoints
from agentvine.kit.process import run
from agentvine.server.settings import ServerSettings

SOURCE = Path(agentvine.__file__).parent


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("deliver.after_pish:kill9", "there is no such failpoint"),
        ("deliver.after_push", "say what happens there"),
        ("deliver.after_push:error", "it takes one of delay, kill9, stop"),
        ("deliver.after_push:delay=soon", "could not convert"),
        ("deliver.after_push:delay=9999", "is not between"),
        ("deliver.after_push:kill9:n=0", "is not between"),
        ("deliver.after_push:kill9:stop", "it takes one of"),
        ("lease.unchecked:kill9", "it takes one of plant"),
    ],
)
def test_what_cannot_be_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"'{text}'") + f".*{why}"):
        failpoints.arm(f"claim.after_reply:kill9,{text}")
    assert not failpoints.planted("claim.after_reply"), "a wrong variable arms nothing"


async def test_a_place_strikes_once_at_its_time() -> None:
    failpoints.arm("push.before_confirmation:error:n=3")
    struck = []
    for number in range(1, 6):
        try:
            await failpoints.reached("push.before_confirmation", lambda: OSError("so"))
        except OSError:
            struck.append(number)
    assert struck == [3]


async def test_a_reply_is_lost_after_the_commit_and_an_error_comes_before_it() -> None:
    done: list[str] = []

    async def write(work: object) -> str:
        assert callable(work)
        result: str = work("unit")
        done.append(result)
        return result

    failpoints.arm("complete.after_commit:reply_lost,fail.before_commit:error")
    with pytest.raises(failpoints.ReplyLost):
        await failpoints.committed("complete", write, lambda unit: "completed", OSError)
    with pytest.raises(OSError):
        await failpoints.committed("fail", write, lambda unit: "failed", OSError)
    assert done == ["completed"]


async def test_without_the_variable_nothing_happens_anywhere() -> None:
    for name in failpoints.POINTS:
        await failpoints.reached(name, OSError)
        failpoints.passed(name, OSError)
        assert not failpoints.planted(name)


def test_every_place_of_the_table_is_in_the_source_once() -> None:
    """`<operation>.before_commit` and `.after_commit` come from the operation's name where it is written."""
    parts = [SOURCE / "server", SOURCE / "store", SOURCE / "worker"]
    files = [file for part in parts for file in part.rglob("*.py")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    placed = re.findall(r'failpoints\.(?:reached|passed|planted)\(\s*"([a-z_.]+)"', text)
    desks = "\n".join((SOURCE / "server" / name).read_text() for name in ("worker_desk.py", "front_desk.py"))
    operations = re.findall(r'_write\([^"]*?,\s*"([a-z]+)"\s*\)', desks) + re.findall(
        r'committed\(\s*"([a-z]+)"', desks
    )
    single = [name for name in failpoints.POINTS if not name.endswith("_commit")]
    assert sorted(placed) == sorted(single)
    assert sorted(operations) == sorted(failpoints.OPERATIONS)


async def test_a_server_that_is_told_of_an_unknown_place_does_not_start(tmp_path: Path) -> None:
    import sys

    environment = {
        "AGENTVINE_SERVER_DATA_DIR": str(tmp_path),
        failpoints.VARIABLE: "no.such_place:kill9",
        ServerSettings.variable("port"): "0",
    }
    argv = [sys.executable, "-m", "agentvine", "server"]
    done = await run(argv, cwd=tmp_path, env=environment, timeout=240)
    assert done.exit_code == 78
    assert "'no.such_place:kill9': there is no such failpoint" in done.stderr
    assert not (tmp_path / "agentvine.db").exists()
