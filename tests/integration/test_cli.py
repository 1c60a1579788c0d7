"""The command line against a real server: what a person does and sees, and what a program reads."""

import contextlib
import json
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import JsonValue

from agentvine.domain.request import RequestKind
from tests.integration.town import DIFF, REPOSITORY, Town, running_town

PLAN = f"""
repository = "{REPOSITORY}"
branch = "main"

[[task]]
name = "model"
type = "feature"
title = "Store a currency"

[[task]]
type = "docs"
title = "Explain currencies"
needs = ["model"]
"""


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with running_town(tmp_path) as running:
        yield running


def rows(document: JsonValue) -> list[dict[str, JsonValue]]:
    assert isinstance(document, list)
    return [row for row in document if isinstance(row, dict)]


def field(document: JsonValue, *path: str) -> JsonValue:
    for name in path:
        assert isinstance(document, dict)
        document = document[name]
    return document


# ── submitting ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_task_with_everything_that_can_be_said(town: Town) -> None:
    needed = await town.submitted(title="Before")
    task = await town.json(
        *("submit", "--type", "feature", "--repo", REPOSITORY, "--branch", "main", "--title", "Gift cards"),
        *("--description", "-", "--permission", "human_required", "--priority", "7", "--queue", "high_priority"),
        *("--requirement", "No float", "--requirement", "Tests", "--needs", needed[-8:], "--specialization", "python"),
        *("--budget-usd", "2.5", "--max-turns", "40"),
        stdin=b"As sold in shops.\nWith codes.\n",
    )
    assert field(task, "asked", "description") == "As sold in shops.\nWith codes.\n"
    assert field(task, "asked", "requirements") == ["No float", "Tests"]
    assert field(task, "asked", "needs") == [needed]
    assert field(task, "asked", "budget") == {"usd": 2.5, "turns": 40}
    assert [field(task, "asked", name) for name in ("queue", "priority", "specializations")] == [
        "high_priority",
        7,
        ["python"],
    ]
    assert (field(task, "permission_level"), field(task, "status")) == ("human_required", "blocked")


async def test_the_same_idempotency_key_submits_once_and_is_refused_for_another_task(town: Town) -> None:
    options = ("--type", "bugfix", "--repo", REPOSITORY, "--branch", "main", "--idempotency-key", "k1")
    first = (await town.ok("submit", *options, "--title", "Once")).strip()
    assert (await town.ok("submit", *options, "--title", "Once")).strip() == first
    await town.refused("submit", *options, "--title", "Other")


async def test_a_file_submits_one_task_or_several_that_need_one_another(town: Town) -> None:
    (town.where / "plan.toml").write_text(PLAN)
    model, docs = rows(await town.json("submit", "--file", "plan.toml"))
    assert (model["status"], docs["status"]) == ("pending", "blocked")
    assert field(await town.json("show", str(docs["id"])), "order", "blocked_by") == 1
    (town.where / "one.toml").write_text('type = "test"\ntitle = "Cover prices"\n')
    one = await town.json("submit", "--file", "one.toml", "--repo", REPOSITORY, "--branch", "main")
    assert field(one, "asked", "title") == "Cover prices"


async def test_a_circle_is_refused_by_its_names(town: Town) -> None:
    (town.where / "plan.toml").write_text(PLAN.replace('title = "Store', 'needs = ["task 2"]\ntitle = "Store'))
    told = await town.refused("submit", "--file", "plan.toml")
    assert "model" in told and "task 2" in told
    assert await town.json("tasks") == []


async def test_a_mistake_names_the_option_that_has_to_be_mended(town: Town) -> None:
    unknown = "tsk_01k9zq4r8w6x5v3n2m1b0c9d8f"
    given = {"--type": "bugfix", "--repo": REPOSITORY, "--branch": "main", "--title": "t"}
    for options, words in (
        ({"--title": "", "--repo": "ext::sh -c id", "--branch": "a b"}, ("--title", "--repo", "--branch")),
        ({"--needs": unknown}, ("--needs number 1", unknown)),
        ({"--needs": "zzzz"}, ("no task 'zzzz'",)),
        ({"--file": "nowhere.toml"}, ("nowhere.toml",)),
    ):
        told = await town.refused("submit", *(f"{name}={value}" for name, value in {**given, **options}.items()))
        assert all(word in told for word in words) and len(told) < 2000, told


