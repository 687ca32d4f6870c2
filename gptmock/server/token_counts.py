"""
Routes that count the tokens of a request, ``/v1/messages/count_tokens`` and ``/v1/responses/input_tokens``. They ask
neither an account nor the upstream, whose own tokenizer nobody knows: a count is an estimate.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import msgspec
from sanic import HTTPResponse, Request

from gptmock.dialects.dialect import Call, ReadyReply, Terms, Turn
from gptmock.dialects.messages.request import decode_count
from gptmock.dialects.responses.request import decode as decode_response
from gptmock.dialects.table import COUNT_TOKENS, INPUT_TOKENS, DialectRoute
from gptmock.dialects.token_estimate import CountText, estimated_text_tokens, estimated_tokens
from gptmock.protocol.request import ResponsesRequest
from gptmock.server.context import App, ServerOptions
from gptmock.server.o200k import NAME, load_o200k
from gptmock.server.turns import TurnRequest

ESTIMATE = "x-gptmock-estimate"
COUNTED_BY = "x-gptmock-counted-by"
"""``o200k_base``, or ``characters`` without the extra and while the table is being loaded."""
BY_CHARACTERS = "characters"


class TokenCounter:
    """The tokenizer of one worker: loaded in a thread when the first request asks for a count."""

    def __init__(self, load: Callable[[], CountText | None] = load_o200k) -> None:
        self._load = load
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gptmock-tokens")
        self._loading: Future[CountText | None] | None = None

    def best(self) -> tuple[str, CountText]:
        """What counts a text now, by name. Never waits: an editor asks for 25 counts at once."""
        if self._loading is None:
            self._loading = self._thread.submit(self._load)
        table = self._loading.result() if self._loading.done() else None
        return (BY_CHARACTERS, estimated_text_tokens) if table is None else (NAME, table)

    def close(self) -> None:
        """Load no table any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def add_count_routes(app: App, options: ServerOptions) -> None:
    """Add both routes, with and without ``/v1``."""

    async def count_tokens(request: Request) -> HTTPResponse | None:
        return await _Count(request, COUNT_TOKENS, options, decode_count, {}).run()

    async def input_tokens(request: Request) -> HTTPResponse | None:
        kind = {"object": "response.input_tokens"}
        return await _Count(request, INPUT_TOKENS, options, _decode_response, kind).run()

    for route, handler in ((COUNT_TOKENS, count_tokens), (INPUT_TOKENS, input_tokens)):
        for number, path in enumerate(route.paths):
            app.add_route(handler, path, methods=[route.method], name=f"{route.name}_{number}", ctx_body=route.body)

    async def open_counter(worker: App) -> None:
        worker.ctx.token_counter = TokenCounter()

    async def close_counter(worker: App) -> None:
        worker.ctx.token_counter.close()

    app.register_listener(open_counter, "before_server_start")
    app.register_listener(close_counter, "after_server_stop")


def _decode_response(call: Call, terms: Terms) -> ResponsesRequest:
    return decode_response(call, terms).request


class _Count(TurnRequest):
    """A request for a count: authenticated, logged and refused like a model call, but no account serves it."""

    def __init__(
        self,
        request: Request,
        route: DialectRoute,
        options: ServerOptions,
        decode: Callable[[Call, Terms], ResponsesRequest],
        members: dict[str, str],
    ) -> None:
        super().__init__(request, route, options)
        self._decode = decode
        self._members = members

    async def _answer(self) -> HTTPResponse:
        asked, _ = await self._understand(self._decode)
        assert not isinstance(asked, Turn | ReadyReply)  # noqa: S101 - neither decoder makes one
        counter: TokenCounter = self._request.app.ctx.token_counter
        name, count = counter.best()
        tokens = await self._large_bodies.run(self._asked_bytes, partial(estimated_tokens, asked, count))
        body = msgspec.json.encode({**self._members, "input_tokens": tokens})
        return self._whole(body, {ESTIMATE: "true", COUNTED_BY: name})
