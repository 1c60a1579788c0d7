"""What an operator says of a repository goes before what it says itself, and before what anybody has agreed to."""

from dataclasses import replace
from pathlib import Path

import pytest

from agentvine.domain.repository_settings import RepositoryRules
from agentvine.domain.worker_types import TaskType
from agentvine.worker.verification.agentvine_toml import AgentvineToml, parse
from agentvine.worker.verification.commands import detect
from agentvine.worker.verification.policy import PROTECTED_CHECK
from agentvine.worker.verification.ruled import SOURCE, as_ruled, ruled
from agentvine.worker.verification.verify import failing
from tests.integration.test_verify import BASE, FEATURE, court, why

SAID = b'[setup]\ncommand = "make env"\n[test]\ncommand = "true"\n[sandbox]\nhosts = ["one.example:443"]\n'


async def test_a_result_is_tested_as_the_operator_says_and_leaves_alone_what_he_protects(tmp_path: Path) -> None:
    base = {
        **BASE,
        ".agentvine.toml": '[test]\ncommand = "true"\n',
        "infra/main.tf": "a\n",
        "docs/x.md": "x\n",
        "made/b.txt": "b\n",
    }
    c = await court(tmp_path, base)
    rules = RepositoryRules(test=("python3 -m pytest -q",), protected=("infra", "*.md", "/gen/api/", "made/**"))
    head = await c.repository.commit(FEATURE)
    await c.mirror.update()
    evidence = await c.verifier.verify(replace(c.subject(TaskType.FEATURE, head), rules=rules))
    assert evidence.passed, why(evidence)
    assert evidence.tests_after is not None
    assert evidence.tests_after.passed == 2
    assert PROTECTED_CHECK in {check.name for check in evidence.checks}
    changes = {"infra/main.tf": "b\n", "docs/x.md": None, "infrastructure.py": "y = 1\n", "made/b.txt": None}
    changes |= {"gen/api/v1/a.json": "{}\n", "gen/apis.json": "{}\n", "sub/infra/b.tf": "b\n", "README.mdx": "x\n"}
    head = await c.repository.commit(changes)
    await c.mirror.update()
    evidence = await c.verifier.verify(replace(c.subject(TaskType.FEATURE, head), rules=rules))
    wrong = [check.why for check in failing(evidence) if check.name == PROTECTED_CHECK]
    named = "docs/x.md, gen/api/v1/a.json, infra/main.tf, made/b.txt, sub/infra/b.tf"
    assert wrong == [f"take the change of these back: {named}. An operator protects them"]


@pytest.mark.parametrize(
    ("lines", "argv"),
    [
        (("python3 -m pytest -q",), ("python3", "-m", "pytest", "-q")),
        (("make 'all tests'",), ("make", "all tests")),
        (("run --junit={junit}",), ("run", "--junit={junit}")),
        (("cd api && make test",), ("sh", "-ec", "cd api && make test")),
        (("CI=1 make test",), ("sh", "-ec", "CI=1 make test")),
        (("make a", "make b"), ("sh", "-ec", "make a\nmake b")),
        (("make 'a",), ("sh", "-ec", "make 'a")),
    ],
)
def test_lines_become_commands(lines: tuple[str, ...], argv: tuple[str, ...]) -> None:
    said = ruled(None, RepositoryRules(setup=lines, test=lines))
    assert said is not None
    assert said.setup is not None
    assert said.test is not None
    assert (said.setup.command, said.test.command) == (argv, argv)


def test_each_word_of_the_operator_goes_before_the_repository_s() -> None:
    said = parse(SAID)
    assert ruled(said, RepositoryRules(protected=("a",))) is said
    assert ruled(None, RepositoryRules()) is None
    rules = RepositoryRules(test=("python3 -m pytest",), hosts=("two.example:443", "one.example:443"))
    both = ruled(said, rules)
    assert isinstance(both, AgentvineToml)
    assert both.setup == said.setup
    assert both.sandbox.hosts == ("one.example:443", "two.example:443")
    found = as_ruled(detect([], {}, both), rules)
    assert found.setup is not None
    assert found.test is not None
    assert (found.test.source, found.test.runner, found.test.network) == (SOURCE, "pytest", True)
    assert found.setup.source != SOURCE
