"""
Estimates how many tokens a request has, by the words and characters of its texts. Pure.

The weights were fitted to o200k_base with texts in several scripts (``tests/dialects``). The estimate leans to more:
clients compact by it, and one that is too low lets them send what the upstream refuses.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from math import ceil
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET

from gptmock.dialects.image_data import image_size
from gptmock.dialects.tool_declarations import declaration
from gptmock.protocol.request import ResponsesRequest

CountText: TypeAlias = Callable[[str], int]
"""The number of tokens of a text."""

REQUEST_TOKENS = 3
ITEM_TOKENS = 4
TOOLS_TOKENS = 13
"""Of the words around a list of tools; like those of a request and an item, as recorded counts show them."""
IMAGE_TOKENS = 85
TILE_TOKENS = 170
TILE_PIXELS = 512
UNKNOWN_IMAGE_TOKENS = 1_105
PAGE_TOKENS = 1_500
_WHOLE_CHARACTERS = 32 * 1024
_PIECES = 8
_PIECE_CHARACTERS = 4 * 1024
_LEAN = 1.05
"""Of too much, rather than too little."""
_HEADER_CHARACTERS = 64 * 1024
"""Of an image's base64: its size stands at the beginning."""
_WORD = re.compile(r"[A-Za-z]+")
_CAPITAL = re.compile(r"[A-Z][a-z]")
"""Names are seldom one token."""
_ONE_EACH = tuple(
    re.compile(pattern) for pattern in (r"[0-9]{1,3}", r"[!-/:-@\[-`{-~]{1,3}", r"\n+[ \t]*|[ \t]{2,}|\t")
)
"""Digits, punctuation and white space other than between words."""
_WIDE = re.compile("[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef]")
_SIGN = re.compile("[\u2600-\u27bf\u200d\ufe0f\U0001f000-\U0003ffff]")
_ACCENTED = re.compile("[\u00a0-\u024f\u1e00-\u1eff]")
_ASCII = re.compile(r"[\x00-\x7f]+")
_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")


def estimated_text_tokens(text: str) -> int:
    """The tokens of a text, by its words and characters; of a long one, by pieces from all over it."""
    if len(text) <= _WHOLE_CHARACTERS:
        return ceil(_density(text))
    step = len(text) // _PIECES
    pieces = [text[begin : begin + _PIECE_CHARACTERS] for begin in range(0, step * _PIECES, step)]
    return ceil(sum(map(_density, pieces)) * len(text) / sum(map(len, pieces)))


def _density(text: str) -> float:
    """The estimate of a short text, before it is rounded."""
    words = sum((len(word) + 7) // 8 if len(word) <= 8 else (len(word) + 5) // 6 for word in _WORD.findall(text))
    tokens = words + sum(len(pattern.findall(text)) for pattern in _ONE_EACH) + 0.7 * len(_CAPITAL.findall(text))
    if not text.isascii():
        wide, signs, accented = (len(pattern.findall(text)) for pattern in (_WIDE, _SIGN, _ACCENTED))
        other = len(text) - sum(map(len, _ASCII.findall(text))) - wide - signs - accented
        tokens += wide / 1.15 + signs * 1.65 + accented * 1.1 + other / 2.25
    return _LEAN * tokens


def estimated_tokens(request: ResponsesRequest, count: CountText = estimated_text_tokens) -> int:
    """
    The input tokens of a request: instructions, items, tools, the format of the answer.

    Args:
        request: as it would be sent upstream.
        count: counts one text.
    """
    total = REQUEST_TOKENS + (0 if request.instructions is UNSET else count(request.instructions))
    for item in msgspec.to_builtins(request.input):
        total += ITEM_TOKENS + _item_tokens(item, count)
    if request.tools is not UNSET and request.tools:
        total += TOOLS_TOKENS + sum(count(declaration(msgspec.to_builtins(tool))) for tool in request.tools)
    if request.text is not UNSET and request.text.format is not None:
        total += _format_tokens(msgspec.to_builtins(request.text.format), count)
    return total


def _format_tokens(wanted: Any, count: CountText) -> int:
    """Of a schema for the answer: the model reads it as JSON."""
    schema = wanted.get("schema") if isinstance(wanted, dict) else None
    if not isinstance(schema, dict):
        return count(msgspec.json.encode(wanted).decode())
    told = {word: value for word, value in schema.items() if word != "$schema"}
    return count(str(wanted.get("description") or "")) + count(msgspec.json.encode(told).decode())


def _item_tokens(item: Any, count: CountText) -> int:
    if not isinstance(item, dict):
        return count(str(item))
    return sum(_value_tokens(name, value, count) for name, value in item.items() if name not in _NOT_TEXT)


_NOT_TEXT = frozenset({"type", "role", "id", "status", "call_id", "detail", "phase"})
_SEALED_DIVISOR = 6
"""Characters of encrypted reasoning for each token that it stands for, roughly."""


def _value_tokens(name: str, value: Any, count: CountText) -> int:
    if name == "encrypted_content" and isinstance(value, str):
        return len(value) // _SEALED_DIVISOR
    if name == "image_url" and isinstance(value, str):
        return _image_tokens(value)
    if name == "file_data" and isinstance(value, str):
        return _pages(value) * PAGE_TOKENS
    if name == "file_url":
        return PAGE_TOKENS
    if isinstance(value, str):
        return count(value)
    if isinstance(value, dict):
        return _item_tokens(value, count)
    if isinstance(value, list):
        return sum(_item_tokens(one, count) for one in value)
    return 0 if value is None else 1


def _image_tokens(url: str) -> int:
    size = image_size(_decoded(url, _HEADER_CHARACTERS)) if url.startswith("data:") else None
    if size is None:
        return UNKNOWN_IMAGE_TOKENS
    tiles = -(-size[0] // TILE_PIXELS) * -(-size[1] // TILE_PIXELS)
    return IMAGE_TOKENS + TILE_TOKENS * tiles


def _decoded(url: str, limit_characters: int | None = None) -> bytes:
    begin = url.find(",") + 1
    end = None if limit_characters is None else begin + limit_characters
    text = url[begin:end]
    try:
        return base64.b64decode(text[: len(text) // 4 * 4])
    except (binascii.Error, ValueError):
        return b""


def _pages(data_url: str) -> int:
    return max(1, len(_PAGE.findall(_decoded(data_url))))
