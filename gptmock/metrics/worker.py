"""The metrics of one worker, and the text in which any worker tells those of its server."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import prometheus_client
from prometheus_client import CollectorRegistry, generate_latest, values
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from gptmock.errors import StoreUnavailable
from gptmock.metrics.folder import WorkerPlace, take_place
from gptmock.metrics.instruments import Instruments, series

log = logging.getLogger("gptmock.server")

SAMPLE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Reading:
    """One value that is read when somebody asks: not counted, since the store knows it."""

    name: str
    """Without the prefix ``gptmock_``."""
    text: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Load:
    """What a worker is doing now."""

    turns: int
    streams: int
    connections: int
    has_store: bool
    key_turns: Mapping[str, int]
    """Turns by the id of their client key, if it has limits."""


class WorkerMetrics:
    """
    The metrics of this process; there is one, since ``prometheus_client`` keeps its files in the process.

    Args:
        place: this worker's place in the folder of its server; ``None`` to keep the values in memory.
    """

    def __init__(self, place: WorkerPlace | None) -> None:
        self._place = place
        self._registry = CollectorRegistry()
        values.ValueClass = _value_class(place)
        self.instruments = Instruments(self._registry)
        self.instruments.worker_starts.inc()
        self.instruments.workers.set(1)

    def is_first(self) -> bool:
        """
        Whether this worker does what one of a server is to do: the living one in the lowest place. Ask each time: in a
        reload the new workers start while the old ones still have the lower places.
        """
        try:
            return self._place is None or self._place.is_lowest()
        except OSError:
            # Such as no free file descriptor: unknown until the next time.
            return False

    async def sample(self, load: Callable[[], Load]) -> None:
        """Background task: note some times a second what the worker is doing, and how late its event loop is."""
        loop, to = asyncio.get_running_loop(), self.instruments
        keys: set[str] = set()
        while True:
            due = loop.time() + SAMPLE_SECONDS
            await asyncio.sleep(SAMPLE_SECONDS)
            to.chunk_delay_seconds.observe(max(0.0, loop.time() - due))
            now = load()
            to.turns_open.set(now.turns)
            to.streams.set(now.streams)
            to.connections.set(now.connections)
            to.store_available.set(now.has_store)
            keys |= now.key_turns.keys()
            for key in keys:
                series(to.key_turns_open, key).set(now.key_turns.get(key, 0))

    def store_called(self, operation: str, seconds: float, error: StoreUnavailable | None) -> None:
        """Count a call of the store."""
        series(self.instruments.store_seconds, operation).observe(seconds)
        if error is not None:
            series(self.instruments.store_errors, operation).inc()

    def upstream_answered(self, status: int) -> None:
        """Count an answer of the backend."""
        series(self.instruments.upstream_responses, str(status)).inc()

    def websocket_turn(self, sent: str) -> None:
        """Count how a model call that was meant for a WebSocket was sent."""
        series(self.instruments.upstream_websocket, sent).inc()

    def text(self, readings: Iterable[Reading]) -> bytes:
        """The metrics of all workers of this server, and ``readings``, in the text format."""
        read = CollectorRegistry()
        read.register(_Readings(readings))
        if self._place is None:
            return generate_latest(self._registry) + generate_latest(read)
        self._place.drop_gauges_of_the_dead()
        MultiProcessCollector(read, str(self._place.folder))  # type: ignore[no-untyped-call]
        return generate_latest(read)


class Exposition:
    """
    Answers scrapes.

    Args:
        metrics: of this worker.
        readings: what only the store knows; an error leaves the rest as it is.
        clock: monotonic seconds.
    """

    _KEPT_SECONDS = 1.0

    def __init__(
        self,
        metrics: WorkerMetrics,
        readings: Callable[[], Awaitable[Sequence[Reading]]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._readings = readings
        self._clock = clock
        self._kept: Sequence[Reading] = ()
        self._read_at = float("-inf")

    async def __call__(self) -> bytes:
        """The text of one scrape; the store is read once a second at most."""
        if self._clock() - self._read_at >= self._KEPT_SECONDS:
            self._kept, self._read_at = await self._readings(), self._clock()
        return self._metrics.text(self._kept)


def open_metrics(folder: Path | None) -> WorkerMetrics:
    """
    The metrics of this worker.

    Args:
        folder: of its server, made if there is none; ``None`` for a worker that is alone, whose counters end with it.
    """
    if folder is not None:
        try:
            return WorkerMetrics(take_place(folder))
        except OSError as error:
            log.warning("metrics.alone", extra={"reason": str(error)})
    return WorkerMetrics(None)


def _value_class(place: WorkerPlace | None) -> type:
    """The library's class of values, as its documentation says for processes that are not to be named by their pid."""
    if place is None:
        return values.MutexValue
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(place.folder)
    return values.MultiProcessValue(process_identifier=lambda: place.number)  # type: ignore[no-untyped-call, no-any-return]


class _Readings(prometheus_client.registry.Collector):
    def __init__(self, readings: Iterable[Reading]) -> None:
        self._readings = readings

    def collect(self) -> Iterable[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for one in self._readings:
            family = families.get(one.name)
            if family is None:
                family = GaugeMetricFamily(f"gptmock_{one.name}", one.text, labels=list(one.labels))
                families[one.name] = family
            family.add_metric(list(one.labels.values()), one.value)
        return families.values()
