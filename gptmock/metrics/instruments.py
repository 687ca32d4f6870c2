"""
Every metric of a server: its name, its labels and its buckets.

All label values are of closed sets, so that no client can make a server grow: models are those of the catalogue, else
``other``; outcomes, kinds and operations are fixed in our code; keys and accounts are ids that the operator has made.
For the names see https://prometheus.io/docs/practices/naming/.
"""

from __future__ import annotations

import functools
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

OUTCOMES = (
    "ok",
    "client_error",
    "rate_limited",
    "client_gone",
    "truncated",
    "upstream_error",
    "unavailable",
    "internal_error",
)
OTHER = "other"
"""In place of a label value that is not of its closed set."""
_TURN_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0)
_FIRST_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)
_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_STORE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5)


_Metric = TypeVar("_Metric", bound=MetricWrapperBase)


@functools.lru_cache(maxsize=4096)
def series(metric: _Metric, *labels: str) -> _Metric:
    """``metric.labels(*labels)``, which costs five times as much as to count."""
    return metric.labels(*labels)


class Instruments:
    """The metrics that a worker counts, in files that all workers of its server add up."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.turns = self._counter("turns", "Model calls that have ended.", "dialect", "model", "outcome")
        self.tokens = self._counter(
            "tokens", "Tokens of model calls; input includes cached, output includes reasoning.", "model", "kind"
        )
        self.key_tokens = self._counter("key_tokens", "Input and output tokens by client key.", "key")
        self.key_turns = self._counter("key_turns", "Model calls by client key.", "key", "outcome")
        self.turn_seconds = self._histogram("turn_seconds", "Duration of a model call.", _TURN_BUCKETS, "dialect")
        self.first_token_seconds = self._histogram(
            "time_to_first_token_seconds", "From the call to the upstream's first content.", _FIRST_BUCKETS, "dialect"
        )
        self.chunk_delay_seconds = self._histogram(
            "chunk_delay_seconds",
            "Lag of the event loop of a worker, by which each chunk is delayed; sampled four times a second.",
            _LAG_BUCKETS,
        )
        self.upstream_responses = self._counter("upstream_responses", "Answers of the backend.", "status")
        self.upstream_websocket = self._counter(
            "upstream_websocket_turns",
            "Model calls meant for a WebSocket to the backend: sent whole or incremental, or why they went by HTTP.",
            "sent",
        )
        self.upstream_retries = self._counter("upstream_retries", "Repeated tries of a model call.")
        self.handovers = self._counter("account_handovers", "Model calls that went on to another account.")
        self.parked = self._counter("account_parked", "Accounts that had used up a window.", "account")
        self.refreshes = self._counter("refreshes", "Refreshes of tokens by their result.", "account", "result")
        self.store_seconds = self._histogram(
            "store_seconds", "Duration of a call of the store.", _STORE_BUCKETS, "operation"
        )
        self.store_errors = self._counter("store_errors", "Calls that the store did not answer.", "operation")
        self.worker_starts = self._counter("worker_starts", "Workers started; more than there are: restarts.")
        self.workers = self._gauge("workers", "Workers that serve.")
        self.streams = self._gauge("open_streams", "Streams to clients.")
        self.turns_open = self._gauge("open_turns", "Model calls under way.")
        self.key_turns_open = self._gauge(
            "key_open_turns", "Model calls under way by client keys that have limits; each holds a place.", "key"
        )
        self.connections = self._gauge("open_connections", "Connections of clients.")
        self.store_available = self._gauge(
            "store_available", "1 while every worker has the store, 0 while a circuit breaker is open.", mode="livemin"
        )
        self.unauthenticated = self._gauge(
            "unauthenticated",
            "1 if other machines can use this server without a client key (--allow-unauthenticated), else 0.",
            mode="livemax",
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"gptmock_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"gptmock_{name}", text, labels, buckets=buckets, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str, mode: str = "livesum") -> Gauge:
        return Gauge(f"gptmock_{name}", text, labels, multiprocess_mode=mode, registry=self._registry)  # type: ignore[arg-type]
