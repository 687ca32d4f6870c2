"""
Converts blocks of tools that a server runs to text: the upstream has no such blocks (next doors A.3). Must not know in
which message they stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from gptmock.dialects.messages.types import Block
from gptmock.protocol.request import JsonObject

RESULTS_SUFFIX = "_tool_result"
"""Of the types of results of server tools, such as ``web_search_tool_result``."""
_CALLS = frozenset({"server_tool_use", "mcp_tool_use"})
_TEXTUAL = frozenset({"mcp_tool_result", "fallback", "compaction", "container_upload", "tool_reference"})
_SAID = ("text", "stdout", "stderr")
"""Members of a result that are text."""
_SEALED_PREFIX = "encrypted_"
_DATA = frozenset({"source", "data"})
"""Members that may hold megabytes of base64."""


def is_server_block(kind: str) -> bool:
    """Whether a block is of a tool that a server runs: it becomes text."""
    return kind in _CALLS or kind in _TEXTUAL or kind.endswith((RESULTS_SUFFIX, "_state"))


def server_text(block: Block) -> str:
    """What a block of a server tool says, as text; nothing if it is empty."""
    if block.type in _CALLS:
        given = _input_text(block.input)
        name = block.name or "tool"
        return f"[{name}: {given}]" if given else f"[{name}]"
    return joined([block.text, *texts_of(block.content)])


def texts_of(content: str | list[Block] | JsonObject | None) -> Iterator[str]:
    """All texts in a content, in order; results of a search as ``title: URL``."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for block in content:
            if block.url:
                yield _address(block.title, block.url)
            elif block.text:
                yield block.text
            else:
                yield from texts_of(block.content)
    elif content is not None:
        yield from _object_texts(content)


def joined(texts: Iterable[str | None]) -> str:
    """The texts that are not empty, one below the other."""
    return "\n".join(text for text in texts if text)


def _input_text(given: Any) -> str:
    """The input of a call: its only text, else JSON."""
    if isinstance(given, dict):
        query = given.get("query", next(iter(given.values())) if len(given) == 1 else None)
        if isinstance(query, str):
            return query
    return msgspec.json.encode(given).decode() if given else ""


def _address(title: Any, url: str) -> str:
    return f"{title}: {url}" if isinstance(title, str) and title else url


def _object_texts(given: JsonObject) -> Iterator[str]:
    """The texts of a result that is no list, such as ``code_execution_result``; one without any as JSON."""
    url = given.get("url")
    found = [_address(given.get("title"), url)] if isinstance(url, str) and url else []
    found += [text for name in _SAID if isinstance(text := given.get(name), str) and text]
    found += [text for text in _nested_texts(given.get("content")) if text]
    found += [text for text in _source_texts(given.get("source")) if text]
    if found:
        yield from found
        return
    kept = {name: value for name, value in given.items() if name not in _DATA and not name.startswith(_SEALED_PREFIX)}
    yield msgspec.json.encode(kept).decode()


def _nested_texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        yield from _object_texts(content)
    elif isinstance(content, list):
        for one in content:
            yield from _nested_texts(one)


def _source_texts(source: Any) -> Iterator[str]:
    """Of a document: its text; of other data nothing."""
    if isinstance(source, dict):
        data = source.get("data")
        if source.get("type") == "text" and isinstance(data, str):
            yield data
        yield from _nested_texts(source.get("content"))
