"""
``POST /v1/responses/compact``: the upstream replaces a conversation by fewer items. The request body is that of
``/v1/responses``; the reply is not streamed: the upstream's document, completed to the public API's object.

Source: client contracts 3.6, upstream protocol 9.2.
"""

from __future__ import annotations

from dataclasses import replace

from gptmock.dialects.dialect import Call, ReplyHead, Terms, Turn
from gptmock.dialects.json_text import json_bytes
from gptmock.dialects.responses.request import decode
from gptmock.dialects.responses.response_object import ID_PREFIX
from gptmock.protocol.upstream import Compacted


def decode_compaction(call: Call, terms: Terms) -> Turn:
    """
    Decode a compaction request. The operator's defaults for web search and storing do not apply.

    Raises:
        BadRequest: with the field at fault in ``param``.
    """
    return decode(call, replace(terms, defaults=replace(terms.defaults, web_search=False, store_responses=False)))


def compaction_document(head: ReplyHead, compacted: Compacted) -> bytes:
    """The ``response.compaction`` object."""
    shape = {"id": ID_PREFIX + head.id, "object": "response.compaction", "created_at": head.created}
    given = {name: value for name, value in compacted.document.items() if value is not None}
    return json_bytes({**shape, "output": [], "usage": None, **given})
