"""
Computes ``prompt_cache_key`` as a hash of how the conversation begins, so that every worker and every pod derives the
same key without shared state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from gptmock.protocol.request import InputItem, Message, Tool

_LARGE_CHARACTERS = 256 * 1024
"""From here on a text is encoded in pieces of this size: that takes no second copy of it, and no long step."""


def prompt_cache_key(tenant: str, *, instructions: str, tools: list[Tool], first_user_item: InputItem | None) -> str:
    """
    The cache key of a conversation: equal for all its turns, different for every tenant.

    Returns 36 characters in the form of a UUID, as the backend's own session ids have.
    """
    prefix = [tenant, instructions, tools, first_user_item]
    if len(instructions) < _LARGE_CHARACTERS and not _has_large_text(first_user_item):
        return _as_uuid([b"prefix\0" + msgspec.json.encode(prefix)])
    return _as_uuid(_chained(b"prefix\0", msgspec.to_builtins(prefix)))


def client_cache_key(tenant: str, session: str) -> str:
    """The cache key for a session id that the client sent; different for every tenant."""
    return _as_uuid([b"session\0" + msgspec.json.encode([tenant, session])])


def first_user_item(items: list[InputItem]) -> InputItem | None:
    """The first user message: it stays the same in all turns of a conversation."""
    for item in items:
        role = item.role if isinstance(item, Message) else item.get("role") if isinstance(item, dict) else None
        if role == "user":
            return item
    return None


def _has_large_text(item: InputItem | None) -> bool:
    if item is None:
        return False
    if isinstance(item, Message):
        return any(_is_large(getattr(part, name)) for part in item.content for name in part.__struct_fields__)
    content = item.get("content") if isinstance(item, dict) else None
    if not isinstance(content, list):
        return _is_large(content)
    return any(_is_large(value) for part in content if isinstance(part, dict) for value in part.values())


def _is_large(value: Any) -> bool:
    return isinstance(value, str) and len(value) >= _LARGE_CHARACTERS


def _chained(beginning: bytes, value: Any) -> Iterator[bytes]:
    yield beginning
    yield from _json_pieces(value)


def _json_pieces(value: Any) -> Iterator[bytes]:
    """What ``msgspec.json.encode`` makes of built-in values, in pieces."""
    if _is_large(value):
        yield b'"'
        for begin in range(0, len(value), _LARGE_CHARACTERS):
            yield msgspec.json.encode(value[begin : begin + _LARGE_CHARACTERS])[1:-1]
        yield b'"'
    elif isinstance(value, dict):
        for number, (name, member) in enumerate(value.items()):
            yield b"%b%b:" % (b"," if number else b"{", msgspec.json.encode(name))
            yield from _json_pieces(member)
        yield b"}" if value else b"{}"
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield b"," if number else b"["
            yield from _json_pieces(member)
        yield b"]" if value else b"[]"
    else:
        yield msgspec.json.encode(value)


def _as_uuid(pieces: Iterable[bytes]) -> str:
    hashed = hashlib.sha256()
    for piece in pieces:
        hashed.update(piece)
    digest = bytearray(hashed.digest()[:16])
    # RFC 9562, version 8: "custom"; the variant bits say that it is a UUID at all.
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
