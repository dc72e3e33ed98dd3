"""What Prometheus asks for."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counts and times of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        ProcessCollector(registry=own)
        what = "Requests by what was asked and how it ended."
        self.requests = Counter("ftkit_requests", what, ("path", "status"), registry=own)
        what = "Time of requests, from their first byte."
        self.seconds = Histogram("ftkit_request_seconds", what, ("path",), buckets=_SECONDS, registry=own)
        self.open = Gauge("ftkit_open_requests", "Requests being read, waiting or answered.", registry=own)
        self.rows = Counter("ftkit_rows", "Rows answered.", registry=own)
        self.batches = Histogram("ftkit_batch_rows", "Rows answered together.", buckets=_ROWS, registry=own)
        self.batch_seconds = Histogram("ftkit_batch_seconds", "Time of batches.", buckets=_SECONDS, registry=own)
        self.queue = Gauge("ftkit_queue_rows", "Rows that wait.", registry=own)

    def batch(self, rows: int, seconds: float) -> None:
        """A batch was answered."""
        self.rows.inc(rows)
        self.batches.observe(rows)
        self.batch_seconds.observe(seconds)

    def watch_queue(self, waiting: Callable[[], float]) -> None:
        """Say whom to ask for the length of the queue."""
        self.queue.set_function(waiting)

    def text(self) -> bytes:
        """All of them, in Prometheus's text format."""
        return generate_latest(self.registry)
