"""Reads Messages streams and documents as the official SDKs do, and checks their grammar (next doors A.4, A.5)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

_BLOCKS = {
    "text": {"type", "text"},
    "thinking": {"type", "thinking", "signature"},
    "tool_use": {"type", "id", "name", "input"},
    "server_tool_use": {"type", "id", "name", "input"},
    "web_search_tool_result": {"type", "tool_use_id", "content"},
}
_DELTAS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("thinking", "signature"),
    "input_json_delta": ("input", "partial_json"),
    "citations_delta": ("text", "citation"),
}
"""Type of a delta to the block that it belongs to, and its member."""
_REASONS = ("end_turn", "tool_use", "stop_sequence", "max_tokens", "refusal", "model_context_window_exceeded")
_USAGE = {"input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"}


def messages_body(*, stop: Sequence[str] = (), stream: bool = True, **more: Any) -> bytes:
    body: dict[str, Any] = {
        "model": "gpt-5.5",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": "Hello"}],
        "thinking": {"type": "adaptive", "display": "summarized"},
        "stream": stream,
        **more,
    }
    return json.dumps(body | ({"stop_sequences": list(stop)} if stop else {})).encode()


class _Fold:
    """Adds up the events of one message."""

    def __init__(self) -> None:
        self.message: dict[str, Any] = {}
        self.block: dict[str, Any] | None = None
        self.inputs: list[str] = []
        self.signed = False
        self.ended = False
        self.stopped = False

    def event(self, event: dict[str, Any]) -> None:
        assert not self.stopped, "nothing follows message_stop"
        kind = event["type"]
        match kind:
            case "ping":
                assert set(event) == {"type"}
            case "message_start":
                assert not self.message, "a message begins once"
                self.message = _begun(event["message"])
            case "content_block_start":
                self.start(event)
            case "content_block_delta":
                self.delta(event)
            case "content_block_stop":
                assert self.block is not None, "only an open block is closed"
                assert event["index"] == len(self.message["content"]) - 1
                self.close(self.block)
            case "message_delta":
                assert self.block is None, "all blocks are closed"
                assert not self.ended, "a message ends once"
                self.ended = True
                self.message |= event["delta"]
                self.message["usage"] = event["usage"]
            case "message_stop":
                assert self.ended, "message_delta comes before message_stop"
                self.stopped = True
            case _:
                raise AssertionError(f"an unknown event: {kind}")

    def start(self, event: dict[str, Any]) -> None:
        assert self.message, "message_start is first"
        assert self.block is None, "blocks do not overlap"
        assert not self.ended
        assert event["index"] == len(self.message["content"]), "indexes are contiguous from 0"
        self.block = dict(event["content_block"])
        kind = self.block["type"]
        assert set(self.block) == _BLOCKS[kind]
        assert self.block.get("text", "") == self.block.get("thinking", "") == self.block.get("signature", "") == ""
        assert self.block.get("input", {}) == {}
        self.inputs, self.signed = [], False
        self.message["content"].append(self.block)

    def delta(self, event: dict[str, Any]) -> None:
        assert self.block is not None, "a delta is inside a block"
        assert event["index"] == len(self.message["content"]) - 1
        delta = event["delta"]
        place, member = _DELTAS[delta["type"]]
        assert set(delta) == {"type", member}
        assert place in self.block, "the delta belongs to this block"
        assert delta[member], "no empty delta"
        assert not self.signed, "the signature is the last delta of its block"
        match delta["type"]:
            case "input_json_delta":
                self.inputs.append(delta[member])
            case "citations_delta":
                _check_citation(delta[member])
                self.block.setdefault("citations", []).append(delta[member])
            case "signature_delta":
                self.signed = True
                self.block["signature"] = delta[member]
            case _:
                self.block[member] += delta[member]

    def close(self, block: dict[str, Any]) -> None:
        if "input" in block:
            assert self.inputs, "a call without arguments sends {}"
            block["input"] = _object("".join(self.inputs))
        if block["type"] in ("text", "thinking"):
            assert any(value for name, value in block.items() if name != "type"), "no empty block"
        self.block = None


def _begun(message: dict[str, Any]) -> dict[str, Any]:
    assert set(message) == {"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"}
    assert (message["content"], message["stop_reason"], message["stop_sequence"]) == ([], None, None)
    assert set(message["usage"]) >= _USAGE
    assert all(isinstance(message["usage"][name], int) for name in _USAGE)
    return dict(message)


def _object(text: str) -> Any:
    """The input of a tool as a lenient SDK reads it: cut JSON is no input."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _check_citation(citation: dict[str, Any]) -> None:
    assert set(citation) == {"type", "url", "title", "cited_text", "encrypted_index"}
    assert citation["type"] == "web_search_result_location"


def _check_message(message: Mapping[str, Any]) -> None:
    assert message["id"].startswith("msg_")
    assert (message["type"], message["role"]) == ("message", "assistant")
    assert message["model"]
    assert message["stop_reason"] in _REASONS
    assert set(message["usage"]) >= _USAGE
    calls = [block for block in message["content"] if block["type"] == "tool_use"]
    assert calls or message["stop_reason"] != "tool_use", "the reason is computed from blocks that were sent"
    assert (message["stop_sequence"] is not None) is (message["stop_reason"] == "stop_sequence")
    assert ("stop_details" in message) is (message["stop_reason"] == "refusal")
    for block in message["content"]:
        assert set(block) - {"citations"} == _BLOCKS[block["type"]]


def fold_messages(frames: Sequence[bytes]) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    """A stream as an SDK adds it up: the message, and the error if that is how it ended."""
    assert all(frame.endswith(b"\n\n") for frame in frames)
    state = _Fold()
    error: Mapping[str, Any] | None = None
    for frame in b"".join(frames).decode().split("\n\n")[:-1]:
        assert error is None, "nothing follows an error"
        lines = frame.split("\n")
        assert len(lines) == 2, "an event line and a data line"
        assert len(lines[1].splitlines()) == 1, "one line, whatever one takes for a line end"
        event = json.loads(lines[1].removeprefix("data: "))
        assert lines[0] == f"event: {event['type']}", "SDKs drop an event whose name is not its type"
        if event["type"] == "error":
            assert not state.ended, "an error never follows the end"
            assert set(event) == {"type", "error", "request_id"}
            assert set(event["error"]) == {"type", "message"}
            error = event["error"]
        else:
            state.event(event)
    assert state.stopped is (error is None), "message_stop ends a message, and never a failed one"
    if error is not None:
        return {}, error
    _check_message(state.message)
    return state.message, None


def messages_document(document: bytes) -> Mapping[str, Any]:
    """A ``message``."""
    assert not any(separator in document.decode() for separator in ("\u0085", "\u2028", "\u2029"))
    message: dict[str, Any] = json.loads(document)
    _check_message(message)
    return message


def messages_text(message: Mapping[str, Any]) -> str:
    """The texts, one for each message of the upstream."""
    return "\n\n".join(block["text"] for block in message["content"] if block["type"] == "text")
