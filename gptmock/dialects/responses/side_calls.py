"""Decodes calls of Codex that are no turns: their bodies are passed on unchanged. Source: next doors D.2."""

from __future__ import annotations

from gptmock.dialects.bodies import ParameterBody, decode_body
from gptmock.dialects.dialect import Call, Terms, Turn
from gptmock.dialects.model_options import model_name
from gptmock.dialects.responses.codex import forwarded_headers
from gptmock.dialects.responses.reply import ResponsesReply
from gptmock.dialects.responses.response_object import ResponsesOptions
from gptmock.protocol.request import ResponsesRequest, SideCall


class _SideBody(ParameterBody):
    model: str | None = None


def decode_side_call(path: str, call: Call, terms: Terms) -> Turn:
    """
    Decode a call.

    Args:
        path: below the backend's base URL.
        call: the request.
        terms: the models.

    Raises:
        BadRequest: the body is no JSON object, or a header has a control character.
    """
    body = decode_body(call.body, _SideBody)
    name = model_name(body.model, terms)
    resolved = terms.catalog.resolve(name)
    request = ResponsesRequest(
        model=resolved.slug,
        input=[],
        prompt_cache_key=call.headers.get("session-id") or call.headers.get("session_id") or path,
        side=SideCall(path=path, body=call.body),
    )
    return Turn(
        request=request,
        resolved=resolved,
        model=name,
        stream=False,
        reply=ResponsesReply(ResponsesOptions(model=name, codex=True)),
        forwards_headers=True,
        headers=forwarded_headers(call.headers),
    )