async def test_two_megabytes_of_description_are_refused_in_few_words(town: Town) -> None:
    options = ("--type", "bugfix", "--repo", REPOSITORY, "--branch", "main", "--title", "t", "--description", "-")
    done = await town.cli("submit", *options, stdin=b"x" * 2_000_000)
    assert done.exit_code == 1 and "--description" in done.stderr and len(done.stderr) < 1000


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_tasks_are_listed_filtered_and_limited(town: Town) -> None:
    bug = await town.submitted("bugfix", "Prices lose a cent")
    docs = await town.submitted("docs", "Explain \x1b[2J refunds".replace("\x1b", "") + " [red]now[/red]")
    assert [row["id"] for row in rows(await town.json("tasks"))] == [docs, bug]
    assert [row["id"] for row in rows(await town.json("tasks", "--type", "bugfix"))] == [bug]
    assert [row["id"] for row in rows(await town.json("tasks", "--limit", "1"))] == [docs]
    assert rows(await town.json("tasks", "--status", "failed")) == []
    assert len(rows(await town.json("tasks", "--repo", REPOSITORY, "--status", "pending"))) == 2
    shown = (await town.ok("tasks")).splitlines()
    assert re.fullmatch(rf"{docs[-8:]}  docs +pending +Explain .*\[red\]now\[/red\] +acme/shop +.*", shown[1])
    assert "there is no status 'lost'" in await town.refused("tasks", "--status", "lost")


async def test_a_task_is_named_by_the_beginning_or_the_end_of_an_id(town: Town) -> None:
    task, other = await town.submitted(), await town.submitted(title="Other")
    order = field(await town.json("show", task), "order", "id")
    assert isinstance(order, str)
    for name in (task[-8:], task[:-1], order, order[-8:]):
        assert field(await town.json("show", name), "task", "id") == task
    told = await town.refused("show", "tsk_")
    assert task in told and other in told and "write more of it" in told
    assert "there is no task 'zzzz'" in await town.refused("show", "zzzz")


async def test_what_is_not_there_yet_is_said(town: Town) -> None:
    task = await town.submitted()
    assert "nobody has worked on it" in await town.ok("logs", task)
    assert "no diff yet" in await town.refused("diff", task)
    assert "no evidence yet" in await town.refused("evidence", "show", task)


async def test_a_result_can_be_looked_at_from_every_side(town: Town) -> None:
    task = await town.submitted()
    claimed = await town.working()
    said: list[dict[str, JsonValue]] = [
        {"type": "assistant", "message": {"role": "assistant", "content": [{"type": "text", "text": "I look."}]}},
        {
            "type": "assistant",
            "message": {"content": [{"type": "tool_use", "name": "Bash", "input": {"command": "pytest -q"}}]},
        },
        {"type": "user", "message": {"content": [{"type": "tool_result", "content": "\x1b[31m1 failed\x1b[0m"}]}},
    ]
    await town.says(claimed, 0, *said)
    await town.result(claimed)
    await town.completes(claimed)

    shown = await town.ok("show", task)
    for words in ("Prices lose a cent", "completed", "main at bbbbbbbbbbbb", "$0.25", "Prices keep their cents."):
        assert words in shown
    log = await town.ok("logs", task)
    assert "I look." in log and "● Bash  pytest -q" in log and "$0.25" in log and "\x1b" not in log
    raw = [json.loads(line) for line in (await town.ok("logs", claimed.lease.execution_id, "--json")).splitlines()]
    assert raw == said
    assert await town.ok("diff", task) == DIFF
    proven = await town.ok("evidence", "show", task)
    assert "2 of 3 passed, 1 failed (test_price)" in proven and "4 of 4 passed" in proven and "tests pass" in proven
    assert "Bash git push  by shell, 2 times" in proven


# ── ending and beginning again ───────────────────────────────────────────────────────────────────────────────────


async def test_cancelling_and_retrying_say_what_cannot_be_done(town: Town) -> None:
    task = await town.submitted()
    assert "cancelled" in await town.ok("cancel", task)
    assert field(await town.json("cancel", task), "status") == "cancelled"
    assert "cancelled" in await town.refused("retry", task)
    failed = await town.submitted(title="Fails")
    await town.fails(await town.working())
    assert "queued again" in await town.ok("retry", failed)
    assert field(await town.json("show", failed), "order", "status") == "pending"
    assert "Traceback" not in await town.refused("retry", failed)


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_inbox_and_an_approval_by_the_tasks_name(town: Town) -> None:
    task = await town.submitted("feature", "Gift cards")
    request = await town.parks(await town.working("feature"), RequestKind.APPROVAL, "May this be delivered?")
    (listed,) = rows(await town.json("inbox"))
    assert (listed["id"], listed["task_id"]) == (request, task)
    assert "May this be delivered?" in await town.ok("inbox")
    assert "agentvine approve" in (await town.cli("show", task)).stderr
    assert "approve or deny it" in await town.refused("answer", request, "yes")
    assert "approved" in await town.ok("approve", task[-8:], "--message", "good")
    (answered,) = rows(await town.json("inbox", "--history"))
    assert field(answered, "response", "message") == "good"
    assert await town.json("inbox") == []
    assert "asks nothing" in await town.refused("approve", task)
    told = await town.refused("deny", request, "--because", "no")
    assert "approved by key:" in told


