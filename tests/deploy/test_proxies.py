"""nginx, Caddy and HAProxy, with our examples, in front of the server: streams pass as the server sends them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import websockets
import yaml

from tests.deploy.programs import need
from tests.deploy.proxies import EXAMPLES, PROXIES, proxy
from tests.faults.state import times
from tests.harness import CHAT_PATH, ServerProcess, chat, server_process, simulator_process, write_login

SILENCE_SECONDS = times(13, 125)
"""Longer than the ten seconds between two heartbeats; with all faults, longer than the minute that proxies wait for."""


@dataclass
class Streamed:
    """What a client saw of one stream: the chunks, and when they came."""

    chunks: list[bytes] = field(default_factory=list)
    at: list[float] = field(default_factory=list)

    @property
    def text(self) -> bytes:
        return b"".join(self.chunks)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ServerProcess]:
    home = tmp_path_factory.mktemp("home")
    with simulator_process() as simulator:
        write_login(home, simulator.new_login())
        with server_process(home, simulator.base_url, workers=2) as running:
            yield running


@pytest.fixture(scope="module")
def proxies(server, tmp_path_factory) -> Iterator[dict[str, str]]:
    """The base URLs of all of them."""
    for name in PROXIES:
        need(name)
    with ExitStack() as stack:
        upstream = server.base_url.removeprefix("http://")
        yield {name: stack.enter_context(proxy(name, tmp_path_factory.mktemp(name), upstream)) for name in PROXIES}


@asynccontextmanager
async def client(base_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=base_url, timeout=60, verify=False, trust_env=False) as opened:  # noqa: S501
        yield opened


async def stream(base_url: str, scene: str, *, begun: asyncio.Event | None = None) -> Streamed:
    seen = Streamed()
    body = chat(scene, stream=True)
    async with client(base_url) as opened, opened.stream("POST", CHAT_PATH, json=body) as response:
        assert response.status_code == 200
        async for chunk in response.aiter_raw():
            seen.chunks.append(chunk)
            seen.at.append(time.monotonic())
            if begun is not None:
                begun.set()
    return seen


async def test_silent_streams_begin_at_once_and_heartbeats_pass(proxies):
    scene = f"scene:stall:{SILENCE_SECONDS}"
    streams = await asyncio.gather(*(stream(base_url, scene) for base_url in proxies.values()))
    for name, seen in zip(proxies, streams, strict=True):
        assert seen.at[-1] - seen.at[0] > SILENCE_SECONDS - 3, f"{name}: held back what came first"
        assert any(chunk.startswith(b":") for chunk in seen.chunks), f"{name}: no heartbeat of its own"
        assert seen.text.rstrip().endswith(b"data: [DONE]"), name


async def test_turns_over_a_websocket_pass(proxies):
    """Two on one connection, with a silence in each."""

    async def turns(base_url: str) -> list[list[str]]:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        url = f"{base_url.replace('https', 'wss', 1)}/v1/responses"
        call = {"type": "response.create", "model": "gpt-5.5", "input": "scene:stall:2"}
        async with websockets.connect(url, ssl=context, proxy=None) as opened:
            return [await turn(opened, call) for _ in range(2)]

    async def turn(opened: websockets.ClientConnection, call: dict[str, Any]) -> list[str]:
        await opened.send(json.dumps(call))
        types: list[str] = []
        while not types or types[-1] != "response.completed":
            types.append(json.loads(await asyncio.wait_for(opened.recv(), 60))["type"])
        return types

    for types in await asyncio.gather(*(turns(base_url) for base_url in proxies.values())):
        assert [one[0] for one in types] == ["response.created"] * 2
        assert all("response.output_text.delta" in one for one in types)


async def test_large_bodies_pass(proxies):
    """Two megabytes: twice what nginx takes by default. Whatever the model says to it, no proxy refuses it."""
    body = chat("word " * 400_000)
    for name, base_url in proxies.items():
        async with client(base_url) as opened:
            answer = await opened.post(CHAT_PATH, json=body)
        assert "x-request-id" in answer.headers, name
        assert answer.status_code != 413, name


async def test_the_client_is_told_by_the_server_and_not_by_the_proxy(proxies):
    for name, base_url in proxies.items():
        async with client(base_url) as opened:
            answer = await opened.get("/v1/nowhere")
        assert answer.json()["error"]["type"] == "invalid_request_error", name


async def test_streams_end_while_the_server_stops(proxies, server):
    """The last test of the module: afterwards there is no server."""
    begun = [asyncio.Event() for _ in proxies]
    async with asyncio.TaskGroup() as group:
        streams = [
            group.create_task(stream(base_url, "scene:stall:4", begun=event))
            for base_url, event in zip(proxies.values(), begun, strict=True)
        ]
        await asyncio.gather(*(event.wait() for event in begun))
        os.kill(server.process.pid, signal.SIGTERM)
    for name, task in zip(proxies, streams, strict=True):
        assert task.result().text.rstrip().endswith(b"data: [DONE]"), name
    assert await asyncio.to_thread(server.process.wait, 30) == 0


def test_caddy_takes_the_file_of_the_team():
    command = [
        need("caddy"),
        "validate",
        "--adapter",
        "caddyfile",
        "--config",
        str(EXAMPLES.parent / "team" / "Caddyfile"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_example_says_what_the_server_must_know():
    for path in EXAMPLES.iterdir():
        text = path.read_text()
        assert "GPTMOCK_ALLOWED_HOSTS" in text
        assert "GPTMOCK_TRUSTED_PROXIES" in text


TRAEFIK_OPTIONS = {
    "http.routers.*": {"rule", "entryPoints", "service", "tls"},
    "http.services.*": {"loadBalancer"},
    "http.services.*.loadBalancer": {
        *("servers", "healthCheck", "passHostHeader", "responseForwarding", "serversTransport"),
    },
    "http.services.*.loadBalancer.healthCheck": {"path", "interval", "timeout"},
    "http.services.*.loadBalancer.responseForwarding": {"flushInterval"},
    "http.serversTransports.*": {"forwardingTimeouts"},
    "http.serversTransports.*.forwardingTimeouts": {"dialTimeout", "responseHeaderTimeout"},
}
"""Where the reference of Traefik 3 has the options of the example; Traefik itself is not run."""


def test_the_example_for_traefik_uses_documented_options():
    document = yaml.safe_load((EXAMPLES / "traefik.yaml").read_text())
    assert set(document) == {"http"}
    assert set(document["http"]) == {"routers", "services", "serversTransports"}
    for place, known in TRAEFIK_OPTIONS.items():
        for found in _at(document, place.split(".")):
            assert set(found) <= known, place
    (router,) = document["http"]["routers"].values()
    balancer = document["http"]["services"][router["service"]]["loadBalancer"]
    assert balancer["serversTransport"] in document["http"]["serversTransports"]
    assert balancer["responseForwarding"]["flushInterval"].startswith("-"), "each write is flushed"


def _at(document: dict[str, Any], path: list[str]) -> list[dict[str, Any]]:
    if not path:
        return [document]
    first, *others = path
    below = document.values() if first == "*" else [document[first]]
    return [found for one in below for found in _at(one, others)]
