"""The prompt cache key of a call: from the client's session id, else from a hash of how the conversation begins."""

from __future__ import annotations

from gptmock.dialects.dialect import Call
from gptmock.protocol.cache_key import client_cache_key, first_user_item, prompt_cache_key
from gptmock.protocol.request import InputItem, Tool

SESSION_HEADERS = ("x-session-id", "session_id", "session-id")


def conversation_key(
    call: Call, session: str | None, *, instructions: str, tools: list[Tool], items: list[InputItem]
) -> str:
    """
    The ``prompt_cache_key`` of a call, never shared between tenants.

    Args:
        call: its headers may have a session id (``SESSION_HEADERS``).
        session: the session id in the body; it takes precedence.
        instructions: hashed with tools and the first user item if there is no session id.
        tools: as sent upstream.
        items: the input.
    """
    named = session or next((value for name in SESSION_HEADERS if (value := call.headers.get(name))), None)
    if named is not None:
        return client_cache_key(call.tenant, named)
    return prompt_cache_key(call.tenant, instructions=instructions, tools=tools, first_user_item=first_user_item(items))
