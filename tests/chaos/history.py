"""What a run has left behind, judged against the invariants that docs/reliability.md promises.

It believes nothing that the product says of itself beyond what is written down: it reads the tables and the events of
the database file, the branches and commits of the remotes, the process table, what lies in the workers' directories,
and the logs. It uses none of the product's code for what is right.
"""

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agentvine.testing.git_repository import git
from tests.chaos.ledger import Ledger, Written, read

LIVE = frozenset({"pending", "running", "waiting"})
TERMINAL = frozenset({"completed", "failed", "cancelled"})
INVARIANTS = {
    "I1": "every accepted order is live or in exactly one terminal state",
    "I2": "at most one accepted completion",
    "I3": "no change under a stale lease token",
    "I4": "at most one branch, set of commits and pull request per order, whose head is the recorded sha",
    "I5": "attempts only grow and stay within the maximum",
    "I6": "claims respect priority and age among what was ready",
    "I7": "no process, mount, temporary directory or lock remains",
    "I8": "no secret in any log, event, transcript or commit",
    "I9": "nothing makes the server answer 5xx but 503",
}
_ENDS = frozenset({"order.completed", "order.retried", "order.failed", "order.released", "order.parked", "order.lost",
                   "order.cancelled"})  # fmt: skip
_OF_THE_HOLDER = frozenset({"order.started", "order.completed", "order.retried", "order.failed", "order.released",
                            "order.parked", "execution.phase", "execution.result_stored", "delivery.intended",
                            "request.opened"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that does not hold, where, and what was found there."""

    invariant: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant} ({INVARIANTS[self.invariant]}) is broken at {self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class PullSeen:
    """A pull request, as the forge has it."""

    number: int
    branch: str
    body: str
    state: str


@dataclass(frozen=True, slots=True)
class Scene:
    """Where to look."""

    ledger: Ledger
    remotes: Mapping[str, Path]
    """Bare repositories, by the address by which orders name them."""
    accepted: tuple[str, ...]
    """Tasks whose submission was answered."""
    pulls: Mapping[str, Sequence[PullSeen]] = field(default_factory=dict)
    """What a forge has, by the same address, if the repository is on one."""
    marks: tuple[str, ...] = ()
    """What stands in the command line, working directory or environment of whatever the run started."""
    spared: frozenset[int] = frozenset()
    """Processes that may still be there."""
    workspaces: tuple[Path, ...] = ()
    mounts: tuple[str, ...] = ()
    """Directories that were mounted for the run."""
    temporary: tuple[Path, ...] = ()
    """Directories that were empty before the run."""
    logs: tuple[Path, ...] = ()
    secrets: tuple[str, ...] = ()
    drained: bool = True
    """Everything was given the time to end."""
    repository_limit: int = 8
    clock_was_set: bool = False
    """Two times that the server wrote down do not say which came first."""
    statuses: Mapping[int, int] = field(default_factory=dict)
    """How often the server was seen to answer with each status."""

    def but(self, **changes: Any) -> "Scene":
        return replace(self, **changes)


async def check(scene: Scene) -> list[Violation]:
    """Everything that is not as it should be; empty if all is well."""
    written = read(scene.ledger)
    found = [*_states(scene, written), *_completions(written), *_tokens(written), *_attempts(written)]
    found += [] if scene.clock_was_set else _stored_late(written)
    found += _claims(scene, written)
    for url, pulls in scene.pulls.items():
        found += _pull_requests(written, url, pulls)
    for url, path in scene.remotes.items():
        found += await _deliveries(written, url, path)
    found += [*_leftovers(scene), *(await _secrets(scene, written)), *_faults(scene)]
    return found


# ── I1, I2, I3, I5: the orders ───────────────────────────────────────────────────────────────────────────────────────


def _states(scene: Scene, written: Written) -> Iterator[Violation]:
    by_task = {order["task_id"]: order for order in written.orders.values()}
    for task_id in scene.accepted:
        if task_id not in written.tasks:
            yield Violation("I1", task_id, "it was accepted, and is not there")
        elif task_id not in by_task:
            yield Violation("I1", task_id, "its order is not there")
    for order in written.orders.values():
        status, name = order["status"], order["id"]
        if status not in LIVE | TERMINAL:
            yield Violation("I1", name, f"its status is {status!r}, which is no state")
        elif scene.drained and status in LIVE:
            yield Violation("I1", name, f"it is still {status}")
        told = [one["data"]["status"] for one in written.events[name] if one["kind"].startswith("order.")]
        if told and told[-1] != status:
            yield Violation("I1", name, f"it is {status}, and the last event says {told[-1]}")
        if status in TERMINAL and (order["lease_worker"] is not None or order["claimable"]):
            yield Violation("I1", name, f"it is {status}, and can be worked on")
        open_ones = [one["id"] for one in written.of(name) if one["outcome"] is None]
        if len(open_ones) != (status == "running"):
            yield Violation("I1", name, f"it is {status}, and has {len(open_ones)} executions without an end")


def _completions(written: Written) -> Iterator[Violation]:
    for name, order in written.orders.items():
        completed = [one["id"] for one in written.of(name) if one["outcome"] == "completed"]
        told = sum(one["kind"] == "order.completed" for one in written.events[name])
        expected = int(order["status"] == "completed")
        if len(completed) != expected or told != expected:
            what = f"it is {order['status']}, {len(completed)} executions are completed, {told} completions are told"
            yield Violation("I2", name, what)


def _tokens(written: Written) -> Iterator[Violation]:
    """Whoever changed an order or its execution held it at that moment, as the events tell in their order."""
    for name, events in written.events.items():
        token, holder, lost = 0, None, None
        for event in events:
            kind, execution_id = event["kind"], event["execution_id"]
            where = f"{name}, event {event['seq']} ({kind})"
            if kind == "order.claimed":
                if holder is not None:
                    yield Violation("I3", where, f"it was claimed while {holder} held it")
                if event["data"]["token"] != token + 1:
                    yield Violation("I3", where, f"token {event['data']['token']} follows {token}")
                token, holder = event["data"]["token"], execution_id
                continue
            speaks = kind in _OF_THE_HOLDER and execution_id is not None
            quarantined = kind == "order.failed" and execution_id == lost
            if speaks and execution_id != holder and not quarantined:
                yield Violation("I3", where, f"{execution_id} does not hold it; {holder or 'nobody'} does")
            if kind in _ENDS and execution_id is not None:
                holder, lost = None, execution_id if kind == "order.lost" else None
        yield from _tokens_of_executions(written, name)


def _tokens_of_executions(written: Written, name: str) -> Iterator[Violation]:
    tokens = Counter(one["lease_token"] for one in written.of(name))
    yield from (
        Violation("I3", name, f"{count} executions have the token {token}")
        for token, count in tokens.items()
        if count > 1
    )


def _stored_late(written: Written) -> Iterator[Violation]:
    ended = {one["id"]: one["ended_at"] for one in written.executions.values()}
    for artifact in written.artifacts:
        end = ended.get(artifact["execution_id"])
        if end is not None and artifact["stored_at"] > end:
            yield Violation("I3", artifact["execution_id"], f"{artifact['name']} was stored after its end")


def _attempts(written: Written) -> Iterator[Violation]:
    for name, order in written.orders.items():
        told = [one["data"]["attempt"] for one in written.events[name] if one["kind"] == "order.claimed"]
        if told != list(range(1, len(told) + 1)):
            yield Violation("I5", name, f"its attempts were {told}")
        if order["attempts"] != len(told) or len(written.of(name)) != len(told):
            counts = f"{order['attempts']} attempts, {len(written.of(name))} executions, {len(told)} claims"
            yield Violation("I5", name, f"it has {counts}")
        charged = order["attempts"] - order["forgiven"]
        if not 0 <= charged <= order["max_attempts"]:
            yield Violation("I5", name, f"{charged} attempts are charged, of {order['max_attempts']} at most")


# ── I6: who comes first ──────────────────────────────────────────────────────────────────────────────────────────────


def _claims(scene: Scene, written: Written) -> Iterator[Violation]:
    """Among orders that were never claimed before, which were ready for certain: a better one is not passed over.

    Better: of the same type, queue, repository, permission and specializations, with a higher priority, or as high and
    submitted earlier. What was given back, delayed or blocked comes in its own order and is not judged.
    """
    events = sorted((event for several in written.events.values() for event in several), key=lambda one: one["seq"])
    ready: dict[tuple[Any, ...], dict[str, tuple[int, int]]] = defaultdict(dict)
    for event in events:
        order = written.orders.get(event["work_order_id"])
        if order is None:
            continue
        kind = tuple(order[name] for name in ("type", "queue", "repository", "permission", "requires"))
        rank = (-order["priority"], order["created_at"])
        if event["kind"] == "task.submitted":
            if not written.tasks.get(order["task_id"], {}).get("asked", {}).get("needs"):
                ready[kind][order["id"]] = rank
        elif event["kind"] in {"order.claimed", "order.cancelled", "order.failed"}:
            was_new = ready[kind].pop(order["id"], None) is not None
            better = [other for other, its in ready[kind].items() if its < rank]
            if event["kind"] == "order.claimed" and was_new and better:
                yield Violation("I6", f"{order['id']}, event {event['seq']}", f"{better[0]} should have gone first")


# ── I4: what left ────────────────────────────────────────────────────────────────────────────────────────────────────


async def _deliveries(written: Written, url: str, path: Path) -> list[Violation]:
    orders = [order for order in written.orders.values() if order["repository"] == url]
    named: dict[str, list[str]] = defaultdict(list)
    listing = await git("log", "--all", "--format=%H %(trailers:key=AgentVine-Task,valueonly,separator=%x20)", cwd=path)
    for line in listing.splitlines():
        sha, *tasks = line.split()
        for task in tasks:
            named[task].append(sha)
    refs = await git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", cwd=path)
    heads = {line.partition(" ")[0]: line.partition(" ")[2] for line in refs.splitlines()}
    found = [
        Violation("I4", task, f"{path} has commits of a task that nobody submitted")
        for task in named
        if task not in written.tasks
    ]
    for order in orders:
        found += await _delivery(written, order, named[order["task_id"]], heads, path)
    return found


async def _delivery(
    written: Written, order: dict[str, Any], commits: list[str], heads: Mapping[str, str], path: Path
) -> list[Violation]:
    name = order["id"]
    own = [ref for ref in heads if f"/{order['task_id'][-8:]}" in ref]
    found = []
    if len(commits) > 1 or len(own) > 1:
        found.append(Violation("I4", name, f"its work is there {len(commits)} times, on {own or 'shared branches'}"))
    done = [one for one in written.of(name) if one["outcome"] == "completed"]
    if not done or done[0]["delivery"] is None:
        return found
    delivery = json.loads(done[0]["delivery"])
    sha, branch = delivery["new_sha"], f"refs/heads/{delivery['branch']}"
    if delivery["kind"] in {"branch", "pull_request"}:
        if heads.get(branch) != sha:
            found.append(Violation("I4", name, f"{branch} is at {heads.get(branch)}, and {sha} is recorded"))
    elif delivery["kind"] == "push" and not await _contains(path, heads.get(branch), sha):
        found.append(Violation("I4", name, f"{branch}, at {heads.get(branch)}, does not hold the recorded {sha}"))
    if delivery["kind"] != "report" and sha not in commits:
        found.append(Violation("I4", name, f"the recorded {sha} does not name its task; {commits} do"))
    return found


def _pull_requests(written: Written, url: str, pulls: Sequence[PullSeen]) -> Iterator[Violation]:
    """One for each order that says so, none for the others; which is whose stands in a comment of its text."""
    for name, order in written.orders.items():
        if order["repository"] != url:
            continue
        own = [pull for pull in pulls if name in pull.body or f"/{order['task_id'][-8:]}" in pull.branch]
        if len(own) > 1:
            yield Violation("I4", name, f"it has {len(own)} pull requests: {own}")
        done = [one for one in written.of(name) if one["outcome"] == "completed" and one["delivery"] is not None]
        delivery = json.loads(done[0]["delivery"]) if done else {}
        if delivery.get("kind") == "pull_request" and [pull.branch for pull in own] != [delivery["branch"]]:
            yield Violation("I4", name, f"{delivery['branch']} is recorded, and {own} are its pull requests")


async def _contains(path: Path, head: str | None, sha: str) -> bool:
    if head is None:
        return False
    return sha in (await git("rev-list", head, cwd=path)).split()


# ── I7: what remains ─────────────────────────────────────────────────────────────────────────────────────────────────


def _leftovers(scene: Scene) -> Iterator[Violation]:
    for pid, line in processes(scene.marks).items():
        if pid not in scene.spared:
            yield Violation("I7", f"process {pid}", f"it is still there: {line}")
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        marked = any(mark in line for mark in scene.marks if mark.startswith("/"))
        if marked and line.split()[4] not in scene.mounts:
            yield Violation("I7", "mounts", line)
    for work in scene.workspaces:
        for entry in sorted((work / "executions").glob("*")):
            yield Violation("I7", str(entry), "what an execution used is still there")
    for folder in scene.temporary:
        for entry in sorted(folder.glob("*")):
            yield Violation("I7", str(entry), "a temporary file is still there")


def processes(marks: Iterable[str]) -> dict[int, str]:
    """Living processes other than this one in whose command line, directory or environment one of the marks stands."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if re.search(r"^State:\s+[ZX]", (entry / "status").read_text(encoding="utf-8"), re.MULTILINE):
                continue
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            seen = line + str((entry / "cwd").readlink()) + (entry / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if any(mark in seen for mark in marks):
            found[int(entry.name)] = line
    return found


# ── I8, I9: what was told ────────────────────────────────────────────────────────────────────────────────────────────


async def _secrets(scene: Scene, written: Written) -> list[Violation]:
    texts = {"the database": written.everything}
    texts |= {str(log): log.read_text(encoding="utf-8", errors="replace") for log in scene.logs}
    for path in scene.remotes.values():
        texts[str(path)] = await git("log", "--all", "--patch", cwd=path)
    return [
        Violation("I8", where, f"it holds the secret {secret[:6]}…")
        for where, text in texts.items()
        for secret in scene.secrets
        if secret in text
    ]


_FAULT = re.compile(r'"event": "(unexpected|round failed|a loop broke|an order was dropped)"')


def _faults(scene: Scene) -> Iterator[Violation]:
    for status, times in scene.statuses.items():
        if status >= 500 and status != 503:
            yield Violation("I9", f"status {status}", f"it was answered {times} times")
    for log in scene.logs:
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if _FAULT.search(line):
                yield Violation("I9", log.name, line[:2000])
