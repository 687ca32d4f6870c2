"""The body of a Responses reply with ``stream: false``: the Response object of the terminal event."""

from __future__ import annotations

from gptmock.dialects.dialect import ReplyHead
from gptmock.dialects.json_text import json_bytes
from gptmock.dialects.responses.response_object import ResponsesOptions
from gptmock.dialects.responses.stream import ResponsesMachine
from gptmock.errors import UpstreamBroken
from gptmock.protocol.fold import FoldedResponse
from gptmock.protocol.request import JsonObject


def final_response(options: ResponsesOptions, head: ReplyHead, folded: FoldedResponse) -> JsonObject:
    """
    The final Response object, from a fold with ``keep_events``.

    Raises:
        UpstreamBroken: an event cannot be decoded completely.
    """
    machine = ResponsesMachine(options, head)
    for received in folded.events:
        machine.feed(received)
    if machine.final is None:
        raise UpstreamBroken("The upstream sent an event that cannot be read whole.", code="upstream_bad_event")
    return machine.final


def document(options: ResponsesOptions, head: ReplyHead, folded: FoldedResponse) -> bytes:
    """The response body (client contracts 3.4)."""
    return json_bytes(final_response(options, head, folded))
