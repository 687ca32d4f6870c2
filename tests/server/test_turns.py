from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.server.context import App, ServerOptions
from gptmock.settings_sources import load_settings
from gptmock.shared_state import open_state
from gptmock.simulator.options import SimulatorOptions
from gptmock.simulator.scenes import render_scene
from gptmock.simulator.server import Simulator
from gptmock.upstream.codex import UpstreamDeadlines
from tests.harness import CHAT_PATH, NO_TLS, chat, serving_simulator, until, write_login
from tests.harness import client as open_client
from tests.timing import generous
from tests.upstream.raw import HEAD, RawServer, chunk, read_request

PROMPT = "a planted prompt, scene:"
BEAT = b": "


async def streamed(client: httpx.AsyncClient, scene: str, **members: Any) -> httpx.Response:
    return await client.post(CHAT_PATH, json=chat(f"{PROMPT}{scene}", stream=True, **members))


def frames(body: bytes) -> list[Any]:
    """The data of each frame; comments are left out."""
    return [line.removeprefix(b"data: ") for line in body.split(b"\n") if line.startswith(b"data: ")]


def error_of(response: httpx.Response) -> dict[str, Any]:
    document = response.json()
    assert set(document["error"]) == {"message", "type", "param", "code"}
    return dict(document["error"])


# --- Heads ---------------------------------------------------------------------------------


@pytest.mark.check(90)
async def test_the_head_of_a_stream(client: httpx.AsyncClient):
    response = await streamed(client, "text")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["openai-model"] == "gpt-5.5-2026-04-23"
    assert response.headers["x-request-id"]
    assert "content-encoding" not in response.headers
    assert "content-length" not in response.headers
    assert frames(response.content)[-1] == b"[DONE]"


async def test_the_head_of_a_document(client: httpx.AsyncClient):
    response = await client.post(CHAT_PATH, json=chat("scene:substitute"))
    assert response.headers["content-type"] == "application/json"
    assert response.headers["openai-model"] != "gpt-5.5"
    assert "x-gptmock-ignored" not in response.headers


@pytest.mark.check(116)
@pytest.mark.parametrize("stream", [True, False])
async def test_what_had_no_effect_is_named(client: httpx.AsyncClient, stream: bool):  # noqa: FBT001
    response = await client.post(CHAT_PATH, json=chat("scene:text", stream=stream, temperature=0.5, max_tokens=7))
    assert set(response.headers["x-gptmock-ignored"].split(",")) == {"temperature", "max_tokens"}


async def test_frames_arrive_one_by_one(simulator: Simulator, home: Path):
    simulator.state.options = SimulatorOptions(pace_seconds=0.05)
    async with serving_simulator(simulator, home) as url, open_client(url) as client:
        arrivals = []
        async with client.stream("POST", CHAT_PATH, json=chat("scene:text", stream=True)) as response:
            async for _ in response.aiter_raw():
                arrivals.append(time.monotonic())  # noqa: PERF401 - the time is that of the arrival
    assert len(arrivals) >= 4
    assert arrivals[-1] - arrivals[0] > 0.15


async def test_one_connection_serves_one_turn_after_another(base_url: str):
    async with httpx.AsyncClient(
        base_url=base_url, trust_env=False, verify=NO_TLS, limits=httpx.Limits(max_connections=1)
    ) as client:
        ports = set()
        for stream in (True, False) * 3:
            async with client.stream("POST", CHAT_PATH, json=chat("scene:text", stream=stream)) as response:
                ports.add(response.extensions["network_stream"].get_extra_info("client_addr"))
                await response.aread()
        assert len(ports) == 1


# --- Failures ------------------------------------------------------------------------------


