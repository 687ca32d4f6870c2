"""Traces of the whole program, sent by the real SDK to a collector, and what they cost when nobody wants them."""

from __future__ import annotations

import asyncio
import gzip
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.clients import KeyTerms
from gptmock.settings_sources import load_settings
from gptmock.shared_state import open_state
from gptmock.simulator.server import Simulator
from tests.harness import CHAT_PATH, chat, client, serving_simulator, until, write_login

collector = pytest.importorskip(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="needs gptmock[otel]"
)
pytest.importorskip("opentelemetry.sdk.trace", reason="needs gptmock[otel]")

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SERVER, CLIENT = 2, 3
"""``SpanKind`` in OTLP."""


@dataclass
class Collector:
    """Takes what is sent by OTLP over HTTP."""

    url: str = ""
    spans: list[Any] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    bodies: bytes = b""

    def take(self, body: bytes) -> None:
        self.bodies += body
        request = collector.ExportTraceServiceRequest.FromString(body)
        for one in request.resource_spans:
            self.resources.append(attributes_of(one.resource))
            self.spans += [span for scope in one.scope_spans for span in scope.spans]

    def turns(self) -> list[Any]:
        return sorted((one for one in self.spans if one.kind == SERVER), key=lambda one: int(one.start_time_unix_nano))

    def tries_of(self, turn: Any) -> list[Any]:
        found = [one for one in self.spans if one.parent_span_id == turn.span_id]
        return sorted(found, key=lambda one: int(one.start_time_unix_nano))


def attributes_of(one: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in one.attributes}


@pytest.fixture
async def collecting(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    found = Collector()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        body = await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
        found.take(gzip.decompress(body) if b"content-encoding: gzip" in head else body)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        yield found


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
def home(tmp_path: Path, simulator: Simulator) -> Path:
    write_login(tmp_path, simulator.state.logins.issue().auth_json())
    return tmp_path


async def test_a_turn_is_a_span_of_the_clients_trace_and_each_try_a_child_of_it(
    collecting: Collector, simulator: Simulator, home: Path
):
    async with (
        open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as state,
        serving_simulator(simulator, home, otel=True) as url,
        client(url) as opened,
    ):
        issued = await state.keys.create("ada", KeyTerms())
        headers = {
            "authorization": f"Bearer {issued.text.reveal()}",
            "traceparent": f"00-{TRACE}-{PARENT}-01",
            "tracestate": "vendor=planted",
        }
        simulator.state.scenes.extend(["500", "text"])
        body = chat("planted-prompt", stream=True)
        answer = await opened.post(CHAT_PATH, json=body, headers=headers)
        assert answer.status_code == 200
        # Without a trace of the client, and one that is none.
        await opened.post("/v1/completions", json={"model": "gpt-5.5", "prompt": "x"})
        await opened.post(CHAT_PATH, json=chat(model="none-such"), headers={"traceparent": "00-planted-by-somebody-01"})
        usage = (await opened.post("/v1/responses", json={"model": "gpt-5.5", "input": "x"})).json()["usage"]
    turn, second, refused, response = collecting.turns()
    assert (turn.trace_id.hex(), turn.parent_span_id.hex(), turn.trace_state) == (TRACE, PARENT, "vendor=planted")
    assert turn.name == "chat gpt-5.5"
    facts = attributes_of(turn)
    assert facts["gen_ai.operation.name"] == "chat"
    assert facts["gen_ai.provider.name"] == "openai"
    assert facts["gen_ai.request.model"] == "gpt-5.5"
    assert facts["gen_ai.response.model"].startswith("gpt-5.5")
    assert facts["gen_ai.response.id"].startswith("resp_")
    assert facts["gen_ai.usage.input_tokens"] > 0 < facts["gen_ai.usage.output_tokens"]
    assert (facts["http.response.status_code"], facts["gptmock.ended"], facts["gptmock.tries"]) == (200, "ok", 2)
    assert (facts["gptmock.dialect"], facts["gptmock.key"]) == ("chat", issued.key.id)
    assert facts["gptmock.request_id"] == answer.headers["x-request-id"]
    assert turn.status.code == 0
    tries = collecting.tries_of(turn)
    assert [(one.kind, attributes_of(one)["gptmock.try"], one.status.code) for one in tries] == [
        (CLIENT, 1, 2),
        (CLIENT, 2, 0),
    ]
    assert {one.trace_id.hex() for one in tries} == {TRACE}
    assert attributes_of(tries[0])["error.type"] == "server_error"
    assert attributes_of(tries[1])["server.address"] == "127.0.0.1"
    assert "gen_ai.usage.input_tokens" not in attributes_of(tries[1]), "tokens are counted once"
    times = [int(getattr(one, f"{end}_time_unix_nano")) for one in (turn, *tries) for end in ("start", "end")]
    begun, ended, first, failed, again, done = times
    assert begun <= first <= failed <= again <= done == ended
    assert (second.name, second.parent_span_id) == ("text_completion gpt-5.5", b"")
    assert (refused.parent_span_id, attributes_of(refused)["error.type"]) == (b"", "model_not_found")
    assert (refused.status.code, attributes_of(refused)["http.response.status_code"]) == (2, 404)
    assert attributes_of(response)["gen_ai.usage.input_tokens"] == usage["input_tokens"]
    assert {one["service.name"] for one in collecting.resources} == {"gptmock"}
    assert b"planted-prompt" not in collecting.bodies
    assert issued.text.reveal().encode() not in collecting.bodies
    assert all("traceparent" not in call.headers for call in simulator.state.model_calls()), "it is not the backend's"


async def test_a_client_that_leaves_and_several_turns_are_told_too(
    collecting: Collector, simulator: Simulator, home: Path
):
    async with serving_simulator(simulator, home, otel=True) as url:
        async with client(url) as leaving:
            asking = asyncio.ensure_future(leaving.post(CHAT_PATH, json=chat("scene:stall:30", stream=True)))
            await until(lambda: simulator.state.open_streams == 1)
            asking.cancel()
            await simulator.state.until_closed(seconds=10)
        async with client(url) as opened:
            await opened.post("/v1/completions", json={"model": "gpt-5.5", "prompt": ["a", "b", "c"]})
    left, several = collecting.turns()
    assert (attributes_of(left)["gptmock.ended"], left.status.code) == ("client_gone", 0)
    assert len(collecting.tries_of(left)) == 1
    assert len(collecting.tries_of(several)) == 3


async def test_nothing_is_made_when_nobody_wants_it(collecting: Collector, simulator: Simulator, home: Path):
    async with serving_simulator(simulator, home) as url, client(url) as opened:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        assert (await opened.post(CHAT_PATH, json=chat(), headers=headers)).status_code == 200
    assert collecting.bodies == b""


async def test_a_collector_that_is_away_holds_up_nobody(
    simulator: Simulator, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    async with serving_simulator(simulator, home, otel=True) as url, client(url) as opened:
        answers: list[httpx.Response] = [await opened.post(CHAT_PATH, json=chat()) for _ in range(3)]
    assert [one.status_code for one in answers] == [200] * 3
    assert "Hello" not in caplog.text


def test_the_program_imports_none_of_it():
    script = (
        "import gptmock.serving, gptmock.wiring, sys;"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'google.protobuf'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
