"""
The plain build: what one writes in an afternoon with Sanic, stock httpx, ``aiter_lines`` and ``json``.

FROZEN. It is a yardstick beside the benchmark: figures of different days are compared through it, so it is not
improved, whatever the server learns. It has no accounts, keys, store, validation, heartbeat, deadlines or log.

    python -m tests.benchmarks.plain UPSTREAM_URL PORT
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import httpx
from sanic import HTTPResponse, Request, Sanic
from sanic import json as json_response

App: TypeAlias = Sanic[Any, Any]
Json = dict[str, Any]


def create_app(upstream_url: str) -> App:
    """Chat completions, streamed and collected."""
    app: App = Sanic("plain", configure_logging=False)

    @app.before_server_start
    async def open_client(app: App) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        app.ctx.client = httpx.AsyncClient(timeout=None, limits=limits, trust_env=False)  # noqa: S113

    @app.after_server_stop
    async def close_client(app: App) -> None:
        await app.ctx.client.aclose()

    @app.get("/readyz")
    async def ready(_request: Request) -> HTTPResponse:
        return json_response({})

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> HTTPResponse | None:
        asked: Json = request.json
        events = _events(request.app.ctx.client, f"{upstream_url}/codex/responses", _upstream_body(asked))
        if not asked.get("stream"):
            return json_response(await _collected(asked, events))
        response = await request.respond(content_type="text/event-stream")
        assert response is not None
        async for chunk in _chunks(asked, events):
            await response.send(f"data: {json.dumps(chunk)}\n\n")
        await response.send("data: [DONE]\n\n")
        await response.eof()
        return None

    return app


def _upstream_body(asked: Json) -> Json:
    messages = asked["messages"]
    body: Json = {
        "model": asked["model"],
        "instructions": "\n".join(message["content"] for message in messages if message["role"] == "system"),
        "input": [
            {
                "type": "message",
                "role": message["role"],
                "content": [{"type": "input_text", "text": message["content"]}],
            }
            for message in messages
            if message["role"] != "system"
        ],
        "tools": [{"type": "function", **tool["function"]} for tool in asked.get("tools", [])],
        "stream": True,
        "store": False,
    }
    if asked.get("response_format", {}).get("type") == "json_schema":
        body["text"] = {"format": {"type": "json_schema", **asked["response_format"]["json_schema"]}}
    return body


async def _events(client: httpx.AsyncClient, url: str, body: Json) -> AsyncIterator[Json]:
    headers = {"authorization": "Bearer token", "accept": "text/event-stream"}
    async with client.stream("POST", url, json=body, headers=headers) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                yield json.loads(line[6:])


async def _chunks(asked: Json, events: AsyncIterator[Json]) -> AsyncIterator[Json]:
    reply_id, created, finish = f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), "stop"

    def chunk(delta: Json, finish_reason: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        head = {"id": reply_id, "object": "chat.completion.chunk", "created": created, "model": asked["model"]}
        return {**head, "choices": [choice]}

    yield chunk({"role": "assistant", "content": ""})
    async for event in events:
        kind = event["type"]
        if kind == "response.output_text.delta":
            yield chunk({"content": event["delta"]})
        elif kind == "response.reasoning_summary_text.delta":
            yield chunk({"reasoning_content": event["delta"]})
        elif kind == "response.output_item.added" and event["item"]["type"] == "function_call":
            finish, item = "tool_calls", event["item"]
            function = {"name": item["name"], "arguments": ""}
            yield chunk({"tool_calls": [{"index": 0, "id": item["call_id"], "type": "function", "function": function}]})
        elif kind == "response.function_call_arguments.delta":
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": event["delta"]}}]})
        elif kind == "response.completed":
            yield chunk({}, finish)


async def _collected(asked: Json, events: AsyncIterator[Json]) -> Json:
    text, usage = "", {}
    async for event in events:
        if event["type"] == "response.output_text.delta":
            text += event["delta"]
        elif event["type"] == "response.completed":
            usage = event["response"]["usage"]
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion", "created": int(time.time())}
    return {**head, "model": asked["model"], "choices": [choice], "usage": usage}


def main() -> None:
    """Serve in this process until it is stopped."""
    upstream_url, port = sys.argv[1:]
    app = create_app(upstream_url)
    app.config.RESPONSE_TIMEOUT = 3600
    # With Sanic's own backlog of 100 the kernel resets connections of a burst, and nothing could be compared.
    app.run("127.0.0.1", int(port), single_process=True, motd=False, access_log=False, backlog=4096)


if __name__ == "__main__":
    main()
