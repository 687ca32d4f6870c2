"""The route ``POST /v1/responses/compact``."""

from __future__ import annotations

from sanic import HTTPResponse, Request

from gptmock.dialects.responses.compaction import compaction_document, decode_compaction
from gptmock.dialects.table import COMPACTION
from gptmock.server.context import App, ServerOptions
from gptmock.server.turns import TurnRequest


def add_responses_routes(app: App, options: ServerOptions) -> None:
    """Add the route, with and without ``/v1``."""

    async def compact(request: Request) -> HTTPResponse | None:
        return await _Compaction(request, COMPACTION, options).run()

    for number, path in enumerate(COMPACTION.paths):
        name = f"{COMPACTION.name}_{number}"
        app.add_route(compact, path, methods=[COMPACTION.method], name=name, ctx_body=COMPACTION.body)


class _Compaction(TurnRequest):
    """A compaction request: authenticated, logged and refused like a model call, never streamed."""

    async def _answer(self) -> HTTPResponse:
        turn, bound = await self._understand(decode_compaction)
        compacted = await self._services.gateway.compact(turn, self._outcome, account_id=bound)
        return self._whole(compaction_document(self._head, compacted), self._reply_headers(turn, None))
