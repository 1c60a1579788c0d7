"""What does not hold in documentation is found, if it is new."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentvine.worker.verification.documents import Tree, is_readable, problems

GUIDE = '# The Guide\n\n## What `run` does, today\n\n## Twice\n\n## Twice\n\n<a id="by-hand"></a>\n'
PATHS = ["README.md", "docs/guide.md", "docs/a b.md", "docs/pictures/one.png", "src/app.py"]


def found(text: str, path: str = "docs/page.md", before: str | None = None) -> list[str]:
    tree = Tree([*PATHS, path], {"docs/guide.md": GUIDE, "README.md": "# Shop\n", path: text})
    return [f"{one.kind} {one.line} {one.what}" for one in problems(path, before, text, tree)]


GOOD = [
    "[a](guide.md)",
    "[a](../README.md#shop)",
    "[a](/src/app.py)",
    "[a](../src/)",
    "[a](guide.md#what-run-does-today)",
    "[a](guide.md#twice-1)",
    "[a](guide.md#by-hand)",
    "[a](<a b.md>) [b](a%20b.md)",
    "![a](pictures/one.png)",
    "# Here\n\n[a](#here)",
    "[a](https://example.org/nowhere) [b](mailto:a@example.org) [c](//example.org)",
    "[a](../../issues)",
    "`[a](nowhere.md)`",
    "```python\nx = 1\n```",
    "```python\n    await x\n    ...\n```",
    "```py\n>>> 1 +\\\n... 1\n2\n```",
    "```pycon\n>>> for x in y:\n...     pass\n```",
    '```json\n{"a": 1}\n```',
    "```toml\na = 1\n```",
    "```text\nx = = 1\n```",
    "```\nx = = 1\n```",
    "```python\n```",
]
BAD = {
    "[a](nowhere.md)": "link 1 `nowhere.md` leads to no file",
    "x\n\n[a](../nowhere/)": "link 3 `../nowhere/` leads to no file",
    "# Here\n\n[a](#there)": "link 3 `#there`: docs/page.md has no heading",
    "[a](guide.md#nothing)": "link 1 `guide.md#nothing`: docs/guide.md has no heading",
    "![a](pictures/two.png)": "link 1 `pictures/two.png` leads",
    "[a][b]\n\n[b]: nowhere.md": "link 1 `nowhere.md` leads",
    "```python\nx = = 1\n```": "code 1 the python code cannot be read",
    "x\n\n```json\n{a: 1}\n```": "code 3 the json code cannot be read",
    "```toml\na = \n```": "code 1 the toml code cannot be read",
    "```pycon\n>>> x = = 1\n```": "code 1 the pycon code cannot be read",
    "| a |\n|---|\n| [a](nowhere.md) |": "leads to no file",
}


@pytest.mark.parametrize("text", GOOD)
def test_what_holds(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize("text", BAD)
def test_what_does_not_hold(text: str) -> None:
    (one,) = found(text)
    assert BAD[text] in one


def test_only_what_is_new_counts() -> None:
    old = "[a](nowhere.md)\n"
    assert found("x\n\n" + old, before=old) == []
    assert len(found(old + "[b](nowhere-else.md)\n", before=old)) == 1


@given(st.text())
def test_it_never_raises(text: str) -> None:
    assert all(one.strip() for one in found(text))


@pytest.mark.parametrize(
    "text", ["[" * 20_000, "> " * 5_000 + "x", "```python\n" + "(" * 20_000 + "\n```", "[a](http://[)"]
)
def test_hostile_documents_are_told_or_pass(text: str) -> None:
    assert all(one.strip() for one in found(text))


def test_what_would_take_too_long_is_known_beforehand() -> None:
    assert is_readable("[a](b) `c`\n" * 1000)
    assert not is_readable("x\n\n" + "[" * 20_000)
