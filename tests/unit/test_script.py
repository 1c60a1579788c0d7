"""A script of the scripted model, as a person writes it into a file."""

import re
from pathlib import Path

import pytest

from agentvine.demo.script import ErrorReply, Scenario, Script, ToolCall, Turn, Usage
from agentvine.domain.errors import InvalidInput

BASH = ToolCall(name="Bash", input={"command": "make test", "description": "Run the tests"})


def test_a_script_is_read_from_json_and_from_toml(tmp_path: Path) -> None:
    script = Script(
        scenarios=(
            Scenario(
                name="bugfix",
                match=("re:loses? cents",),
                turns=(
                    Turn(text="Let me see.", tool_calls=(BASH,), expect=("cents",)),
                    Turn(error=ErrorReply(status=529, times=3), usage=Usage(input_tokens=4)),
                ),
                repeat_last=True,
            ),
        )
    )
    as_json = tmp_path / "script.json"
    as_json.write_text(script.model_dump_json())
    assert Script.load(as_json) == script
    as_toml = tmp_path / "script.toml"
    as_toml.write_text(
        """
        [[scenarios]]
        name = "bugfix"
        match = ["re:loses? cents"]
        repeat_last = true
        [[scenarios.turns]]
        text = "Let me see."
        expect = ["cents"]
        tool_calls = [{ name = "Bash", input = { command = "make test", description = "Run the tests" } }]
        [[scenarios.turns]]
        error = { status = 529, times = 3 }
        usage = { input_tokens = 4 }
        """
    )
    assert Script.load(as_toml) == script


@pytest.mark.parametrize(
    ("content", "place", "advice"),
    [
        ('{"scenarios": []}', "/scenarios", "at least 1"),
        ('{"scenarios": [{"name": "a", "turns": [{}]}]}', "/scenarios/0/turns/0", "says nothing"),
        ('{"scenarios": [{"name": "a", "turns": [{"txt": "x"}]}]}', "/scenarios/0/turns/0/txt", "not permitted"),
        ('{"scenarios": [{"name": "a", "match": ["re:("], "turns": [{"text": "x"}]}]}', "/match/0", "expression"),
        ('{"scenarios": [{"name": "a", "turns": [{"error": {"status": 418}}]}]}', "/error/status", "429"),
        ("{", "the file", "JSON"),
    ],
)
def test_a_mistake_in_a_script_is_told_with_its_place(tmp_path: Path, content: str, place: str, advice: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=re.escape(str(path))) as told:
        Script.load(path)
    assert place in told.value.message
    assert advice in told.value.message


def test_a_file_that_is_no_script_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        Script.load(tmp_path / "absent.json")
    (tmp_path / "wrong.toml").write_text("= 1")
    with pytest.raises(InvalidInput, match="no TOML"):
        Script.load(tmp_path / "wrong.toml")


def test_each_mistake_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    path.write_text('{"scenarios": [{"name": "a", "turns": [{"txt": "x"}]}, {"name": "", "turns": [{"text": "x"}]}]}')
    with pytest.raises(InvalidInput) as told:
        Script.load(path)
    places = [place["pointer"] for place in told.value.facts["errors"]]  # type: ignore[attr-defined]
    assert places == ["/scenarios/0/turns/0/txt", "/scenarios/1/name"]
