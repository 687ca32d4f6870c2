from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from gptmock.accounts import Account, Credential, Secret
from gptmock.errors import UpstreamRefused
from gptmock.protocol.events import ResponseCompleted
from gptmock.protocol.request import InputText, Message, ResponsesRequest
from gptmock.simulator.options import SimulatorOptions
from gptmock.simulator.server import Simulator
from gptmock.upstream.codex import CodexUpstream, UpstreamDeadlines
from gptmock.upstream.engine import Engine
from gptmock.upstream.identity import ClientIdentity
from gptmock.upstream.request_bodies import MIN_BYTES, BodyEncoder
from gptmock.upstream.transport import open_client
from tests.upstream.test_codex import events

WORDS = "The same words come again and again in what an agent sends. "


def asking(size: int) -> ResponsesRequest:
    """A request whose JSON has exactly ``size`` bytes."""
    empty = _asking("")
    return _asking(f"{WORDS * (size // len(WORDS) + 1)}"[: size - len(empty.to_json())])


def _asking(text: str) -> ResponsesRequest:
    return ResponsesRequest(
        model="gpt-5.5", input=[Message(role="user", content=[InputText(text)])], prompt_cache_key="cache-key-1"
    )


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client() as opened:
        yield opened


def codex(client: httpx.AsyncClient, simulator: Simulator, *, compresses: bool = True) -> CodexUpstream:
    engine = client._transport
    assert isinstance(engine, Engine)
    return CodexUpstream(
        engine,
        simulator.upstream_url,
        identity=ClientIdentity(),
        deadlines=UpstreamDeadlines(),
        clock=lambda: 1_790_000_000.0,
        compresses=compresses,
    )


def credential_of(simulator: Simulator) -> Credential:
    login = simulator.state.logins.issue()
    return Credential(Account(workspace_id=login.account_id), Secret(login.access_token), 1)


@pytest.mark.check(334)
@pytest.mark.parametrize("size", [MIN_BYTES - 1, MIN_BYTES, 70_000, 3_000_000])
async def test_a_large_body_arrives_as_it_was_in_a_third_of_its_size(client: httpx.AsyncClient, size: int):
    async with Simulator() as simulator:
        credential, request = credential_of(simulator), asking(size)
        for compresses in (True, False):
            received = await events(codex(client, simulator, compresses=compresses), request, credential)
            assert isinstance(received[-1].event, ResponseCompleted)
        compressed, plain = simulator.state.model_calls()
    assert compressed.body == plain.body
    assert plain.size_bytes == size
    assert "content-encoding" not in plain.headers
    assert compressed.headers["content-length"] == str(compressed.size_bytes)
    if size < MIN_BYTES:
        assert dict(compressed.headers) == dict(plain.headers)
    else:
        assert compressed.headers["content-encoding"] == "zstd"
        assert compressed.size_bytes < size / 3


@pytest.mark.check(334)
async def test_a_backend_that_takes_no_zstd_gets_plain_bodies(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING)
    async with Simulator(SimulatorOptions(takes_zstd=False)) as simulator:
        credential, upstream = credential_of(simulator), codex(client, simulator)
        for _ in range(2):
            received = await events(upstream, asking(20_000), credential)
            assert isinstance(received[-1].event, ResponseCompleted)
        sent = [one.headers.get("content-encoding") for one in simulator.state.model_calls()]
    assert sent == ["zstd", None, None]
    assert [one.getMessage() for one in caplog.records] == ["upstream.compression_refused"]


async def test_a_compaction_is_not_compressed(client: httpx.AsyncClient):
    async with Simulator() as simulator:
        await codex(client, simulator).compact(asking(20_000), credential_of(simulator))
        assert "content-encoding" not in simulator.state.requests[-1].headers


async def test_another_refusal_of_a_compressed_body_is_not_asked_again(client: httpx.AsyncClient):
    async with Simulator() as simulator:
        simulator.state.scenes.append("400-detail")
        with pytest.raises(UpstreamRefused):
            await events(codex(client, simulator), asking(20_000), credential_of(simulator))
        assert len(simulator.state.model_calls()) == 1


async def test_bodies_do_not_depend_on_one_another():
    encoder = BodyEncoder(compresses=True)
    body = asking(50_000).to_json()
    assert await encoder.encode(body) == await encoder.encode(body)
