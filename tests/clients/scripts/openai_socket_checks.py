"""The openai library's WebSocket of the Responses API. Numbers are those of the conformance checks."""

from __future__ import annotations

from typing import Any

from checking import GREETING, MODEL, Bench, main
from openai import AsyncOpenAI, OpenAI


def until_done(connection: Any) -> Any:
    """Read the events of a turn; returns its last one."""
    while True:
        event = connection.recv()
        if event.type in ("response.completed", "response.failed", "error"):
            return event


def check_connect(bench: Bench) -> None:
    """324: turns on one connection, of which the second continues the first."""
    client = OpenAI(base_url=bench.base_url, api_key=bench.api_key, max_retries=0)
    with client.responses.connect() as connection:
        connection.response.create(model=MODEL, input="scene:text", store=False)
        first = until_done(connection)
        assert first.response.output_text == GREETING, first
        connection.response.create(model=MODEL, input="and now?", store=False, previous_response_id=first.response.id)
        second = until_done(connection)
        assert second.response.output_text == "You said: and now?", second
        connection.send({"type": "response.create", "model": MODEL, "input": "scene:text", "stream_id": "a"})
        assert getattr(until_done(connection), "stream_id", None) == "a"
        connection.response.create(model=MODEL, input="hi", previous_response_id="resp_unknown")
        error = until_done(connection)
        assert (error.type, error.status) == ("error", 400), error
    assert len(bench.bodies()[1]["input"]) == 3


async def check_connect_async(bench: Bench) -> None:
    """324: asynchronous."""
    client = AsyncOpenAI(base_url=bench.base_url, api_key=bench.api_key, max_retries=0)
    async with client.responses.connect() as connection:
        await connection.response.create(model=MODEL, input="scene:tools2")
        names = [
            event.item.name
            async for event in _until_done(connection)
            if event.type == "response.output_item.done" and event.item.type == "function_call"
        ]
        assert len(names) == 2, names


async def _until_done(connection: Any) -> Any:
    async for event in connection:
        yield event
        if event.type == "response.completed":
            return


if __name__ == "__main__":
    main(globals())