async def test_a_denial_and_an_answer(town: Town) -> None:
    await town.submitted("feature", "Gift cards")
    request = await town.parks(await town.working("feature"), RequestKind.APPROVAL, "May I?")
    denied = await town.json("deny", request[-8:], "--because", "Keep the old name")
    assert [field(denied, "response", name) for name in ("verdict", "message")] == ["denied", "Keep the old name"]
    task = await town.submitted("docs", "Explain")
    await town.parks(await town.working("docs"), RequestKind.CLARIFICATION, "Which language?")
    assert "answer it with" in await town.refused("approve", task)
    answered = await town.json("answer", task, "English")
    assert [field(answered, "response", name) for name in ("verdict", "message")] == ["answer", "English"]


# ── the fleet ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_workers_are_listed_and_sent_home(town: Town) -> None:
    assert "no worker is there" in (await town.cli("workers")).stderr
    await town.worker("bugfix")
    await town.worker("docs")
    assert {row["id"] for row in rows(await town.json("workers"))} == {"wrk_bugfix-1", "wrk_docs-1"}
    assert "bugfix one" in await town.ok("workers")
    drained = await town.json("drain", "bugfix one")
    assert isinstance(drained, list)
    assert field(drained[0], "id") == "wrk_bugfix-1"
    assert "takes no more work" in await town.ok("drain", "wrk_docs")
    assert "could be any of 2" in await town.refused("drain", "wrk_")
    await town.plane.deregister("wrk_docs-1")
    assert [row["id"] for row in rows(await town.json("workers"))] == ["wrk_bugfix-1"]
    assert len(rows(await town.json("workers", "--all"))) == 2


async def test_the_queue_shows_depth_and_dead_letters(town: Town) -> None:
    failed = await town.submitted()
    await town.fails(await town.working(), "no test fails\nwithout the change")
    await town.submitted("docs", "Explain")
    shown = await town.ok("queue")
    assert "1 pending" in shown and "1 failed" in shown
    assert re.search(r"default +docs +1 ", shown)
    assert re.search(rf"{failed[-8:]} +bugfix +1 .*verification_failed +no test fails without the change", shown)
    assert re.search(r"1 +docs +\S+ +a worker of the type docs: none is there", shown)
    report = await town.json("queue")
    dead = field(report, "dead_letters")
    assert [row["task_id"] for row in rows(dead)] == [failed]


async def test_a_key_is_given_another_secret(town: Town) -> None:
    first = (await town.ok("keys", "create", "turn", "--role", "viewer")).strip()
    second = (await town.ok("keys", "rotate", "turn", "--overlap", "1h")).strip()
    assert re.fullmatch(r"av_[0-9a-z]+_\S+", second) and second != first
    for secret in (first, second):
        looked = await town.cli("tasks", "--json", AGENTVINE_URL=town.url, AGENTVINE_API_KEY=secret)
        assert looked.exit_code == 0, looked.stderr
    row = next(row for row in rows(await town.json("keys", "list")) if row["name"] == "turn")
    assert (row["prefix"], row["former_prefix"]) == (second[:13], first[:13])
    third = str(field(await town.json("keys", "rotate", second[:13], "--overlap", "0"), "secret"))
    for secret, code in ((first, 1), (second, 1), (third, 0)):
        looked = await town.cli("tasks", "--json", AGENTVINE_URL=town.url, AGENTVINE_API_KEY=secret)
        assert looked.exit_code == code, looked.stderr
    assert "is no time" in await town.refused("keys", "rotate", "turn", "--overlap", "soon", code=2)
    assert "365d" in await town.refused("keys", "rotate", "turn", "--overlap", "2000d", code=2)


async def test_the_audit_log_is_listed_and_verified(town: Town) -> None:
    secret = (await town.ok("keys", "create", "curious", "--role", "viewer")).strip()
    await town.refused("keys", "list", AGENTVINE_URL=town.url, AGENTVINE_API_KEY=secret)
    shown = await town.ok("audit", "list")
    assert re.search(r"key\.created +key:key_\w+ .*name=curious", shown)
    assert re.search(r"refused +key:key_\w+ .*error=forbidden .*route=/keys ", shown)
    entries = rows(await town.json("audit", "list", "--limit", "3"))
    assert len(entries) == 3
    verified = await town.ok("audit", "verify")
    assert "intact: " in verified
    head = re.search(r"head (\d+:[0-9a-f]{64})", verified)
    assert head is not None
    assert "intact: " in await town.ok("audit", "verify", "--expect-head", head[1])
    number, _, digest = head[1].partition(":")
    assert "written anew" in (await town.cli("audit", "verify", "--expect-head", f"{number}:{digest[::-1]}")).stdout
    missing = await town.cli("audit", "verify", "--json", "--expect-head", f"999999:{digest}")
    assert missing.exit_code == 1
    assert '"broken_at": 999999' in missing.stdout
    assert "SEQ:HASH" in await town.refused("audit", "verify", "--expect-head", "1:2", code=2)
    told = await town.refused("audit", "list", AGENTVINE_URL=town.url, AGENTVINE_API_KEY=secret)
    assert "admin" in told


