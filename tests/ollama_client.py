"""How clients of Ollama ask at either route, and how they read lines and documents; client contracts 5.5 and 5.6."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gptmock.protocol.fold import FoldedResponse
from gptmock.protocol.output_parts import CallInput, CallOpened

SEPARATORS = ("\u0085", "\u2028", "\u2029")
_DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
_COUNTS = ("prompt_eval_count", "eval_count")


def ollama_chat_body(*, stop: Sequence[str] = (), **more: Any) -> bytes:
    return _ollama_body({"messages": [{"role": "user", "content": "Hello"}]}, stop, more)


def ollama_generate_body(*, stop: Sequence[str] = (), **more: Any) -> bytes:
    return _ollama_body({"prompt": "Hello"}, stop, more)


def _ollama_body(asked: Mapping[str, Any], stop: Sequence[str], more: Mapping[str, Any]) -> bytes:
    body = {"model": "gpt-5.5", **asked, **more}
    return json.dumps(body | ({"options": {"stop": list(stop)}} if stop else {})).encode()


def _ollama_said(line: dict[str, Any], *, chat: bool) -> dict[str, Any]:
    """What a line says, the same for both routes; checks client contracts 5.5 and 5.6."""
    if chat:
        said = line.pop("message")
        assert said.pop("role") == "assistant"
        said = {"text": said.pop("content"), **said}
    else:
        members = ("thinking", "tool_calls", "images")
        said = {"text": line.pop("response"), **{name: line.pop(name) for name in members if name in line}}
    assert set(said) <= {"text", "thinking", "tool_calls", "images"}
    assert said.get("images", "x"), "no empty images"
    assert isinstance(said["text"], str)
    assert said.get("thinking", "x"), "no empty thinking"
    for call in said.get("tool_calls", [{"id": "x", "function": {"index": 0, "name": "x", "arguments": {}}}]):
        assert set(call) == {"id", "function"}
        assert set(call["function"]) == {"index", "name", "arguments"}
        assert isinstance(call["function"]["arguments"], dict)
    return said


def _ollama_end(line: Mapping[str, Any]) -> None:
    assert set(line) <= {"model", "created_at", "done", "done_reason", *_DURATIONS, *_COUNTS}
    assert line["done_reason"] in ("stop", "length")
    assert all(type(line[name]) is int and line[name] >= 0 for name in _DURATIONS)
    assert all(type(line.get(name, 0)) is int for name in _COUNTS)
    assert line["eval_duration"] > 0, "clients divide by it"


def fold_ollama(frames: Sequence[bytes], *, chat: bool) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    """A stream as clients add it up: the reply, and the error it ended with; a breach of the grammar is asserted."""
    reply: dict[str, Any] = {"text": ""}
    done, fixed = False, None
    error: dict[str, Any] | None = None
    assert all(frame.endswith(b"\n") for frame in frames)
    for data in b"".join(frames).decode().split("\n")[:-1]:
        assert data, "no blank line"
        assert len(data.splitlines()) == 1, "one line, whatever one takes for a line end"
        assert not done, "nothing follows the last line"
        line: dict[str, Any] = json.loads(data)
        if "error" in line:
            assert set(line) == {"error"}
            assert isinstance(line["error"], str)
            assert line["error"]
            done, error = True, line
            continue
        said = _ollama_said(line, chat=chat)
        fixed = fixed or (line["model"], line["created_at"])
        assert fixed == (line["model"], line["created_at"])
        reply["text"] += said["text"]
        if "thinking" in said:
            reply["thinking"] = reply.get("thinking", "") + said["thinking"]
        reply.setdefault("tool_calls", []).extend(said.get("tool_calls", ()))
        done = line["done"]
        assert done or "images" not in said, "images stand in the last line"
        reply |= {"images": said["images"]} if "images" in said else {}
        if done:
            _ollama_end(line)
            reply |= line
    assert done, "a last line or an error line ends a reply"
    if error is not None:
        return {}, error
    if not reply["tool_calls"]:
        del reply["tool_calls"]
    assert [call["function"]["index"] for call in reply.get("tool_calls", ())] == [
        *range(len(reply.get("tool_calls", ())))
    ]
    return reply, None


def ollama_document(document: bytes, *, chat: bool) -> Mapping[str, Any]:
    """The one object of a collected reply, in the words of ``fold_ollama``."""
    assert not any(separator in document.decode() for separator in SEPARATORS)
    line: dict[str, Any] = json.loads(document)
    said = _ollama_said(line, chat=chat)
    _ollama_end(line)
    return {**said, **line}


def ollama_tells(folded: FoldedResponse) -> bool:
    """Ollama has no word for the content filter, and arguments are an object."""
    reason = folded.finished.incomplete_reason
    if reason is not None:
        return reason != "content_filter"
    inputs = {piece.index: "" for piece in folded.pieces if isinstance(piece, CallOpened) and piece.kind == "function"}
    for piece in folded.pieces:
        if isinstance(piece, CallInput) and piece.index in inputs:
            inputs[piece.index] += piece.text
    return all(_is_json_object(text) for text in inputs.values())


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def ollama_text(reply: Mapping[str, Any]) -> str:
    return str(reply["text"])
