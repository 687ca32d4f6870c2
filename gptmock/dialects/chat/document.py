"""Renders the ``chat.completion`` object for ``stream: false``, with the same presenter as the stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, assert_never

from gptmock.dialects.chat.wire import ID_PREFIX, ChatOptions, chat_annotations, chat_image, finish_reason
from gptmock.dialects.dialect import ReplyHead
from gptmock.dialects.json_text import json_bytes
from gptmock.dialects.openai_usage import completion_usage
from gptmock.dialects.presentation import Conclusion, Content, Presenter, Shown, Thought
from gptmock.protocol.fold import FoldedResponse
from gptmock.protocol.output_parts import CallInput, CallOpened, ImageMade, Refusal


@dataclass(slots=True)
class _Answer:
    """The presenter's output, by member of the message."""

    content: list[str] = field(default_factory=list)
    thoughts: list[Thought] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    calls: dict[int, CallOpened] = field(default_factory=dict)
    inputs: dict[int, list[str]] = field(default_factory=dict)
    images: list[ImageMade] = field(default_factory=list)
    end: Conclusion | None = None

    def take(self, shown: Shown) -> None:
        match shown:
            case Content(text=text):
                self.content.append(text)
            case Thought():
                self.thoughts.append(shown)
            case Refusal(text=text):
                self.refusal.append(text)
            case CallOpened():
                self.calls[shown.index] = shown
            case CallInput(index=index, text=text):
                self.inputs.setdefault(index, []).append(text)
            case ImageMade():
                self.images.append(shown)
            case Conclusion():
                self.end = shown
            case _:
                assert_never(shown)


def document(options: ChatOptions, head: ReplyHead, folded: FoldedResponse) -> bytes:
    """The ``chat.completion`` object (client contracts 1.6)."""
    presenter = Presenter(options.style, options.stops, options.tool_names)
    answer = _Answer()
    for piece in (*folded.pieces, folded.finished):
        for shown in presenter.feed(piece):
            answer.take(shown)
    end = answer.end
    assert end is not None  # noqa: S101 - Finished is the last piece, and the presenter concludes on it
    choice = {
        "index": 0,
        "message": _message(answer, end, options),
        "logprobs": None,
        "finish_reason": finish_reason(end, legacy_functions=options.legacy_functions),
    }
    completion: dict[str, Any] = {
        "id": ID_PREFIX + head.id,
        "object": "chat.completion",
        "created": head.created,
        "model": options.model,
        "choices": [choice],
    }
    if end.usage is not None:
        completion["usage"] = completion_usage(end.usage)
    if end.service_tier is not None:
        completion["service_tier"] = end.service_tier
    completion["system_fingerprint"] = None
    return json_bytes(completion)


def _message(answer: _Answer, end: Conclusion, options: ChatOptions) -> dict[str, Any]:
    text, refusal = "".join(answer.content), "".join(answer.refusal)
    # ``content`` is null beside calls or a refusal, and empty if the reply has no output at all.
    content = text or (None if answer.calls or refusal else "")
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": refusal or None}
    message |= _thoughts(answer.thoughts, options.style)
    if answer.calls and options.legacy_functions:
        first = min(answer.calls)
        message["function_call"] = {
            "name": answer.calls[first].name,
            "arguments": "".join(answer.inputs.get(first, ())),
        }
    elif answer.calls:
        message["tool_calls"] = [
            _call(call, "".join(answer.inputs.get(index, ()))) for index, call in answer.calls.items()
        ]
    if answer.images:
        message["images"] = [chat_image(image) for image in answer.images]
    if end.citations:
        message["annotations"] = chat_annotations(end.citations)
    return message


def _call(call: CallOpened, text: str) -> dict[str, Any]:
    if call.kind == "function":
        return {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": text}}
    return {"id": call.call_id, "type": "custom", "custom": {"name": call.name, "input": text}}


def _thoughts(thoughts: list[Thought], style: str) -> dict[str, Any]:
    if not thoughts:
        return {}
    if style == "o3":
        return {"reasoning": {"content": [{"type": "text", "text": "".join(one.text for one in thoughts)}]}}
    if style == "legacy":
        summary = "".join(one.text for one in thoughts if one.source == "summary")
        raw = "".join(one.text for one in thoughts if one.source == "text")
        return {**({"reasoning_summary": summary} if summary else {}), **({"reasoning": raw} if raw else {})}
    return {"reasoning_content": "".join(one.text for one in thoughts)}