async def test_a_broken_audit_log_is_told(town: Town) -> None:
    await town.ok("audit", "verify")
    with contextlib.closing(sqlite3.connect(town.where / "data" / "agentvine.db", timeout=10)) as database, database:
        database.execute("DROP TRIGGER audit_stays_UPDATE")
        database.execute("UPDATE audit SET actor = 'somebody' WHERE seq = 1")
    verified = await town.cli("audit", "verify")
    assert verified.exit_code == 1
    assert "broken at entry 1: its content was changed" in verified.stdout


async def test_a_key_is_made_used_and_revoked(town: Town) -> None:
    secret = (
        await town.ok("keys", "create", "look", "--role", "viewer", "--expires-in", "90d", "--repo", REPOSITORY)
    ).strip()
    assert re.fullmatch(r"av_[0-9a-z]+_\S+", secret)
    looked = await town.cli("tasks", "--json", AGENTVINE_URL=town.url, AGENTVINE_API_KEY=secret)
    assert looked.exit_code == 0, looked.stderr
    task = await town.submitted()
    told = await town.refused("cancel", task, AGENTVINE_URL=town.url, AGENTVINE_API_KEY=secret)
    assert "viewer" in told or "role" in told
    assert re.search(
        r"look +viewer +up to autonomous; only https://git.example/acme/shop.git", await town.ok("keys", "list")
    )
    assert "opens nothing" in await town.ok("keys", "revoke", "look")
    assert "look" not in {row["name"] for row in rows(await town.json("keys", "list"))}
    assert "look" in {row["name"] for row in rows(await town.json("keys", "list", "--all"))}
    assert "scope.role" in await town.refused("keys", "create", "x", "--role", "king")
    assert "is no time" in await town.refused("keys", "create", "x", "--expires-in", "soon", code=2)


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_without_a_server_it_says_what_to_start(town: Town) -> None:
    told = await town.refused("tasks", "--url", "http://127.0.0.1:9", "--key", "av_x")
    assert "no AgentVine server answers at http://127.0.0.1:9" in told and "agentvine up" in told


async def test_a_wrong_key_says_so(town: Town) -> None:
    told = await town.refused("tasks", "--key", "av_0000000000_wrong")
    assert "AGENTVINE_API_KEY" in told


async def test_a_context_that_others_may_read_is_refused(town: Town) -> None:
    (town.where / "context.json").chmod(0o644)
    assert "chmod 600" in await town.refused("tasks")


async def test_a_reader_that_has_enough_is_no_error_worth_words(town: Town) -> None:
    await town.submitted()
    done = await town.shell("agentvine tasks --json | head -c 10")
    assert done.stdout == "[\n  {\n    " and done.stderr == ""


async def test_every_byte_on_the_command_line_is_borne(town: Town) -> None:
    for command, hostile in (
        ("show", "\udcff"),
        ("cancel", "\x1b[2J"),
        ("diff", "../../keys"),
        ("logs", "exe_%2e%2e/%2e%2e/keys?x=1#aaaaaaaaa"[:30]),
        ("drain", " "),
    ):
        assert "\x1b" not in await town.refused(command, hostile)


async def test_it_is_said_if_nobody_is_there_for_a_task_and_if_nothing_confined_its_agent(town: Town) -> None:
    options = ("--type", "bugfix", "--repo", REPOSITORY, "--branch", "main", "--title", "t")
    done = await town.cli("submit", *options)
    task = done.stdout.strip()
    assert "no bugfix worker is there" in done.stderr
    assert "no bugfix worker is there" in (await town.cli("wait", task, "--timeout", "0")).stderr
    claimed = await town.working()
    assert "worker is there" not in (await town.cli("submit", *options)).stderr
    await town.result(claimed)
    assert "without a sandbox" in (await town.cli("show", task)).stderr


async def test_credentials_that_cannot_work_are_not_stored_and_an_unknown_file_is_named(town: Town) -> None:
    file = str(town.where / "git")
    told = await town.refused(
        "credentials",
        "add",
        "git@h.example:a/b.git",
        "--ssh-key",
        "/no/key",
        "--known-hosts",
        "/no/hosts",
        "--file",
        file,
    )
    assert "/no/key is no file" in told
    done = await town.cli("credentials", "list", "--file", file)
    assert (done.exit_code, done.stdout) == (0, "") and "there is no such file" in done.stderr
