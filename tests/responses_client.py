"""
How clients of ``POST /v1/responses`` ask and read. ``fold_responses`` adds a stream up as the strictest SDK does, and
holds every event to client contracts 3.5: any breach is an ``AssertionError``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

RESPONSE_MEMBERS = [
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "background",
    "error",
    "incomplete_details",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "model",
    "output",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "usage",
    "user",
    "metadata",
]
_IN_ITEM = ("item_id", "output_index")
_IN_CONTENT = (*_IN_ITEM, "content_index")
_IN_SUMMARY = (*_IN_ITEM, "summary_index")
REQUIRED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        [f"response.{one}" for one in ("created", "in_progress", "queued", "completed", "incomplete", "failed")],
        ("response",),
    ),
    "response.output_item.added": ("output_index", "item"),
    "response.output_item.done": ("output_index", "item"),
    "response.content_part.added": (*_IN_CONTENT, "part"),
    "response.content_part.done": (*_IN_CONTENT, "part"),
    "response.output_text.delta": (*_IN_CONTENT, "delta", "logprobs"),
    "response.output_text.done": (*_IN_CONTENT, "text", "logprobs"),
    "response.output_text.annotation.added": (*_IN_CONTENT, "annotation_index", "annotation"),
    "response.refusal.delta": (*_IN_CONTENT, "delta"),
    "response.refusal.done": (*_IN_CONTENT, "refusal"),
    "response.function_call_arguments.delta": (*_IN_ITEM, "delta"),
    "response.function_call_arguments.done": (*_IN_ITEM, "name", "arguments"),
    "response.custom_tool_call_input.delta": (*_IN_ITEM, "delta"),
    "response.custom_tool_call_input.done": (*_IN_ITEM, "input"),
    "response.reasoning_summary_part.added": (*_IN_SUMMARY, "part"),
    "response.reasoning_summary_part.done": (*_IN_SUMMARY, "part"),
    "response.reasoning_summary_text.delta": (*_IN_SUMMARY, "delta"),
    "response.reasoning_summary_text.done": (*_IN_SUMMARY, "text"),
    "response.reasoning_text.delta": (*_IN_CONTENT, "delta"),
    "response.reasoning_text.done": (*_IN_CONTENT, "text"),
    "error": ("code", "message", "param", "error"),
}
_TEXTS = {
    "response.output_text": ("message", "output_text", "text", "content"),
    "response.refusal": ("message", "refusal", "refusal", "content"),
    "response.reasoning_summary_text": ("reasoning", "summary_text", "text", "summary"),
    "response.reasoning_text": ("reasoning", "reasoning_text", "text", "content"),
    "response.function_call_arguments": ("function_call", "", "arguments", ""),
    "response.custom_tool_call_input": ("custom_tool_call", "", "input", ""),
}
"""Event to: type of item, type of part, member, list of parts."""
_KNOWN_PARTS = {part for _, part, _, _ in _TEXTS.values() if part}
_ITEM_MEMBERS = {
    "message": ("role", "status", "content"),
    "reasoning": ("summary",),
    "function_call": ("call_id", "name", "arguments", "status"),
    "custom_tool_call": ("call_id", "name", "input"),
    "web_search_call": ("status",),
    "image_generation_call": ("status",),
}


def responses_body(*, stop: Sequence[str] = (), stream: bool = True, **more: Any) -> bytes:
    """A Responses request; the API has no stop sequences, so they are one of many keys that mean nothing."""
    body = {"model": "gpt-5.5", "input": "Hello", "stream": stream, **more}
    return json.dumps(body | ({"stop": list(stop)} if stop else {})).encode()


@dataclass(slots=True)
class _Growing:
    """One text, and whether it has been said whole."""

    text: str = ""
    said: bool = False
    closed: bool = False
    annotations: list[Json] = field(default_factory=list)


@dataclass(slots=True)
class _Item:
    """An item in the making."""

    begun: Json
    done: Json | None = None
    parts: dict[str, list[_Growing]] = field(default_factory=lambda: {"content": [], "summary": []})
    call: _Growing = field(default_factory=_Growing)


@dataclass(slots=True)
class _Fold:
    """The state of a strict reader."""

    created: Json | None = None
    items: list[_Item] = field(default_factory=list)
    final: Json | None = None
    error: Json | None = None
    failed: Json | None = None

    def event(self, event: Json) -> None:
        kind = event["type"]
        assert self.final is None, "nothing follows the end"
        assert self.failed is None, "nothing follows the end"
        missing = [name for name in REQUIRED.get(kind, ()) if name not in event]
        assert not missing, f"{kind} lacks {missing}"
        if kind == "error":
            assert self.error is None, "one error"
            self.error = event
            return
        if kind == "response.failed":
            assert self.error is not None, "the error comes first: SDKs act on it"
            self.response(event["response"], "failed")
            assert event["response"]["error"]["message"] == self.error["message"]
            assert event["response"]["output"] == [item.done for item in self.items if item.done is not None]
            self.failed = event["response"]
            return
        assert self.error is None, "only response.failed follows an error"
        if kind == "response.created":
            assert self.created is None, "created once"
            self.response(event["response"], "in_progress")
            assert event["response"]["output"] == []
            self.created = event["response"]
            return
        assert self.created is not None, f"{kind} before response.created"
        self.within(kind, event)

    def within(self, kind: str, event: Json) -> None:
        if kind in ("response.in_progress", "response.queued"):
            self.response(event["response"], kind.removeprefix("response."))
        elif kind in ("response.completed", "response.incomplete"):
            self.response(event["response"], kind.removeprefix("response."))
            assert event["response"]["output"] == [item.done for item in self.items]
            self.final = event["response"]
        elif kind == "response.output_item.added":
            self.item_added(event)
        elif kind == "response.output_item.done":
            self.item_done(event)
        elif kind in REQUIRED:
            item = self.items[event["output_index"]]
            assert item.done is None, "nothing is added to a finished item"
            assert event["item_id"] == item.begun["id"], "ids are stable"
            self.in_item(kind, event, item)

    def response(self, response: Json, status: str) -> None:
        lacking = [name for name in RESPONSE_MEMBERS if name not in response]
        assert not lacking, lacking
        assert response["status"] == status
        assert response["object"] == "response"
        assert response["id"].startswith("resp_")
        assert isinstance(response["created_at"], int)
        assert response["model"]
        if self.created is not None:
            assert response["id"] == self.created["id"], "one id for all events"
        usage = response["usage"]
        if usage is not None:
            assert all(isinstance(usage[name], int) for name in ("input_tokens", "output_tokens", "total_tokens"))
            assert {"cached_tokens", "cache_write_tokens"} <= set(usage["input_tokens_details"])
            assert "reasoning_tokens" in usage["output_tokens_details"]

    def item_added(self, event: Json) -> None:
        item = event["item"]
        assert event["output_index"] == len(self.items), "indexes count from 0"
        assert isinstance(item["id"], str)
        assert item["id"]
        if item["type"] in _ITEM_MEMBERS:
            assert set(_ITEM_MEMBERS[item["type"]]) <= set(item)
        for name in ("content", "summary", "arguments", "input"):
            assert not (
                item["type"] in ("message", "reasoning", "function_call", "custom_tool_call") and item.get(name)
            )
        self.items.append(_Item(item))

    def item_done(self, event: Json) -> None:
        item, told = self.items[event["output_index"]], event["item"]
        assert item.done is None, "an item is done once"
        assert (told["id"], told["type"]) == (item.begun["id"], item.begun["type"])
        if told["type"] in _ITEM_MEMBERS:
            assert set(_ITEM_MEMBERS[told["type"]]) <= set(told)
        if told["type"] == "function_call":
            assert (item.call.text, item.call.said) == (told["arguments"], True)
        elif told["type"] == "custom_tool_call":
            assert (item.call.text, item.call.said) == (told["input"], True)
        elif told["type"] in ("message", "reasoning"):
            for within, parts in item.parts.items():
                assert len(told.get(within) or ()) == len(parts)
                for part, whole in zip(parts, told.get(within) or (), strict=True):
                    self.same(part, whole)
        item.done = told

    def same(self, part: _Growing, whole: Json) -> None:
        if whole.get("type") == "output_text":
            assert part.closed
            assert isinstance(whole["logprobs"], list)
            assert whole["annotations"] == part.annotations
        if str(whole.get("type")) in _KNOWN_PARTS:
            assert (part.text, part.said) == (whole.get("text", whole.get("refusal")), True)

    def in_item(self, kind: str, event: Json, item: _Item) -> None:
        if kind.endswith("_part.added"):
            parts = item.parts["summary" if "summary" in kind else "content"]
            assert _index(event) == len(parts), "parts count from 0"
            assert str(event["part"].get("type")) not in _KNOWN_PARTS or not event["part"].get("text")
            parts.append(_Growing())
            return
        if kind.endswith("_part.done"):
            part = item.parts["summary" if "summary" in kind else "content"][_index(event)]
            part.closed = True
            self.same(part, event["part"])
            return
        if kind == "response.output_text.annotation.added":
            part = item.parts["content"][event["content_index"]]
            assert event["annotation_index"] == len(part.annotations)
            part.annotations.append(event["annotation"])
            return
        self.grow(kind, event, item)

    def grow(self, kind: str, event: Json, item: _Item) -> None:
        base, _, what = kind.rpartition(".")
        owner, part_type, member, within = _TEXTS[base]
        assert item.begun["type"] == owner
        part = item.call
        if within:
            parts = item.parts[within]
            index = _index(event)
            if part_type == "reasoning_text" and index == len(parts):
                # The API has no event that opens such a part.
                parts.append(_Growing())
            part = parts[index]
        assert not part.said, "nothing is added to a text that was said whole"
        if what == "delta":
            part.text += event["delta"]
        else:
            assert event[member] == part.text, "deltas add up to the whole"
            part.said = True


def _index(event: Json) -> int:
    return int(event["summary_index"] if "summary_index" in event else event["content_index"])


def fold_responses(frames: Sequence[bytes]) -> tuple[Json, Json | None]:
    """The Response that a stream adds up to; or nothing, and the error that ended it."""
    fold = _Fold()
    wire = b"".join(frames).decode()
    assert all(frame.endswith(b"\n\n") for frame in frames)
    for number, frame in enumerate(wire.split("\n\n")[:-1]):
        name, _, data = frame.rpartition("\n")
        assert data.startswith("data: ")
        assert len(data.splitlines()) == 1, "one line, whatever one takes for a line end"
        event = json.loads(data.removeprefix("data: "))
        if re.fullmatch(r"[A-Za-z0-9_.-]+", event["type"]):
            assert name == f"event: {event['type']}"
        else:
            assert name == "", "a name that would break the frame is left to the JSON"
        assert event["sequence_number"] == number, "numbers without gaps"
        fold.event(event)
    if fold.error is not None:
        assert fold.failed is not None, "an error is followed by response.failed"
        return {}, fold.error
    assert fold.final is not None, "a stream has an end"
    return fold.final, None


def responses_document(document: bytes) -> Json:
    """A Response, without what only time changes."""
    assert not any(separator in document.decode() for separator in ("\u0085", "\u2028", "\u2029"))
    value: Json = json.loads(document)
    assert value["object"] == "response"
    return value


def responses_text(reply: Mapping[str, Any]) -> str:
    """The text of all messages, a blank line between two."""
    texts = [
        [part["text"] for part in item["content"] if part["type"] == "output_text"]
        for item in reply["output"]
        if item["type"] == "message"
    ]
    return "\n\n".join("".join(parts) for parts in texts if parts)
