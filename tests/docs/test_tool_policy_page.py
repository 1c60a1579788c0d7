"""The pages on tools and credentials show what is. To mend the tables: `python -m tests.docs.test_tool_policy_page`."""

import re

import pytest

from agentvine.domain.sensitive import RULES, Operation, Sensitive, Touched, judge
from agentvine.domain.tool_policy import TOOLS, FileKind, policy_of
from agentvine.domain.worker_types import PROFILES, TaskType
from agentvine.worker.sensitive_file import parse_sensitive
from tests.docs.pages import DOCS, filled, page, shown_commands, understood

NAME = "tool-policy.md"
KINDS = {FileKind.CODE: "code", FileKind.TEST: "tests", FileKind.DOCS: "documentation"}


def types() -> str:
    """Each type with its tools."""
    lines = ["| type | tools | writes |", "|---|---|---|"]
    for kind, profile in PROFILES.items():
        names = ", ".join(f"`{tool}`" for tool in profile.tools)
        lines.append(f"| {kind} | {names} | {written(policy_of(kind).writes)} |")
    return "\n".join(lines)


def tools() -> str:
    """Each tool with what it is good for."""
    lines = ["| tool | with it the agent may | files | programs |", "|---|---|---|---|"]
    for tool in TOOLS.values():
        programs = ", ".join(sorted(tool.programs)) + ("; nobody else" if tool.exclusive else "")
        lines.append(f"| `{tool.name}` | {tool.means} | {written(tool.writes)} | {programs} |")
    return "\n".join(lines)


def written(kinds: frozenset[FileKind]) -> str:
    return ", ".join(word for kind, word in KINDS.items() if kind in kinds)


def rules() -> str:
    """Each rule with what it means."""
    lines = ["| rule | because | files | commands |", "|---|---|---|---|"]
    for rule in RULES:
        paths, commands = (", ".join(f"`{one}`" for one in few(ones)) for ones in (rule.paths, rule.commands))
        lines.append(f"| `{rule.name}` | {rule.why} | {paths or '-'} | {commands or '-'} |")
    return "\n".join(lines)


def few(patterns: tuple[str, ...]) -> list[str]:
    return [*patterns[:8], *(["…"] if len(patterns) > 8 else [])]


def as_it_should_be() -> str:
    """The page with its tables filled anew."""
    text = page(NAME)
    for name, content in (("types", types()), ("tools", tools()), ("rules", rules())):
        text = filled(text, name, content)
    return text


def test_the_tables_show_what_is() -> None:
    assert page(NAME) == as_it_should_be()


def test_the_operator_s_file_on_the_page_does_what_it_says() -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```$", page(NAME), re.MULTILINE | re.DOTALL)
    sensitive = parse_sensitive(example.encode(), "example")
    shop = "https://github.com/acme/shop.git"

    def allowed(kind: TaskType, path: str, rules: Sensitive = sensitive) -> bool:
        return judge(Operation(kind, shop, (Touched(path, FileKind.CODE),)), rules).allowed

    assert allowed(TaskType.FEATURE, "pyproject.toml")
    assert not allowed(TaskType.FEATURE, "pyproject.toml", Sensitive())
    assert not allowed(TaskType.BUGFIX, "pyproject.toml")
    assert not allowed(TaskType.FEATURE, "src/billing/x.py")
    upgrade = Operation(TaskType.FEATURE, shop, commands=(("alembic", "upgrade"), ("pip", "install", "requests")))
    assert judge(upgrade, sensitive).allowed
    assert judge(Operation(TaskType.FEATURE, shop, deleted=25), sensitive).allowed


@pytest.mark.parametrize("line", shown_commands(page("git-credentials.md")))
def test_the_commands_of_the_page_are_understood(line: str) -> None:
    assert understood(line).startswith("credentials ")


if __name__ == "__main__":
    (DOCS / NAME).write_text(as_it_should_be(), encoding="utf-8")
