"""Tool calls and their outputs as Responses items: types, and ids and names as the upstream accepts them. Pure."""

from __future__ import annotations

from gptmock.dialects.bodies import missing
from gptmock.dialects.identifiers import upstream_call_id, upstream_name
from gptmock.protocol.request import JsonObject

CALL_TYPES = frozenset({"function_call", "custom_tool_call"})
OUTPUT_TYPES = frozenset({"function_call_output", "custom_tool_call_output"})


def with_upstream_ids(item: JsonObject, kind: str, within: str) -> JsonObject:
    """
    A call or an output with ``call_id`` and ``name`` shortened to what the upstream accepts.

    Args:
        item: the item as the client sent it.
        kind: its type, of ``CALL_TYPES`` or ``OUTPUT_TYPES``.
        within: the path to it, such as ``input[2]``.

    Raises:
        BadRequest: ``call_id`` is missing, or ``name`` of a call.
    """
    call_id, name = item.get("call_id"), item.get("name")
    if not isinstance(call_id, str) or not call_id:
        raise missing(f"{within}.call_id")
    sent = {**item, "call_id": upstream_call_id(call_id)}
    if kind in OUTPUT_TYPES:
        return sent
    if not isinstance(name, str) or not name:
        raise missing(f"{within}.name")
    return {**sent, "name": upstream_name(name)}