@pytest.mark.check(33)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("scene", "status", "code"),
    [
        ("400-detail", 400, "invalid_request"),
        ("400-effort", 400, "unsupported_value"),
        ("402", 503, "account_unusable"),
        ("403-html", 502, "upstream_blocked"),
        ("404-gate", 404, "model_not_found"),
        ("429-usage", 429, "usage_limit_reached"),
        ("429-burst", 429, "rate_limit_exceeded"),
        ("500", 502, "server_error"),
        ("502-html", 502, "upstream_error"),
        ("503-overload", 503, "server_is_overloaded"),
        ("504", 504, "upstream_timeout"),
        ("failed-first", 502, None),
        ("overload", 503, "server_is_overloaded"),
        ("eof-first", 502, "upstream_stream_truncated"),
        ("401-always", 503, "auth_unavailable"),
    ],
)
async def test_a_failure_before_the_first_word_is_a_status(
    client: httpx.AsyncClient,
    scene: str,
    status: int,
    code: str | None,
    stream: bool,  # noqa: FBT001
):
    response = await client.post(CHAT_PATH, json=chat(f"{PROMPT}{scene}", stream=stream))
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    error = error_of(response)
    assert code is None or error["code"] == code
    assert "<" not in error["message"]


@pytest.mark.check(27)
async def test_a_usage_limit_is_told_with_its_end_after_one_call(client: httpx.AsyncClient, simulator: Simulator):
    response = await client.post(CHAT_PATH, json=chat("scene:429-usage"))
    assert int(response.headers["retry-after"]) == 13872
    assert response.headers["x-should-retry"] == "false"
    assert simulator.state.model_call_count == 1


@pytest.mark.parametrize("scene", ["503-overload", "429-burst"])
async def test_what_passes_soon_says_when(client: httpx.AsyncClient, scene: str):
    response = await client.post(CHAT_PATH, json=chat(f"scene:{scene}"))
    assert float(response.headers["retry-after"]) >= 1
    assert response.headers.get("x-should-retry") != "false"


@pytest.mark.check(30, 31)
@pytest.mark.parametrize(
    "scene", ["failed-mid", "error-event", "error-event-nested", "eof-mid", "abort-mid", "truncated-chunk"]
)
async def test_a_failure_in_the_middle_never_looks_like_success(client: httpx.AsyncClient, scene: str):
    response = await streamed(client, scene, stream_options={"include_usage": True})
    assert response.status_code == 200
    *words, last = (json.loads(frame) for frame in frames(response.content))
    assert set(last["error"]) >= {"message", "type", "param", "code"}
    assert all(choice["finish_reason"] is None for word in words for choice in word["choices"])
    assert all(not word.get("usage") for word in words)
    collected = await client.post(CHAT_PATH, json=chat(f"scene:{scene}"))
    assert collected.status_code >= 400
    assert error_of(collected)["code"] == last["error"]["code"]


@pytest.mark.check(28)
async def test_a_refused_token_is_renewed_and_the_client_sees_nothing(client: httpx.AsyncClient, simulator: Simulator):
    for stream in (True, False):
        simulator.state.logins.expire_access()
        response = await client.post(CHAT_PATH, json=chat("scene:text", stream=stream))
        assert response.status_code == 200
    assert simulator.state.stats()["token_exchanges"] == {"ok": 2, "refused": 0}


# --- Silence -------------------------------------------------------------------------------


def short_patience(app: App) -> None:
    """Sanic's idle timeout, shortened: a model call must be able to take longer."""
    app.config.RESPONSE_TIMEOUT = 1


@pytest.mark.check(314)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("scene", ["silent:2", "slow-head:2"])
async def test_a_model_may_think_for_longer_than_sanic_waits(
    simulator: Simulator,
    home: Path,
    scene: str,
    stream: bool,  # noqa: FBT001
):
    options = ServerOptions(heartbeat_seconds=60)
    async with (
        serving_simulator(simulator, home, options=options, configure=short_patience) as url,
        open_client(url) as client,
    ):
        body = {**chat(f"scene:{scene}", stream=stream), "max_tokens": 64_000}
        answers = await asyncio.gather(*(client.post(path, json=body) for path in (CHAT_PATH, "/v1/messages")))
        for response in answers:
            assert response.status_code == 200
            assert b"simulator" in response.content
        assert (await client.get("/health")).status_code == 200


@pytest.mark.check(89)
async def test_a_silent_stream_has_a_heartbeat_between_its_frames(simulator: Simulator, home: Path):
    options = ServerOptions(heartbeat_seconds=0.2)
    async with serving_simulator(simulator, home, options=options) as url, open_client(url) as client:
        response = await streamed(client, "stall:1.5")
        beats = [line for line in response.content.split(b"\n\n") if line.startswith(b":")]
        assert 3 <= len(beats) <= 8
        assert all(block.startswith((b"data: ", b":")) for block in response.content.split(b"\n\n") if block)
        assert frames(response.content)[-1] == b"[DONE]"
        busy = await streamed(client, "long")
        assert b"\n:" not in busy.content
        assert not busy.content.startswith(b":")


