"""A new dialect needs only its own code and a row of the table: tested with one that replies in plain text."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from gptmock.dialects.dialect import Call, ReplyHead, Terms, Turn
from gptmock.dialects.openai_errors import error_reply
from gptmock.dialects.plans import SseReply
from gptmock.dialects.table import DialectRoute
from gptmock.errors import GptmockError, UpstreamRefused
from gptmock.protocol.events import OutputTextDelta, ResponseCompleted
from gptmock.protocol.failures import truncated
from gptmock.protocol.fold import FoldedResponse
from gptmock.protocol.output_parts import Text
from gptmock.protocol.reader import Received
from gptmock.protocol.request import InputText, Message, ResponsesRequest
from gptmock.server.large_bodies import LARGE_BYTES
from gptmock.simulator.server import Simulator
from tests.harness import client as open_client
from tests.harness import serving_simulator


class ToyDialect:
    content_type = "text/plain"

    def decode(self, call: Call, terms: Terms) -> Turn:
        """The body is the prompt; a leading ``>`` asks for a stream."""
        text, resolved = call.body.decode(), terms.catalog.resolve("gpt-5.5")
        question = Message("user", [InputText(text)])
        request = ResponsesRequest(model=resolved.slug, input=[question], prompt_cache_key=call.tenant or "toy")
        return Turn(request=request, resolved=resolved, model="toy", stream=text.startswith(">"), reply=ToyReply())

    error = staticmethod(error_reply)


class ToyReply(SseReply):
    def translator(self, _: ReplyHead) -> ToyTranslator:
        return ToyTranslator()

    def document(self, _: ReplyHead, folded: FoldedResponse) -> bytes:
        return "".join(part.text for part in folded.pieces if isinstance(part, Text)).encode()


class ExplainingDialect(ToyDialect):
    def decode(self, call: Call, terms: Terms) -> Turn:
        return replace(super().decode(call, terms), reply=ExplainingReply())


class ExplainingReply(ToyReply):
    """Says in which thread it found the words for a failure."""

    def reworded(self, _: GptmockError) -> GptmockError:
        return UpstreamRefused(threading.current_thread().name)

    def answer(self, _: ReplyHead, error: GptmockError) -> bytes:
        return error.message.encode()


class ToyTranslator:
    def __init__(self) -> None:
        self.failure: GptmockError | None = None
        self._ended = False

    def feed(self, received: Received) -> list[bytes]:
        self._ended = self._ended or isinstance(received.event, ResponseCompleted)
        return [received.event.delta.encode()] if isinstance(received.event, OutputTextDelta) else []

    def finish(self, cause: GptmockError | None = None) -> list[bytes]:
        if self._ended:
            return []
        self.failure = cause or truncated()
        return [f" [failed] {self.failure.message}".encode()]


ROW = DialectRoute("toy", "POST", ("/toy",), ToyDialect())


@pytest.fixture
async def toy_client(simulator: Simulator, home: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with serving_simulator(simulator, home, dialects=[ROW]) as url, open_client(url) as client:
        yield client


async def test_a_toy_dialect_answers_streamed_and_whole(toy_client: httpx.AsyncClient):
    whole = await toy_client.post("/toy", content=b"Hello")
    streamed = await toy_client.post("/toy", content=b">Hello")
    assert whole.status_code == streamed.status_code == 200
    assert streamed.headers["content-type"] == "text/plain"
    assert b"Hello" in whole.content
    # What it streams is what it sends whole, and the simulator repeats the prompt.
    assert streamed.content.startswith(whole.content.partition(b"Hello")[0])


async def test_a_failure_of_a_toy_stream_is_its_own_last_frame(toy_client: httpx.AsyncClient):
    broken = await toy_client.post("/toy", content=b">scene:eof-mid")
    assert b" [failed] " in broken.content


@pytest.mark.parametrize("scene", ["failed-first:server_error", "failed-mid:server_error"])
@pytest.mark.parametrize("stream", [">", ""])
async def test_the_words_for_a_failure_are_found_where_large_bodies_are_decoded(
    simulator: Simulator, home: Path, scene: str, stream: str
):
    row = DialectRoute("toy", "POST", ("/toy",), ExplainingDialect())
    async with serving_simulator(simulator, home, dialects=[row]) as url, open_client(url) as client:
        small = await client.post("/toy", content=f"{stream}scene:{scene}".encode())
        large = await client.post("/toy", content=f"{stream}scene:{scene} {'x' * LARGE_BYTES}".encode())
    assert small.content.endswith(threading.current_thread().name.encode())
    assert b"gptmock-body" in large.content.rpartition(b"[failed] ")[2]


async def test_an_error_before_the_first_frame_has_the_shape_of_the_dialect(toy_client: httpx.AsyncClient):
    refused = await toy_client.post("/toy", content=b"scene:429-usage")
    assert refused.status_code == 429
    assert refused.json()["error"]["type"] == "usage_limit_reached"
