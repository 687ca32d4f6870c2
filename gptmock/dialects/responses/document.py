"""``POST /v1/responses``, outward and collected: the Response that ends the stream, by the same machine."""

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
    The Response object of a turn whose events were kept.

    Raises:
        UpstreamBroken: an event holds what cannot be repeated.
    """
    machine = ResponsesMachine(options, head)
    for received in folded.events:
        machine.feed(received)
    if machine.final is None:
        raise UpstreamBroken("The upstream sent an event that cannot be read whole.", code="upstream_bad_event")
    return machine.final


def document(options: ResponsesOptions, head: ReplyHead, folded: FoldedResponse) -> bytes:
    """The whole reply (client contracts 3.4)."""
    return json_bytes(final_response(options, head, folded))
