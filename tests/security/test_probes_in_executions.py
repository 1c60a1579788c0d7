"""Attempts to get out from inside whole executions: made by the agent's commands, by the set-up and by the tests."""

import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest_asyncio

from agentvine.kit.process import spawn
from agentvine.worker.sandbox.host import machine
from agentvine.worker.sandbox.seccomp import ARCHITECTURES
from tests.security.cases import Case, toml
from tests.security.estate import Estate, Outcome, estate
from tests.security.probes import assault
from tests.security.probes_inside import INSIDE
from tests.security.territory import CANARIES, Territory

_SAID = ".git/said-by-the-set-up"
_VARIABLES = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "NO_PROXY", "no_proxy"),
    *("PYTHONDONTWRITEBYTECODE", "PIP_DISABLE_PIP_VERSION_CHECK", "CI", "PYTEST_DISABLE_PLUGIN_AUTOLOAD"),
)
_VARIABLES_OF_CLAUDE = re.compile(
    r"CLAUDE\w*|ANTHROPIC_(BASE_URL|API_KEY)|DISABLE_\w+|BASH_\w+|GIT_(TERMINAL_PROMPT|EDITOR)|TERM|AI_AGENT|NoDefault\w*|COREPACK_\w+"
)
END = """
import re
known = [name for name in os.environ if name in facts["variables"] or re.fullmatch(facts["of Claude"], name)]
told["variables of the worker's"] = f"ESCAPED {set(os.environ)}" if set(os.environ) - set(known) else "HELD"
wrong = {name: said for name, said in told.items() if not said.startswith("HELD")}
print(f"{len(told)} tried by {sys.argv[1]}, {len(told) - len(wrong)} held, not held: {wrong}")
if sys.argv[1] == "the agent":
    print("\\n".join(f"{name}: {said[:60]}" for name, said in told.items()))
"""


@dataclass(frozen=True)
class Tried:
    """What became of the attempts."""

    here: Territory
    outcome: Outcome
    harm: list[str]
    sentinel_lives: bool
    heard: str
    """What the model was told."""


def case() -> Case:
    """A repository that makes all attempts wherever something of it runs."""
    return Case(
        "attempts to get out",
        (f"cat {_SAID}; cd /tmp && python3 /workspace/assault.py 'the agent'",),
        {
            "assault.py": "@ASSAULT@",
            **toml(
                f"cat {_SAID}; cd /tmp; python3 /workspace/assault.py 'the tests'",
                setup=f"cd /tmp; python3 /workspace/assault.py 'the set-up' > /workspace/{_SAID}",
            ),
        },
        settings="proxied",
    )


def _facts(there: Estate, sentinel: int) -> dict[str, object]:
    here = there.here
    return {
        "canary": str(here.loot / "secret"),
        "sibling": str(here.sibling),
        "private": str(here.work / "home"),
        "prefix": sys.prefix,
        "calls": dict(ARCHITECTURES[machine()].numbers),
        "port": here.ports["http"],
        "port6": here.ports["http6"],
        "udp": here.ports["udp"],
        "listed": here.ports["listed"],
        "api": int(there.stage.proxy.url.rpartition(":")[2]),
        "abstract": here.abstract,
        "socket": here.facts["SOCKET"],
        "marker": "600.4711",
        "sentinel": sentinel,
        "variables": _VARIABLES,
        "of Claude": _VARIABLES_OF_CLAUDE.pattern,
        "work": str(here.work),
        "here": "/workspace",
        "tunnel": "CONNECT 127.0.0.1:{0} HTTP/1.1\r\nhost: 127.0.0.1:{0}\r\n\r\n".format(here.ports["http"]),
        "backwards": [secret[::-1] for secret in (*CANARIES.values(), there.stage.worker_key)],
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tried() -> AsyncIterator[Tried]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="av-"))
        there = await stack.enter_async_context(estate(Path(folder), [case()]))
        lives = ["sleep", "600.4711"]
        sentinel = await stack.enter_async_context(await spawn(lives, cwd=None, env={"PATH": os.defpath}))
        there.here.more["ASSAULT"] = assault(INSIDE, _facts(there, sentinel.pid), END)
        outcome = await there.run(case())
        heard = "\n".join(request.raw.decode() for request in there.model.model.requests)
        lives_still = Path(f"/proc/{sentinel.pid}").exists()
        yield Tried(there.here, outcome, await there.harm(outcome), lives_still, heard)


def _summaries(text: str) -> list[tuple[int, str, int, str]]:
    found = re.findall(r"(\d+) tried by ([\w -]+), (\d+) held, not held: ({.*?})(?:\\n|\n|$)", text)
    return [(int(tried), by, int(held), wrong) for tried, by, held, wrong in found]


def test_the_agents_commands_do_not_get_out(tried: Tried) -> None:
    found = {by: (count, held, wrong) for count, by, held, wrong in _summaries(tried.heard)}
    assert found == {by: (len(INSIDE), len(INSIDE), "{}") for by in ("the set-up", "the agent")}, (
        tried.outcome.order.failure
    )
    assert len(INSIDE) >= 80


def test_set_up_and_tests_of_base_and_result_do_not_get_out(tried: Tried) -> None:
    evidence = tried.outcome.evidence
    assert evidence is not None
    for where in ("base", "result"):
        said = "\n".join(record.output_tail for record in evidence.commands if record.where == where)
        found = {by: (count, held, wrong) for count, by, held, wrong in _summaries(said)}
        assert found == {by: (len(INSIDE), len(INSIDE), "{}") for by in ("the set-up", "the tests")}, (where, found)


def test_nothing_was_reached_taken_or_killed(tried: Tried) -> None:
    assert tried.harm == []
    assert tried.sentinel_lives
    assert tried.outcome.ended == "delivered"


def test_each_attempt_is_kept_with_what_became_of_it(tried: Tried) -> None:
    """In the transcript, and those to reach something outside in the evidence."""
    assert [
        probe.name for probe in INSIDE if f"{json.dumps(probe.name)[1:-1]}: HELD" not in tried.outcome.transcript
    ] == []
    evidence = tried.outcome.evidence
    assert evidence is not None
    refused = {(contact.way, contact.target) for contact in evidence.egress if not contact.allowed}
    allowed = {(contact.way, contact.target) for contact in evidence.egress if contact.allowed}
    port = tried.here.ports["http"]
    wanted = {
        ("proxy", f"127.0.0.1:{port}"),
        ("proxy", f"http://127.0.0.1:{port}/"),
        ("proxy", "http://169.254.169.254/latest/meta-data/"),
        ("model", "GET /v1/files"),
        ("model", "DELETE /v1/organizations/api_keys"),
        ("model", f"CONNECT 127.0.0.1:{port}"),
    }
    assert sorted(wanted - refused) == []
    assert ("proxy", f"http://127.0.0.1:{tried.here.ports['listed']}/away") in allowed  # the proxy does work
