"""The route ``POST /v1/audio/transcriptions``, which exists if the operator has switched it on."""

from __future__ import annotations

from sanic import HTTPResponse, Request

from gptmock.dialects.dialect import Call, Terms, Turn
from gptmock.dialects.table import TRANSCRIPTION
from gptmock.dialects.transcription.document import events, json_document, text_of
from gptmock.dialects.transcription.request import Wanted, decode_transcription, wanted_of
from gptmock.server.context import App, ServerOptions
from gptmock.server.turns import TurnRequest


def add_transcription_route(app: App, options: ServerOptions) -> None:
    """Add the route, with and without ``/v1``, if it is switched on."""

    async def transcribe(request: Request) -> HTTPResponse | None:
        return await _Transcription(request, TRANSCRIPTION, options).run()

    for number, path in enumerate(TRANSCRIPTION.paths if options.transcription else ()):
        name = f"{TRANSCRIPTION.name}_{number}"
        app.add_route(transcribe, path, methods=[TRANSCRIPTION.method], name=name, ctx_dialect_route=TRANSCRIPTION)


class _Transcription(TurnRequest):
    """A transcription: authenticated, logged and refused like a model call; its stream is sent at once."""

    _wanted = Wanted()

    async def _answer(self) -> HTTPResponse:
        turn, bound = await self._understand(self._decode)
        relayed = await self._services.gateway.relay(turn, self._outcome, account_id=bound)
        text, headers = text_of(relayed.body), self._reply_headers(turn, None)
        if self._wanted.stream:
            answer = self._whole(events(text), {**headers, "cache-control": "no-cache"})
            answer.content_type = "text/event-stream"
        elif self._wanted.response_format == "text":
            answer = self._whole(f"{text}\n".encode(), headers)
            answer.content_type = "text/plain; charset=utf-8"
        else:
            answer = self._whole(json_document(text), headers)
        return answer

    def _decode(self, call: Call, terms: Terms) -> Turn:
        self._wanted = wanted_of(call)
        return decode_transcription(call, terms)
