"""
Computes ``prompt_cache_key`` as a hash of how the conversation begins, so that every worker and every pod derives the
same key without shared state.
"""

from __future__ import annotations

import hashlib

import msgspec

from gptmock.protocol.request import InputItem, Message, Tool


def prompt_cache_key(tenant: str, *, instructions: str, tools: list[Tool], first_user_item: InputItem | None) -> str:
    """
    The cache key of a conversation: equal for all its turns, different for every tenant.

    Returns 36 characters in the form of a UUID, as the backend's own session ids have.
    """
    prefix = msgspec.json.encode([tenant, instructions, tools, first_user_item])
    return _as_uuid(b"prefix\0" + prefix)


def client_cache_key(tenant: str, session: str) -> str:
    """The cache key for a session id that the client sent; different for every tenant."""
    return _as_uuid(b"session\0" + msgspec.json.encode([tenant, session]))


def first_user_item(items: list[InputItem]) -> InputItem | None:
    """The first user message: it stays the same in all turns of a conversation."""
    for item in items:
        role = item.role if isinstance(item, Message) else item.get("role") if isinstance(item, dict) else None
        if role == "user":
            return item
    return None


def _as_uuid(data: bytes) -> str:
    digest = bytearray(hashlib.sha256(data).digest()[:16])
    # RFC 9562, version 8: "custom"; the variant bits say that it is a UUID at all.
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
