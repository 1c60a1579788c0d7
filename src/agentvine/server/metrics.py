"""What this server process counts, for Prometheus. Each server has its own registry: nothing is global."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from agentvine.domain.retry import FailureReason
from agentvine.wire.messages import QueueReport
from agentvine.wire.routes import ROUTES, Route

CONTENT_TYPE = CONTENT_TYPE_LATEST
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_STATES = ("pending", "blocked", "delayed", "running", "waiting")


class Metrics:
    """Counters tell what this process answered since it started; the queue's gauges are set when they are asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        latency = Histogram(
            "agentvine_http_request_seconds",
            "Time to answer a request; long polls that had to wait and event streams are not in it.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._latency: Mapping[Route, Histogram] = {route: latency.labels(route.method, route.full) for route in ROUTES}
        self._refused = Counter(
            "agentvine_http_refused", "Requests answered with an error status.", ("status",), registry=self.registry
        )
        self.claims = Counter("agentvine_claims", "Work orders given to a worker.", registry=self.registry)
        self.completions = Counter("agentvine_completions", "Completions accepted.", registry=self.registry)
        self._failures = Counter(
            "agentvine_failures", "Failures reported by workers.", ("reason",), registry=self.registry
        )
        self._orders = Gauge(
            "agentvine_work_orders", "Live work orders.", ("queue", "type", "state"), registry=self.registry
        )
        self._oldest = Gauge(
            "agentvine_oldest_pending_seconds",
            "How long the oldest claimable order has been waiting.",
            ("queue", "type"),
            registry=self.registry,
        )

        self._waiting = Gauge(
            "agentvine_waiting_requests", "Long polls and event streams that are open.", registry=self.registry
        )

    def answered(self, route: Route, seconds: float) -> None:
        """A request was answered, well or not."""
        self._latency[route].observe(seconds)

    def refused(self, status: int) -> None:
        self._refused.labels(status).inc()

    def failed(self, reason: FailureReason) -> None:
        self._failures.labels(reason.value).inc()

    def exposition(self, queue: QueueReport, waiting: int) -> bytes:
        """Everything in Prometheus' text format, with the queue as it is now and so many waiting requests."""
        self._waiting.set(waiting)
        self._orders.clear()
        self._oldest.clear()
        for line in queue.lines:
            for state in _STATES:
                self._orders.labels(line.queue, line.type.value, state).set(getattr(line, state))
            self._oldest.labels(line.queue, line.type.value).set(line.oldest_pending_seconds or 0.0)
        return generate_latest(self.registry)
