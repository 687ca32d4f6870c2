"""``/v1/audio/transcriptions`` on the whole program."""

from __future__ import annotations

import json
import wave
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.simulator.options import SimulatorOptions
from gptmock.simulator.server import Simulator
from gptmock.simulator.side_routes import TRANSCRIBE_PATH, TRANSCRIPT
from tests.harness import client as open_client
from tests.harness import serving_simulator

PATH = "/v1/audio/transcriptions"


def recording(seconds: float = 0.1) -> bytes:
    """Silence, as a WAV file."""
    buffer = BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(int(seconds * 8000) * 2))
    return buffer.getvalue()


@pytest.fixture
async def client(simulator: Simulator, home: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with serving_simulator(simulator, home, transcription=True) as url, open_client(url) as opened:
        yield opened


async def asked(client: httpx.AsyncClient, data: bytes | None = None, **fields: str) -> httpx.Response:
    files = {"file": ("canary-name.wav", recording() if data is None else data, "audio/wav")}
    return await client.post(PATH, data=fields, files=files)


def calls(simulator: Simulator) -> list[Any]:
    return [call for call in simulator.state.requests if call.path == TRANSCRIBE_PATH]


@pytest.mark.check(280)
async def test_the_text_in_each_shape(client: httpx.AsyncClient, simulator: Simulator):
    for model in ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"):
        answer = await asked(client, model=model, prompt="Names: Ada")
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"text": TRANSCRIPT}
        assert answer.headers["content-type"] == "application/json"
    plain = await asked(client, response_format="text", language="pl", temperature="0")
    assert plain.text == f"{TRANSCRIPT}\n"
    assert plain.headers["content-type"].startswith("text/plain")
    assert plain.headers["x-gptmock-ignored"] == "language,temperature"
    streamed = await asked(client, stream="true")
    assert streamed.headers["content-type"].startswith("text/event-stream")
    events = [
        json.loads(line.removeprefix("data: ")) for line in streamed.text.split("\n") if line.startswith("data: ")
    ]
    assert events == [
        {"type": "transcript.text.delta", "delta": TRANSCRIPT},
        {"type": "transcript.text.done", "text": TRANSCRIPT},
    ]
    assert len(calls(simulator)) == 5
    assert "canary-name" not in str([(call.headers, call.body) for call in simulator.state.requests])


@pytest.mark.check(281)
@pytest.mark.parametrize(
    ("data", "fields", "told"),
    [
        (bytes(25 * 1024 * 1024 + 1), {}, (413, "file")),
        (b"%PDF-1.7 no recording", {}, (400, "file")),
        (b"", {}, (400, "file")),
        (None, {"model": "gpt-5.5"}, (400, "model")),
        (None, {"response_format": "verbose_json"}, (400, "response_format")),
        (None, {"response_format": "srt"}, (400, "response_format")),
        (None, {"response_format": "diarized_json"}, (400, "response_format")),
        (None, {"stream": "perhaps"}, (400, "stream")),
        (None, {"timestamp_granularities[]": "word"}, (400, "timestamp_granularities[]")),
    ],
)
async def test_what_cannot_be_transcribed_costs_nothing(
    client: httpx.AsyncClient, simulator: Simulator, data: bytes | None, fields: dict[str, str], told: tuple[int, str]
):
    answer = await asked(client, data, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == told
    assert calls(simulator) == []


async def test_without_a_form_or_a_file(client: httpx.AsyncClient, simulator: Simulator):
    assert (await client.post(PATH, json={"model": "whisper-1"})).json()["error"]["param"] == "file"
    assert (await client.post(PATH, data={"a": "b"}, files={"other": b"x"})).json()["error"]["param"] == "file"
    assert calls(simulator) == []


@pytest.mark.check(360)
async def test_a_challenge_parks_nobody(client: httpx.AsyncClient, simulator: Simulator):
    simulator.state.options = SimulatorOptions(transcribe_challenge=True)
    answer = await asked(client)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "transcription_blocked")
    assert "bot protection" in answer.json()["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert len(calls(simulator)) == 1
    chat = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hello"}]}
    assert (await client.post("/v1/chat/completions", json=chat)).status_code == 200
    assert (await client.get("/readyz")).status_code == 200


async def test_it_is_off_by_default(simulator: Simulator, home: Path):
    async with serving_simulator(simulator, home) as url, open_client(url) as client:
        answer = await asked(client)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unsupported_endpoint")
        for path in ("/v1/audio/speech", "/v1/audio/translations", "/v1/realtime/sessions"):
            assert (await client.post(path)).json()["error"]["code"] == "unsupported_endpoint"
