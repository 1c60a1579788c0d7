"""Tasks written down in TOML, and how mistakes in them are told."""

import io

import pytest

from agentvine.cli import task_file
from agentvine.cli.failures import place, tell
from agentvine.cli.render import Screen, console
from agentvine.domain.errors import InvalidInput

ONE = """
type = "bugfix"
title = "Round prices to cents"
repository = "https://git.example/acme/shop.git"
branch = "main"
requirements = ["No float"]
[budget]
usd = 2.0
"""
SEVERAL = """
repository = "https://git.example/acme/shop.git"
branch = "main"

[[task]]
name = "model"
type = "feature"
title = "Store a currency"

[[task]]
type = "docs"
title = "Explain currencies"
branch = "docs"
needs = ["model", "7k3m9x2p"]
"""
ID = "tsk_01k9zq4r8w6x5v3n2m1b0c9d8f"


def test_one_task() -> None:
    wishes = task_file.read(ONE, "task.toml", {})
    assert not wishes.listed and task_file.foreign(wishes) == ()
    task = task_file.single(wishes.tasks[0], ())
    assert (task.type.value, task.branch, task.requirements, task.budget.usd) == ("bugfix", "main", ("No float",), 2.0)


def test_several_share_the_top_and_need_one_another_by_name() -> None:
    wishes = task_file.read(SEVERAL, "plan.toml", {"priority": 7, "branch": "overridden"})
    assert task_file.foreign(wishes) == ("7k3m9x2p",)
    batch = task_file.batch(wishes, {"7k3m9x2p": ID})
    model, docs = batch.tasks
    assert (model.name, docs.name) == ("model", "task 2")
    assert (model.task.branch, docs.task.branch) == ("main", "docs")
    assert docs.needs_names == ("model",) and docs.task.needs == (ID,)
    assert model.task.priority == 7


def test_options_fill_in_what_the_file_leaves_open() -> None:
    wishes = task_file.read('type = "docs"\ntitle = "t"', "f", {"repository": "https://h.example/r", "branch": "main"})
    assert task_file.single(wishes.tasks[0], ()).repository == "https://h.example/r"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("title = ", "is not TOML"),
        ("task = 3", r"\[\[task\]\]"),
        ("task = []", r"\[\[task\]\]"),
        ("[[task]]\nname = 3", "name of task 1"),
        ("needs = 3", "'needs' is a list"),
    ],
)
def test_what_is_no_task_file_says_so(content: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        task_file.read(content, "plan.toml", {})


def test_every_mistake_is_told_at_its_place() -> None:
    wishes = task_file.read(SEVERAL.replace('type = "docs"', 'type = "dance"\ncolour = "red"'), "plan.toml", {})
    with pytest.raises(InvalidInput) as refused:
        task_file.batch(wishes, {"7k3m9x2p": ID})
    mistakes = refused.value.facts["errors"]
    assert isinstance(mistakes, list)
    assert {place(each["pointer"]): each["message"] for each in mistakes}["task 2 colour"] == "there is no such field"
    assert "task 2 type" in {place(each["pointer"]) for each in mistakes}


@pytest.mark.parametrize(
    ("pointer", "words"),
    [
        ("/title", "--title"),
        ("/repository", "--repo"),
        ("/budget/usd", "--budget-usd"),
        ("/requirements/2", "--requirement number 3"),
        ("/tasks/1/task/title", "task 2 title"),
        ("/tasks/0", "task 1"),
        ("/scope/role", "scope.role"),
        ("/a~1b", "a/b"),
        ("", ""),
    ],
)
def test_a_pointer_is_told_as_the_option_that_gave_the_value(pointer: str, words: str) -> None:
    assert place(pointer) == words


@pytest.mark.parametrize(
    ("name", "value", "option"),
    [
        ("title", "", "--title"),
        ("title", "x" * 501, "--title"),
        ("repository", "--upload-pack=x", "--repo"),
        ("repository", "ext::sh -c id", "--repo"),
        ("branch", "a b", "--branch"),
        ("queue", "vip", ""),
        ("budget", {"usd": -1}, "--budget-usd"),
        ("priority", 5000, "--priority"),
        ("description", "x" * 2_000_000, "--description"),
        ("specializations", ["ok", "Not OK"], "--specialization number 2"),
        ("title", "\udcff", "--title"),
    ],
    ids=lambda value: str(value)[:20].encode("ascii", "replace").decode(),
)
def test_a_mistake_on_the_command_line_names_its_option_in_few_words(name: str, value: object, option: str) -> None:
    fields = {"type": "bugfix", "title": "t", "repository": "https://h.example/r", "branch": "main", name: value}
    wish = task_file.from_options(fields).tasks[0]
    with pytest.raises(InvalidInput) as refused:
        task_file.single(wish, ())
    said, beside = io.StringIO(), io.StringIO()
    tell(Screen(console(said), console(beside)), refused.value)
    told = beside.getvalue().splitlines()
    assert len(told) == 2 and told[1].startswith(f"  {option}") and len(beside.getvalue()) < 500
    assert said.getvalue() == ""
