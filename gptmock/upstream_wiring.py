"""Builds the client of the backend over the transport that the operator chose. Has no logic of its own."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gptmock.gateway.catalogue import CatalogWatch
from gptmock.metrics.worker import WorkerMetrics
from gptmock.protocol.request import ResponsesRequest
from gptmock.protocol.upstream import Upstream
from gptmock.settings import Settings
from gptmock.upstream.codex import CodexUpstream, UpstreamDeadlines
from gptmock.upstream.engine import Engine
from gptmock.upstream.identity import ClientIdentity
from gptmock.upstream.installation import OwnInstallation
from gptmock.upstream.websocket import WebSocketUpstream
from gptmock.upstream.websocket_choice import has_history, prefers_websockets


@asynccontextmanager
async def opened(  # noqa: PLR0913, PLR0917 - each is a thing of its own
    settings: Settings,
    engine: Engine,
    identity: ClientIdentity,
    deadlines: UpstreamDeadlines,
    metrics: WorkerMetrics,
    catalogs: CatalogWatch,
) -> AsyncIterator[Upstream]:
    """The backend for one worker; leaving the context closes its WebSockets."""
    http = CodexUpstream(
        engine,
        settings.upstream_url,
        identity=identity,
        deadlines=deadlines,
        clock=time.time,
        finds_runs=settings.fast_path,
        answered=metrics.upstream_answered,
        compresses=settings.upstream_compression == "zstd",
    )
    if settings.upstream_transport == "http":
        yield OwnInstallation(http)
        return

    def wants(request: ResponsesRequest) -> bool:
        if settings.upstream_transport == "websocket":
            return True
        spec = catalogs.current.get(request.model)
        return has_history(request) and prefers_websockets(spec.entry if spec is not None else None)

    by_socket = WebSocketUpstream(
        http,
        settings.upstream_url,
        identity=identity,
        deadlines=deadlines,
        clock=time.time,
        wants=wants,
        finds_runs=settings.fast_path,
        answered=metrics.upstream_answered,
        told=metrics.websocket_turn,
    )
    try:
        yield OwnInstallation(by_socket)
    finally:
        by_socket.close()
