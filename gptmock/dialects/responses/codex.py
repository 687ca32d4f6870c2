"""
Decodes the requests of Codex clients: they are sent upstream unchanged except for what the backend requires. The
operator's defaults do not apply. Source: the observed Codex CLI 0.171.0, upstream protocol 4.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import UNSET

from gptmock.catalog import PRIORITY_TIER, ResolvedModel, clamp_effort
from gptmock.conversations import NO_CONTEXT, LoadedContext
from gptmock.dialects.conversation_key import conversation_key
from gptmock.dialects.dialect import Call, Terms, Turn
from gptmock.dialects.model_options import model_name
from gptmock.dialects.responses.items import decode_input, refuse_reference, user_message
from gptmock.dialects.responses.previous_response import continued
from gptmock.dialects.responses.reply import ResponsesReply
from gptmock.dialects.responses.response_object import ResponsesOptions
from gptmock.dialects.responses.types import CodexBody
from gptmock.errors import BadRequest
from gptmock.protocol.codex_version import is_plausible, release_numbers
from gptmock.protocol.request import InputItem, JsonObject, ResponsesRequest

_IDENTITY_HEADERS = ("originator", "user-agent")
_FORWARDED = frozenset(
    {
        *_IDENTITY_HEADERS,
        "version",
        "session-id",
        "session_id",
        "thread-id",
        "thread_id",
        "conversation_id",
        "x-client-request-id",
    }
)
_FORWARDED_PREFIXES = ("x-codex-", "x-openai-")
_WITHHELD = re.compile(
    "account|workspace|organi[sz]ation|project|tenant|fedramp|residency|attestation|routing-override"
    "|authorization|cookie|x-openai-client-"
)
"""
Parts of the names of headers that are not forwarded: they refer to the client's own account, workspace, login or
machine, and would contradict the credential of our account. Source: the signed-in Codex CLI 0.171.0.
"""
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_PRODUCT = re.compile(r"(?P<originator>[^/]+)/(?P<version>\d+(?:\.\d+)+[0-9A-Za-z.-]*)")


_CODEX_PRODUCT = re.compile(r"codex[^/]*/(?P<version>\S*)", re.IGNORECASE)


def is_codex(headers: Mapping[str, str]) -> bool:
    """Whether ``originator`` or ``User-Agent`` names a Codex client."""
    return any(headers.get(name, "").lower().startswith("codex") for name in _IDENTITY_HEADERS)


def shown_version(headers: Mapping[str, str]) -> str | None:
    """
    The release that a Codex client says it is, in its User-Agent, in ``version`` or in both; of two, the older one.

    ``None`` for every other client, and where one of them is not plausible (``protocol.codex_version``).
    """
    if not is_codex(headers):
        return None
    product = _CODEX_PRODUCT.match(headers.get("user-agent", ""))
    shown = [product["version"]] if product is not None else []
    if "version" in headers:
        shown.append(headers["version"])
    if not shown or not all(map(is_plausible, shown)):
        return None
    return min(shown, key=lambda one: release_numbers(one) or ())


def forwarded_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """
    The request headers of a Codex client that are sent upstream.

    ``originator`` and ``version`` are taken from ``User-Agent`` if absent: Codex omits them with a custom provider, and
    the backend refuses models by ``version``.

    Raises:
        BadRequest: a value has a line break or another control character.
    """
    forwarded = {name: value for name, value in headers.items() if _is_forwarded(name)}
    for name, value in forwarded.items():
        if _CONTROLS.search(value):
            raise BadRequest(f"The header '{name}' holds a control character.", code="invalid_header")
    product = _PRODUCT.match(forwarded.get("user-agent", ""))
    return {**(product.groupdict() if product is not None else {}), **forwarded}


def _is_forwarded(name: str) -> bool:
    return name in _FORWARDED or (name.startswith(_FORWARDED_PREFIXES) and not _WITHHELD.search(name))


def codex_turn(body: CodexBody, call: Call, terms: Terms) -> Turn:
    """
    The turn for a request of a Codex client.

    Raises:
        BadRequest: no input, an unresolved ``item_reference``, or a header with a control character.
    """
    name = model_name(body.model, terms)
    resolved = terms.catalog.resolve(terms.defaults.debug_model or name)
    items = _items(body.input, call.context)
    more = {**(body.model_extra or {}), **_from_name(body, resolved)}
    request = ResponsesRequest(
        model=resolved.slug,
        instructions=UNSET if body.instructions is None else body.instructions,
        input=items,
        include=UNSET if body.include is None else body.include,
        prompt_cache_key=body.prompt_cache_key
        or conversation_key(call, None, instructions=body.instructions or "", tools=[], items=items),
        more=more,
    )
    return Turn(
        request=request,
        resolved=resolved,
        model=name,
        stream=bool(body.stream),
        reply=ResponsesReply(ResponsesOptions(model=name, codex=True, hides_plan="chatgpt-account-id" in call.headers)),
        forwards_headers=True,
        headers=forwarded_headers(call.headers),
        account_id=call.context.account_id,
    )


def _items(given: str | list[JsonObject] | None, context: LoadedContext) -> list[InputItem]:
    if context != NO_CONTEXT:
        # Stored items are in the format of the public API and must be converted.
        return decode_input(continued(given, context))
    if not given:
        raise BadRequest("'input' is empty.", code="missing_required_parameter", param="input")
    if isinstance(given, str):
        return [user_message(given)]
    for index, item in enumerate(given):
        refuse_reference(item, f"input[{index}]")
    return list(given)


def _from_name(body: CodexBody, resolved: ResolvedModel) -> JsonObject:
    """The members that suffixes of the model name (``-high``, ``-fast``) imply, unless the body sets them."""
    asked: JsonObject = {}
    reasoning = body.reasoning or {}
    if resolved.effort is not None and reasoning.get("effort") is None:
        reasoning = {**reasoning, "effort": clamp_effort(resolved.effort, resolved.spec)}
    if reasoning:
        asked["reasoning"] = reasoning
    if resolved.fast and (body.model_extra or {}).get("service_tier") is None:
        asked["service_tier"] = PRIORITY_TIER
    return asked