async def test_a_deadline_in_the_middle_is_a_farewell_and_before_it_a_status(simulator: Simulator, home: Path):
    deadlines = UpstreamDeadlines(head=0.4, idle=0.4)
    async with serving_simulator(simulator, home, deadlines=deadlines) as url, open_client(url) as client:
        late = await streamed(client, "slow-head:20")
        assert (late.status_code, error_of(late)["code"]) == (504, "upstream_timeout")
        assert late.headers["x-should-retry"] == "false"
        stalled = await streamed(client, "stall:20")
        assert stalled.status_code == 200
        assert json.loads(frames(stalled.content)[-1])["error"]["code"] == "upstream_timeout"
        assert b"[DONE]" not in stalled.content
    assert simulator.state.open_streams == 0


# --- Clients that leave, and clients that do not read ----------------------------------------


@pytest.mark.check(36)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("scene", ["slow-head:30", "silent:30", "stall:30"])
async def test_a_client_that_leaves_closes_the_upstream_within_a_second(
    base_url: str,
    simulator: Simulator,
    scene: str,
    stream: bool,  # noqa: FBT001
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.INFO, logger="gptmock")
    async with open_client(base_url) as client:
        asking = asyncio.ensure_future(client.post(CHAT_PATH, json=chat(f"scene:{scene}", stream=stream)))
        await until(lambda: simulator.state.open_streams == 1)
        await asyncio.sleep(0.1)
        asking.cancel()
        await simulator.state.until_closed(seconds=generous(1.0))
    await until(lambda: any(record.getMessage() == "turn" for record in caplog.records))
    (record,) = (each for each in caplog.records if each.getMessage() == "turn")
    assert vars(record)["ended"] == "client_gone"
    assert [
        each for each in caplog.records if each.levelno >= logging.WARNING and each.name.startswith("gptmock")
    ] == []


class EndlessUpstream(RawServer):
    """An upstream that sends without end; ``sent`` counts the bytes that were read."""

    def __init__(self) -> None:
        super().__init__(self._talk)
        self.sent = 0
        self.left = asyncio.Event()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        text = render_scene("text")
        delta = b'data: {"type":"response.output_text.delta","delta":"%b"}\n\n' % (b"x" * 16384)
        writer.write(HEAD + chunk(text[: text.index(b"event: response.output_text.delta")]))
        try:
            while not reader.at_eof():
                writer.write(chunk(delta))
                await writer.drain()
                self.sent += len(delta)
        finally:
            self.left.set()


async def test_a_client_that_does_not_read_stops_the_upstream_and_costs_no_memory(simulator: Simulator, home: Path):
    body = json.dumps(chat(stream=True)).encode()
    options = ServerOptions(heartbeat_seconds=0.1)
    async with (
        EndlessUpstream() as upstream,
        serving_simulator(simulator, home, options=options, upstream_url=upstream.url) as url,
    ):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", int(url.rpartition(":")[2])))
            sock.sendall(
                b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (CHAT_PATH.encode(), len(body))
                + body
            )
            await until(lambda: upstream.sent > 0)
            before = -1
            while upstream.sent != before:
                before = upstream.sent
                await asyncio.sleep(0.3)
            assert before < 32 * 1024 * 1024
        async with asyncio.timeout(generous(1)):
            await upstream.left.wait()


async def test_a_client_that_reads_nothing_for_too_long_is_disconnected_and_its_stream_released(
    simulator: Simulator, home: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, logger="gptmock")
    body = json.dumps(chat(stream=True)).encode()
    options = ServerOptions(heartbeat_seconds=0.1, write_stall_seconds=0.5)
    async with (
        EndlessUpstream() as upstream,
        serving_simulator(simulator, home, options=options, upstream_url=upstream.url) as url,
    ):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", int(url.rpartition(":")[2])))
            head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
            sock.sendall(head % (CHAT_PATH.encode(), len(body)) + body)
            # The socket stays open: only the server can end this.
            async with asyncio.timeout(generous(10)):
                await upstream.left.wait()
            await until(lambda: any(record.getMessage() == "turn" for record in caplog.records))
    (line,) = (vars(record) for record in caplog.records if record.getMessage() == "turn")
    assert (line["status"], line["ended"]) == (200, "client_gone")


