"""What the page on operations shows can be typed, and its tables are complete and true."""

import re

import pytest

from agentvine.kit.log_files import MOST_BYTES
from agentvine.server.broker_link import MOST_RINGS
from agentvine.server.comments import MOST
from agentvine.server.pages import LARGEST_PAGE
from agentvine.server.settings import ServerSettings
from agentvine.store.database import QUEUE_LIMIT
from agentvine.store.tables import metadata
from agentvine.wire import messages as m
from agentvine.wire.administration import Prunable
from agentvine.worker.box import OUTPUT_LIMIT
from agentvine.worker.workspace import BUNDLE_LIMIT
from tests.docs.pages import page, shown_commands, understood

PAGE = page("operations.md")
COMMANDS = shown_commands(PAGE)
MIB = 1024 * 1024
BOUNDS = {
    "a JSON body": f"{m.LARGEST_BODY // MIB} MiB",
    "one artifact": f"{m.LARGEST_ARTIFACT // MIB} MiB",
    "artifacts of an execution": f"{m.MOST_ARTIFACTS}",
    "entries of an execution's transcript": f"{m.MOST_ENTRIES:,}",
    "units of work that wait for the database": f"{QUEUE_LIMIT:,}",
    "a long poll": f"{m.LONGEST_WAIT:g} s",
    "rings on their way to the broker": f"{MOST_RINGS:,}",
    "a page of a listing": f"{LARGEST_PAGE}",
    "comments of an order": f"{MOST:,}",
    "output of a command of the worker": f"{OUTPUT_LIMIT // MIB} MiB",
    "a bundle": f"{BUNDLE_LIMIT // MIB} MiB",
    "log files of `agentvine up`": f"{MOST_BYTES // MIB} MiB",
}


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_can_be_typed(line: str) -> None:
    assert understood(line)


def test_every_table_is_described() -> None:
    described = PAGE.partition("<!-- tables: begin -->")[2].partition("<!-- tables: end -->")[0]
    assert re.findall(r"^\| `(\w+)` \|", described, re.MULTILINE) == sorted(metadata.tables)


def test_all_that_can_be_pruned_has_its_row_and_its_setting() -> None:
    for what in Prunable:
        setting = f"AGENTVINE_SERVER_KEEP_{what.value.upper()}_DAYS"
        assert re.search(rf"^\| `{what.value}` \|.*`{setting}` \|$", PAGE, re.MULTILINE)
        assert f"keep_{what.value}_days" in ServerSettings.model_fields


@pytest.mark.parametrize(("what", "bound"), BOUNDS.items())
def test_a_bound_is_what_the_page_says(what: str, bound: str) -> None:
    row = re.search(rf"^\| {re.escape(what)} \| ([^|]*) \|", PAGE, re.MULTILINE)
    assert row is not None
    assert row[1].startswith(bound)


def test_there_are_examples_of_each_command() -> None:
    assert {understood(line) for line in COMMANDS} >= {
        "backup",
        "restore",
        "export",
        "import",
        "prune",
        "drain",
        "lift",
    }
