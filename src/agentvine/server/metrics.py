"""What servers count, for Prometheus. Nothing is global: each server has its own registry.

Where the variable PROMETHEUS_MULTIPROC_DIR names a folder, the server processes that share it count together: the
library then keeps the numbers there (prometheus_client's multiprocess mode), and each process tells those of all. The
library reads the variable when it is imported. It writes through mapped pages, and where a disk has no room for such a
page the kernel ends the process (SIGBUS, mmap(2)): the folder has to be in memory, as those below /dev/shm are.
"""

import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from agentvine.domain.retry import FailureReason
from agentvine.kit.configuration import ConfigurationError
from agentvine.kit.logs import logger
from agentvine.wire.messages import QueueReport
from agentvine.wire.routes import ROUTES, Route

CONTENT_TYPE = CONTENT_TYPE_LATEST
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_FOLDER = "PROMETHEUS_MULTIPROC_DIR has to name a folder that is there, can be written to, and is for nothing else"
_MOST_FILES_OF_DEAD = 200
"""A server that ended leaves up to three, of 0.3 MB in all; each makes every look slower."""
_UNREADABLE = (FileNotFoundError, struct.error, RuntimeError, ValueError)
"""What the library raises for a file that is not whole: a server that starts makes an empty one first, and one that
starts after many removes what the dead have left."""
_STATES = ("pending", "blocked", "delayed", "running", "waiting")
_log = logger("metrics")


class Metrics:
    """What this server counted since it started, or all servers that share a folder since that was empty.

    Raises `ConfigurationError` if PROMETHEUS_MULTIPROC_DIR is set, but names no folder.
    """

    def __init__(self) -> None:
        self._counted = CollectorRegistry()
        alone = values.ValueClass is values.MutexValue
        if not alone:
            self._counted.register(_together())
        registry = self._counted if alone else None
        latency = Histogram(
            "agentvine_http_request_seconds",
            "Time to answer a request; not what a long poll waited for something to happen, and no event streams.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._latency: Mapping[Route, Histogram] = {route: latency.labels(route.method, route.full) for route in ROUTES}
        self._refused = Counter(
            "agentvine_http_refused", "Requests answered with an error status.", ("status",), registry=registry
        )
        self.claims = Counter("agentvine_claims", "Work orders given to a worker.", registry=registry)
        self.completions = Counter("agentvine_completions", "Completions accepted.", registry=registry)
        self._failures = Counter("agentvine_failures", "Failures reported by workers.", ("reason",), registry=registry)
        self.waiting = Gauge(
            "agentvine_waiting_requests",
            "Long polls and event streams that are open.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.waiting.set(0)  # where a dead process had the same id, the library takes up its number

    def answered(self, route: Route, seconds: float) -> None:
        """A request was answered, well or not."""
        self._latency[route].observe(seconds)

    def refused(self, status: int) -> None:
        self._refused.labels(status).inc()

    def failed(self, reason: FailureReason) -> None:
        self._failures.labels(reason.value).inc()

    def exposition(self, queue: QueueReport) -> bytes:
        """Everything in Prometheus' text format, with the queue as it is now."""
        return generate_latest(self._counted) + generate_latest(_Queue(queue))


class _Queue(Collector):
    """The gauges of the queue, which stand in the database and are no process' own."""

    def __init__(self, report: QueueReport) -> None:
        self._report = report

    def collect(self) -> Iterator[Metric]:
        orders = GaugeMetricFamily("agentvine_work_orders", "Live work orders.", labels=("queue", "type", "state"))
        oldest = GaugeMetricFamily(
            "agentvine_oldest_pending_seconds",
            "How long the oldest claimable order has been waiting.",
            labels=("queue", "type"),
        )
        for line in self._report.lines:
            for state in _STATES:
                orders.add_metric((line.queue, line.type.value, state), getattr(line, state))
            oldest.add_metric((line.queue, line.type.value), line.oldest_pending_seconds or 0.0)
        yield orders
        yield oldest


class _Together(MultiProcessCollector):
    """The sums over all processes; what only those that live count for, without the dead ones."""

    def forget_the_dead(self) -> None:
        """Let the sums begin anew if so many servers ended that their files fill the memory."""
        dead = [file for file in Path(self._path).glob("*.db") if not _lives(_process(file))]
        if len(dead) > _MOST_FILES_OF_DEAD:
            for file in dead:
                file.unlink(missing_ok=True)

    def collect(self) -> Iterable[Metric]:
        for file in Path(self._path).glob("gauge_live*.db"):  # the library ends their names with _PID
            process = _process(file)
            if not _lives(process):
                with suppress(FileNotFoundError):  # another process was faster
                    mark_process_dead(process, self._path)  # type: ignore[no-untyped-call]
        try:
            return super().collect()  # type: ignore[no-untyped-call, no-any-return]
        except _UNREADABLE:
            return self._merged([file for file in Path(self._path).glob("*.db") if self._is_readable(file)])

    def _merged(self, files: Sequence[Path]) -> Iterable[Metric]:
        return self.merge(list(map(str, files)))  # type: ignore[no-untyped-call, no-any-return]

    def _is_readable(self, file: Path) -> bool:
        try:
            if file.stat().st_size == 0:
                return False
            self._merged([file])
        except FileNotFoundError:
            return False
        except _UNREADABLE as error:
            _log.warning("what a server counted cannot be read", file=file.name, why=repr(error))
            return False
        return True


def _process(file: Path) -> int:
    return int(file.stem.rpartition("_")[2])


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)  # a signal that only asks (kill(2))
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def _together() -> Collector:
    try:
        together = _Together(None)  # type: ignore[no-untyped-call]
        together.forget_the_dead()
    except (ValueError, OSError) as error:
        raise ConfigurationError(_FOLDER) from error
    if not os.access(together._path, os.W_OK):  # as the library calls it
        raise ConfigurationError(_FOLDER)
    return together
