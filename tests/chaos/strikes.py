"""How each kind of fault is done to a running fleet."""

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from random import Random
from threading import Event

import psycopg

from agentvine.broker.base import BrokerUnavailable
from agentvine.kit.doorbell import pause
from agentvine.testing.forges.server import Fault as ForgeFault
from agentvine.testing.git_repository import git
from agentvine.testing.git_server import Fault as GitFault
from agentvine.testing.redis_wire import redis_command
from tests.chaos.clocks import set_ahead
from tests.chaos.disks import fill
from tests.chaos.faults import CLOCKS, Fault
from tests.chaos.fleet import CLAUDE, Fleet
from tests.chaos.history import processes
from tests.chaos.ledger import Ledger

_HOOK = "#!/bin/sh\necho 'this repository takes nothing today' >&2\nexit 1\n"
_TO_THE_NETWORK = {"replies lost": "lose", "requests repeated": "repeat", "network slow": "latency"}
_GIT = {"remote fails": GitFault.BROKEN, "remote loses replies": GitFault.CUT, "remote hangs": GitFault.SILENT}


class Strikes:
    """Does to a fleet what a schedule says."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._here = fleet.here
        self._broker = fleet.broker
        self._remotes = fleet.remotes
        self._random = Random(fleet.plan.seed ^ 0xBAD)
        self._one_restart = asyncio.Lock()
        self._one_clock = {kind: asyncio.Lock() for kind in CLOCKS}
        self._ways: dict[str, Callable[[Fault], Awaitable[None]]] = {
            "suspend a host": self._suspend,
            "freeze the server": self._freeze_a_server,
            **dict.fromkeys(CLOCKS, self._set_a_clock),
            "kill the broker": self._kill_the_broker,
            "flush the broker": self._flush,
            "broker out of reach": self._cut_the_wire,
            "broker slow": self._slow_the_wire,
            "broker half-answers": self._half_answer,
            "broker out of memory": self._fill_the_broker,
            "broker read-only": self._make_a_replica,
            "server out of reach": self._cut_the_api,
            "database locked": self._lock,
            "database restarted": self._restart_the_database,
            "database connections ended": self._end_connections,
            "server's disk full": self._fill_a_disk,
            "workers' disk full": self._fill_a_disk,
            "remote fails": self._spoil_the_remote,
            "remote loses replies": self._spoil_the_remote,
            "remote hangs": self._spoil_the_remote,
            "remote moved": self._move_the_remote,
            "remote rejects": self._refuse_pushes,
            "somebody pushes": self._push_something,
            "forge misbehaves": self._spoil_the_forge,
            **dict.fromkeys(_TO_THE_NETWORK, self._spoil_the_network),
        }

    async def strike(self, faults: Sequence[Fault]) -> None:
        """Let all faults happen at their times."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                await pause(max(fault.at - (time.monotonic() - began), 0.0))
                self._fleet.result.faults[fault.kind] += 1
                group.create_task(self._commit(fault))

    async def _commit(self, fault: Fault) -> None:
        if (way := self._ways.get(fault.kind)) is not None:
            await way(fault)
        elif fault.kind in {"kill the server", "failpoint in the server"}:
            number = fault.worker % self._fleet.plan.servers
            self._fleet.server_failpoints[number] = fault.failpoint
            self._fleet.kill(self._here.servers[number])
        else:
            self._to_a_worker(fault)

    # ── processes ────────────────────────────────────────────────────────────────────────────────────────────────

    def _to_a_worker(self, fault: Fault) -> None:
        name = f"w{fault.worker}" if fault.worker or not self._fleet.plan.claude or fault.seconds > 1.5 else CLAUDE
        worker = self._fleet.workers.get(name)
        if worker is None:
            return
        if fault.kind == "freeze a worker":
            worker.tell(signal.SIGSTOP)
        elif self._fleet.plan.spares(name):
            return
        elif fault.kind == "drain a worker":
            worker.tell(signal.SIGTERM)
        else:
            self._fleet.next_failpoint[name] = fault.failpoint
            self._fleet.kill(worker)

    async def _suspend(self, fault: Fault) -> None:
        """The machine of the workers sleeps: all that they started with them, all at once, past the lease or not."""
        workers = [worker for name, worker in self._fleet.workers.items() if name != CLAUDE]
        pids = [*(worker.pid for worker in workers), *processes((str(self._here.work),))]
        handles = list(_handles(pids))
        try:
            self._fleet.asleep |= {worker.pid for worker in workers}
            _tell(handles, signal.SIGSTOP)
            await pause(fault.seconds)
        finally:
            _tell(handles, signal.SIGCONT)
            self._fleet.asleep -= {worker.pid for worker in workers}
            for handle in handles:
                os.close(handle)

    async def _freeze_a_server(self, fault: Fault) -> None:
        """It may be in the middle of a commit."""
        server = self._here.servers[fault.worker % self._fleet.plan.servers]
        server.tell(signal.SIGSTOP)
        await pause(fault.seconds)
        server.tell(signal.SIGCONT)

    async def _set_a_clock(self, fault: Fault) -> None:
        """Forward or back at one moment, and after a while right again: two jumps."""
        async with self._one_clock[fault.kind]:
            set_ahead(self._fleet.clocks[fault.kind], fault.ahead)
            self._fleet.wrong += 1
            await pause(fault.seconds)
            set_ahead(self._fleet.clocks[fault.kind], 0.0)
            self._fleet.wrong -= 1

    # ── the broker ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _kill_the_broker(self, fault: Fault) -> None:
        self._fleet.result.kills += 1
        await self._broker._end()
        await pause(fault.seconds)
        await self._broker.__aenter__()

    async def _flush(self, fault: Fault) -> None:
        await self._order("FLUSHALL")

    async def _fill_the_broker(self, fault: Fault) -> None:
        """It uses more than it may, evicts nothing, and refuses whatever is written."""
        await self._order("CONFIG", "SET", "maxmemory", "100kb")
        await pause(fault.seconds)
        await self._order("CONFIG", "SET", "maxmemory", "64mb")

    async def _make_a_replica(self, fault: Fault) -> None:
        """Of a server that is not there: it can be read, and refuses whatever is written."""
        await self._order("REPLICAOF", "127.0.0.1", "9")
        await pause(fault.seconds)
        await self._order("REPLICAOF", "NO", "ONE")

    async def _order(self, *words: str) -> None:
        with suppress(OSError, RuntimeError, BrokerUnavailable):  # it is dead at the moment, by another fault
            await redis_command(self._broker.url, *words)

    async def _cut_the_wire(self, fault: Fault) -> None:
        self._fleet.wire.cut_off = True
        await self._fleet.wire.break_links()
        await pause(fault.seconds)
        self._fleet.wire.cut_off = False

    async def _slow_the_wire(self, fault: Fault) -> None:
        self._fleet.wire.latency = 0.5
        await pause(fault.seconds)
        self._fleet.wire.latency = 0.0

    async def _half_answer(self, fault: Fault) -> None:
        self._fleet.wire.halve = 0.3
        await pause(fault.seconds)
        self._fleet.wire.halve = 0.0

    # ── the network, the database ────────────────────────────────────────────────────────────────────────────────

    async def _cut_the_api(self, fault: Fault) -> None:
        self._fleet.api.cut_off = True
        await self._fleet.api.break_links()
        await pause(fault.seconds)
        self._fleet.api.cut_off = False

    async def _spoil_the_network(self, fault: Fault) -> None:
        name = _TO_THE_NETWORK[fault.kind]
        setattr(self._fleet.api, name, 0.4)
        await pause(fault.seconds)
        setattr(self._fleet.api, name, 0.0)

    async def _lock(self, fault: Fault) -> None:
        await asyncio.to_thread(_hold_the_lock, self._here.ledger, fault.seconds)

    async def _restart_the_database(self, fault: Fault) -> None:
        """As by its operator, or as if it had crashed."""
        assert self._here.databases is not None
        async with self._one_restart:
            await self._here.databases.restart(fault.seconds / 2, politely=self._random.random() < 0.5)

    async def _end_connections(self, fault: Fault) -> None:
        assert self._here.databases is not None
        await asyncio.to_thread(self._here.databases.end_connections)

    async def _fill_a_disk(self, fault: Fault) -> None:
        await fill(self._here.data if fault.kind.startswith("server") else self._here.work, fault.seconds)

    # ── the remote ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _spoil_the_remote(self, fault: Fault) -> None:
        self._remotes.fault = _GIT[fault.kind]
        await pause(fault.seconds)
        self._remotes.fault = None

    async def _move_the_remote(self, fault: Fault) -> None:
        """Half of the time whoever asks is sent on, else it is said not to be there."""
        if self._random.random() < 0.5:
            self._remotes.redirect = self._fleet.elsewhere
        else:
            self._remotes.fault = GitFault.MISSING
        await pause(fault.seconds)
        self._remotes.redirect, self._remotes.fault = None, None

    async def _refuse_pushes(self, fault: Fault) -> None:
        hook = self._here.remote / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(_HOOK)
        hook.chmod(0o755)
        await pause(fault.seconds)
        hook.unlink(missing_ok=True)

    async def _spoil_the_forge(self, fault: Fault) -> None:
        """Its next calls go wrong, each in one of the ways in which they can."""
        assert self._here.forge is not None
        forge = self._here.forge.forge
        first = len(forge.calls)
        forge.faults = {first + number: self._random.choice(list(ForgeFault)) for number in range(4)}

    async def _push_something(self, fault: Fault) -> None:
        """A person's commit on main."""
        remote, name = self._here.remote, f"person-{self._random.getrandbits(32):08x}"
        tree = await git("commit-tree", "main^{tree}", "-p", "main", "-m", f"chore: {name}", cwd=remote)
        with suppress(AssertionError):  # a worker was faster, or the remote refuses
            await git("push", "--quiet", str(remote), f"{tree.strip()}:refs/heads/main", cwd=remote)


def _handles(pids: Sequence[int]) -> list[int]:
    found = []
    for pid in pids:
        with suppress(ProcessLookupError):
            found.append(os.pidfd_open(pid))
    return found


def _tell(handles: Sequence[int], number: signal.Signals) -> None:
    for handle in handles:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)


def _hold_the_lock(ledger: Ledger, seconds: float) -> None:
    """Hold what whoever writes has to wait for, as another process would that has gone astray."""
    if (file := ledger.file) is None:
        with suppress(psycopg.OperationalError), psycopg.connect(ledger.url) as other:
            other.execute("LOCK TABLE work_orders IN EXCLUSIVE MODE")
            Event().wait(seconds)
        return
    with closing(sqlite3.connect(file, timeout=5, isolation_level=None)) as one, suppress(sqlite3.OperationalError):
        one.execute("BEGIN IMMEDIATE")
        Event().wait(seconds)
        one.execute("ROLLBACK")
