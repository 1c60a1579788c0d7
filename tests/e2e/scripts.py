"""Short scripts for whole runs."""

from agentvine.demo.script import Scenario, Script, ToolCall, Turn


def edits_readme(name: str, title: str, *, first: Turn | None = None, marker: str = "one") -> Scenario:
    """A docs task that adds a page and commits it; `first` is played before."""
    page = f"{{workspace}}/docs/{marker}.md"
    turns = (
        Turn(
            text="I'll write the page.",
            tool_calls=(ToolCall(name="Write", input={"file_path": page, "content": f"# {marker}\n"}),),
        ),
        Turn(
            tool_calls=(
                ToolCall(
                    name="Bash",
                    input={"command": f"git add -A && git commit -qm 'docs: page {marker}'", "description": "Commit"},
                ),
            )
        ),
        Turn(text=f"Page {marker} is there."),
    )
    return Scenario(name=name, match=(title,), turns=((first,) if first else ()) + turns)


def script(*scenarios: Scenario) -> Script:
    return Script(scenarios=scenarios)


def stuck_once(seconds: float = 60.0) -> Turn:
    """Silence when it is asked for the first time; the second time it looks at the repository."""
    look = ToolCall(name="Bash", input={"command": "git log --oneline", "description": "Look"})
    return Turn(text="Let me see.", tool_calls=(look,), hang_seconds=seconds)


def runs_long(marker: str, seconds: int = 300) -> Turn:
    """A command of Claude's that daemonises a child, and then runs until it is ended."""
    sleep = f"python3 -c 'import time; time.sleep({seconds})' {marker}"
    run = {"command": f"setsid {sleep} & {sleep}", "description": "Wait", "timeout": 600000}
    return Turn(tool_calls=(ToolCall(name="Bash", input=run),))
