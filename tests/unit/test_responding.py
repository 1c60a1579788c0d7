"""What may be said with an answer on the command line, and what is refused before anything is sent."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer

from agentvine.cli.responding import Extras
from agentvine.domain.errors import InvalidInput
from agentvine.domain.precedent import Remember
from agentvine.domain.request import ToolUse, WorkerRequest

IDS = {"id": "req", "task_id": "tsk", "work_order_id": "wo", "execution_id": "exe"}
CALL = ToolUse(tool="Bash", input={"command": "true"}, rule="x", digest="0" * 64)


def about(call: ToolUse | None) -> WorkerRequest:
    ids = {name: f"{prefix}_{'0' * 26}" for name, prefix in IDS.items()}
    at = datetime(2026, 1, 1, tzinfo=UTC)
    request = {"kind": "approval", "message": "?", "created_at": at, "expires_at": at, "call": call}
    return WorkerRequest.model_validate(ids | request)


def test_what_is_remembered() -> None:
    assert Extras().remembered() is None
    assert Extras(remember=True).remembered() == Remember()
    wide = Extras(remember=True, any_type=True, everywhere=True, lasts="12h").remembered()
    assert wide == Remember(any_type=True, everywhere=True, for_seconds=12 * 3600)


@pytest.mark.parametrize(
    ("extras", "told"),
    [
        (Extras(everywhere=True), "--remember"),
        (Extras(any_type=True), "--remember"),
        (Extras(lasts="3d"), "--remember"),
        (Extras(remember=True, lasts="366d"), "between 1s and 365d"),
        (Extras(remember=True, lasts="0"), "between 1s and 365d"),
        (Extras(remember=True, lasts="long"), "is no time"),
    ],
)
def test_what_makes_no_sense_is_a_mistake_of_the_command_line(extras: Extras, told: str) -> None:
    with pytest.raises(typer.BadParameter, match=told):
        extras.remembered()


async def test_the_input_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "call.json"
    file.write_text('{"command": "make"}')
    assert await Extras(source=str(file)).changed_input(about(CALL)) == {"command": "make"}
    assert await Extras().changed_input(about(CALL)) is None
    with pytest.raises(InvalidInput, match="no call whose input"):
        await Extras(source=str(file)).changed_input(about(None))
    with pytest.raises(typer.BadParameter, match="not both"):
        await Extras(source=str(file), edit=True).changed_input(about(CALL))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"[1]", "is no JSON object"),
        (b"{", "is no JSON: "),
        (b"\xff", "is no JSON: "),
        (b"[" * 200_000, "is no JSON: "),
        (b" " * 1024 * 1024 + b"{}", "is larger than"),
        (None, "cannot be read"),
    ],
)
async def test_what_is_no_input_is_not_sent(tmp_path: Path, content: bytes | None, told: str) -> None:
    file = tmp_path / "call.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidInput, match=told) as refused:
        await Extras(source=str(file)).changed_input(about(CALL))
    assert "nothing was sent" in refused.value.message
