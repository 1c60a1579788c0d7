"""A place where the real Claude Code runs against the scripted model, and a gate that decides over its tool calls."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import claude_agent_sdk
from claude_agent_sdk import (
    AssistantMessage,
    CanUseTool,
    ClaudeAgentOptions,
    HookMatcher,
    Message,
    PermissionResultAllow,
    PermissionResultDeny,
    ProcessError,
    ResultMessage,
    SystemMessage,
    ToolPermissionContext,
    ToolUseBlock,
    create_sdk_mcp_server,
    query,
    tool,
)
from claude_agent_sdk.types import SessionKey, SessionStoreEntry

from agentvine.demo.script import Scenario, Script, ToolCall, Turn
from agentvine.demo.scripted_model import RunningModel, serve

LONGEST = 240  # seconds that any one run may take on a busy machine; alone it takes one or two
TOOLS = ["Bash", "Read", "Write", "Edit"]
CLI = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"

Decision = dict[str, Any]
Decide = Callable[[str, dict[str, Any]], Decision]
ALLOW: Decision = {"permissionDecision": "allow"}
DEFER: Decision = {"permissionDecision": "defer"}
DENY: Decision = {"permissionDecision": "deny", "permissionDecisionReason": "The controller says no."}


def bash(command: str) -> ToolCall:
    return ToolCall(name="Bash", input={"command": command, "description": "Run it"})


def script(*turns: Turn) -> Script:
    return Script(scenarios=(Scenario(name="facts", turns=turns),))


WRITE = ToolCall(name="Write", input={"file_path": "{workspace}/a.txt", "content": "written\n"})
DONE = Turn(text="All done.")


class Gate:
    """Decides over every tool call, whichever of its two doors it comes through, and remembers it."""

    def __init__(self, decide: Decide = lambda _, __: ALLOW) -> None:
        self.calls: list[tuple[str, str, str]] = []
        """Door, tool, tool_use_id."""
        self._decide = decide

    async def hook(self, data: Any, tool_use_id: str | None, _: Any) -> Any:
        assert data["tool_use_id"] == tool_use_id
        self.calls.append(("hook", data["tool_name"], data["tool_use_id"]))
        decision = self._decide(data["tool_name"], data["tool_input"])
        stop = {"continue_": False, "stopReason": "parked"} if decision.get("stop") else {}
        specific = {key: value for key, value in decision.items() if key != "stop"}
        return {**stop, "hookSpecificOutput": {"hookEventName": "PreToolUse", **specific}}

    async def can_use_tool(
        self, name: str, given: dict[str, Any], context: ToolPermissionContext
    ) -> PermissionResultAllow | PermissionResultDeny:
        assert context.tool_use_id
        self.calls.append(("can_use_tool", name, context.tool_use_id))
        if self._decide(name, given)["permissionDecision"] == "allow":
            return PermissionResultAllow()
        return PermissionResultDeny(message=DENY["permissionDecisionReason"])


class Store:
    """A session store that forgets on which machine it is asked: keyed by session alone."""

    def __init__(self) -> None:
        self.entries: dict[str, list[SessionStoreEntry]] = {}

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        self.entries.setdefault(key["session_id"], []).extend(json.loads(json.dumps(entries)))

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        return self.entries.get(key["session_id"])


@dataclass
class Seen:
    """What one run said."""

    messages: list[Message] = field(default_factory=list)
    error: Exception | None = None

    @property
    def results(self) -> list[ResultMessage]:
        return [message for message in self.messages if isinstance(message, ResultMessage)]

    @property
    def result(self) -> ResultMessage:
        return self.results[-1]

    def system(self, subtype: str) -> list[dict[str, Any]]:
        return [one.data for one in self.messages if isinstance(one, SystemMessage) and one.subtype == subtype]

    def tool_uses(self) -> list[ToolUseBlock]:
        said = [one for one in self.messages if isinstance(one, AssistantMessage)]
        return [block for message in said for block in message.content if isinstance(block, ToolUseBlock)]


class Machine:
    """A place where Claude Code runs: its own home, an empty configuration, an environment built from nothing."""

    def __init__(self, root: Path, running: RunningModel) -> None:
        self.model = running.model
        self.workspace = root / "workspace"
        self.names = root / "names"
        self.environment = {
            "ANTHROPIC_BASE_URL": running.url,
            "ANTHROPIC_API_KEY": "sk-ant-dummy",
            "HOME": str(root / "home"),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "1",
        }
        for name in ("workspace", "home"):
            (root / name).mkdir()
        self._root = root
        self._moves = 0
        self.move()
        self._wrapper = root / "claude"
        self._wrapper.write_text(
            f"#!{sys.executable} -ISB\n"
            "import os, sys\n"
            f"open({str(self.names)!r}, 'w').write(' '.join(os.environ))\n"
            f"names = {[*self.environment, 'PWD']!r}\n"
            "names += [name for name in os.environ if name.startswith(('CLAUDE_CODE_', 'CLAUDE_AGENT_SDK_'))]\n"
            f"os.execve({str(CLI)!r}, ['claude', *sys.argv[1:]], {{n: os.environ[n] for n in names}})\n"
        )
        self._wrapper.chmod(0o700)

    def move(self) -> None:
        """To another machine: nothing of Claude's files comes along."""
        self._moves += 1
        for name, variable in (("config", "CLAUDE_CONFIG_DIR"), ("tmp", "TMPDIR")):
            folder = self._root / f"{name}-{self._moves}"
            folder.mkdir()
            self.environment[variable] = str(folder)

    def options(self, gate: Gate, **more: Any) -> ClaudeAgentOptions:
        standard: dict[str, Any] = {
            "cwd": self.workspace,
            "cli_path": self._wrapper,
            "env": self.environment,
            "tools": TOOLS,
            "setting_sources": [],
            "strict_mcp_config": True,
            "verbatim_prompts": True,
            "permission_mode": "default",
            "include_partial_messages": True,
            "can_use_tool": cast("CanUseTool", gate.can_use_tool),
            "hooks": {"PreToolUse": [HookMatcher(hooks=[gate.hook], timeout=600, on_failure="block")]},
        }
        return ClaudeAgentOptions(**{**standard, **more})

    async def run(
        self, prompt: str | None = "Do it.", gate: Gate | None = None, *, decide: Decide | None = None, **more: Any
    ) -> Seen:
        """Run Claude Code to its end. `prompt` None: say nothing, for a resume that goes on by itself."""
        gate = gate or (Gate(decide) if decide else Gate())
        seen = Seen()
        over = asyncio.Event()

        async def said() -> AsyncIterator[dict[str, Any]]:
            if prompt is not None:
                message = {"role": "user", "content": prompt}
                yield {"type": "user", "message": message, "parent_tool_use_id": None, "session_id": ""}
            await over.wait()

        try:
            async with asyncio.timeout(LONGEST):
                async for message in query(prompt=said(), options=self.options(gate, **more)):
                    seen.messages.append(message)
                    if isinstance(message, ResultMessage):
                        over.set()
        except ProcessError as error:
            seen.error = error
        return seen

    def heard(self) -> str:
        """The latest request to the model, as text."""
        return self.model.requests[-1].raw.decode()

    def files(self) -> set[str]:
        return {entry.name for entry in self.workspace.iterdir()}


@asynccontextmanager
async def machine(root: Path, *turns: Turn) -> AsyncIterator[Machine]:
    async with serve(script(*turns)) as running:
        root.mkdir(exist_ok=True)
        yield Machine(root, running)


def ask_controller(asked: list[str]) -> Any:
    @tool("ask_controller", "Ask the controller.", {"question": str})
    async def ask(given: dict[str, Any]) -> dict[str, Any]:
        asked.append(given["question"])
        return {"content": [{"type": "text", "text": "The controller says: blue."}]}

    return {"agentvine": create_sdk_mcp_server("agentvine", tools=[ask])}


ASK = ToolCall(name="mcp__agentvine__ask_controller", input={"question": "Which colour?"})