# --- The log -------------------------------------------------------------------------------


async def test_a_turn_is_one_line_with_its_figures_and_without_a_word_of_it(
    client: httpx.AsyncClient, simulator: Simulator, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, logger="gptmock")
    response = await streamed(client, "text")
    await until(lambda: any(record.getMessage() == "turn" for record in caplog.records))
    # The catalogue is followed beside the turns; it may be told at any time.
    ours = [each for each in caplog.records if each.name.startswith("gptmock") and each.name != "gptmock.catalogue"]
    (record,) = ours
    line = vars(record)
    assert line["request_id"] == response.headers["x-request-id"]
    assert (line["dialect"], line["model"], line["stream"]) == ("chat", "gpt-5.5", True)
    assert (line["status"], line["ended"], line["tries"]) == (200, "ok", 1)
    assert line["bytes"] == len(response.content)
    assert 0 <= line["first_seconds"] <= line["seconds"] < 30
    assert line["input_tokens"] > 0
    assert line["output_tokens"] > 0
    shown = str(line)
    assert "planted" not in shown
    assert "simulator" not in shown
    login = simulator.state.model_calls()[-1].headers["authorization"].removeprefix("Bearer ")
    assert login not in shown


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        ("failed-first:context_length_exceeded", (400, "context_length_exceeded", 1)),
        ("503-overload", (503, "server_is_overloaded", 3)),
        ("eof-mid", (200, "upstream_stream_truncated", 1)),
        ("failed-mid:server_error", (200, "server_error", 1)),
        ("incomplete", (200, "ok", 1)),
    ],
)
async def test_a_failed_turn_is_one_line_with_its_reason(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, scene: str, expected: tuple[int, str, int]
):
    caplog.set_level(logging.INFO, logger="gptmock")
    await streamed(client, scene)
    await until(lambda: any(record.getMessage() == "turn" for record in caplog.records))
    (record,) = (each for each in caplog.records if each.getMessage() == "turn")
    line = vars(record)
    assert (line["status"], line["ended"], line["tries"]) == expected


async def test_a_refused_request_is_a_line_too(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="gptmock")
    await client.post(CHAT_PATH, content=b"{")
    (record,) = (each for each in caplog.records if each.getMessage() == "turn")
    assert (vars(record)["status"], vars(record)["model"], vars(record)["tries"]) == (400, None, 0)


async def test_verbose_shows_the_words_but_no_credential(
    simulator: Simulator, home: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, logger="gptmock")
    key = "sk-planted-0123456789abcd"
    async with (
        serving_simulator(simulator, home, options=ServerOptions(verbose=True), api_key=key) as url,
        open_client(url, headers={"authorization": f"Bearer {key}"}) as client,
    ):
        await streamed(client, "text")
    (record,) = (each for each in caplog.records if each.getMessage() == "turn.request")
    assert PROMPT in vars(record)["inbound"]
    assert PROMPT in vars(record)["upstream"]
    every = str([vars(each) for each in caplog.records])
    assert key not in every
    assert simulator.state.model_calls()[-1].headers["authorization"].removeprefix("Bearer ") not in every


async def test_another_account_that_is_signed_in_after_a_logout_serves(
    client: httpx.AsyncClient, simulator: Simulator, home: Path
):
    assert (await client.post(CHAT_PATH, json=chat("scene:text"))).status_code == 200
    newer = simulator.state.logins.issue(email="new@example.test")
    write_login(home, newer.auth_json())
    assert (await client.post(CHAT_PATH, json=chat("scene:text"))).status_code == 200
    assert simulator.state.model_calls()[-1].headers["chatgpt-account-id"] != newer.account_id, "nobody logged out"
    async with open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as state:
        (login,) = await state.vault.logins()
        await state.vault.forget(login.account.id)
    async with asyncio.timeout(20):
        while simulator.state.model_calls()[-1].headers["chatgpt-account-id"] != newer.account_id:
            answer = await client.post(CHAT_PATH, json=chat("scene:text"))
            assert answer.status_code == 200 or error_of(answer)["code"] == "login_required"
            await asyncio.sleep(0.05)
