"""A WebSocket client of ``/v1/responses``, on the client of ``websockets``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.steer.failed"})
PATIENCE_SECONDS = 60.0


@asynccontextmanager
async def opened(
    base_url: str, path: str = "/v1/responses", *, headers: Mapping[str, str] | None = None, **more: Any
) -> AsyncIterator[ClientConnection]:
    """A connection; ``base_url`` is that of HTTP."""
    url = base_url.replace("http", "ws", 1) + path
    more = {"max_size": None, "proxy": None, "close_timeout": 5.0, **more}
    async with connect(url, additional_headers=dict(headers or {}), **more) as connection:
        yield connection


def create(text: str | list[Any] = "Hello", *, model: str = "gpt-5.5", **members: Any) -> dict[str, Any]:
    """A ``response.create``."""
    return {"type": "response.create", "model": model, "input": text, **members}


async def said(connection: ClientConnection) -> dict[str, Any]:
    """The next message."""
    text = await asyncio.wait_for(connection.recv(), PATIENCE_SECONDS)
    assert isinstance(text, str)
    return dict(json.loads(text))


async def turn(connection: ClientConnection, message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Send a message and read to the end of its turn; there is no other turn meanwhile."""
    await connection.send(json.dumps(message))
    return await rest(connection)


async def rest(connection: ClientConnection) -> list[dict[str, Any]]:
    """Read to the end of a turn: an ``error`` of a turn that never began, or its terminal event."""
    events: list[dict[str, Any]] = []
    while True:
        events.append(await said(connection))
        begun = any(event["type"].startswith("response.") for event in events)
        if events[-1]["type"] in ENDS or (events[-1]["type"] == "error" and not begun):
            return events
