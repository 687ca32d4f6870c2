"""
``POST /v1/chat/completions``, outward and streamed.

    state      event                      frames                                   next
    new        any                        role chunk                               open
    open       something shown            one chunk each                           open
    open       completed, incomplete      annotations, finish, [usage], [DONE]     ended
    new, open  failed, error              error frame                              ended
    new, open  end of the upstream        error frame                              ended
    ended      anything                   none                                     ended

Role, a call's id and name, the finish reason and the usage are sent once: SDKs add up whatever repeats.
Source: client contracts 1.7 and 1.8.
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from gptmock.dialects.chat.wire import ID_PREFIX, ChatOptions, chat_annotations, chat_image, finish_reason
from gptmock.dialects.copying import Around, CopyingTranslator, Encode
from gptmock.dialects.dialect import ReplyHead
from gptmock.dialects.json_text import json_bytes
from gptmock.dialects.openai_errors import error_frame
from gptmock.dialects.openai_usage import completion_usage
from gptmock.dialects.presentation import Conclusion, Content, Presenter, Shown, Thought
from gptmock.errors import GptmockError
from gptmock.protocol.events import ResponseEvent
from gptmock.protocol.output_parts import CallInput, CallOpened, ImageMade, Refusal

DONE = b"data: [DONE]\n\n"


class ChatTranslator(CopyingTranslator[Shown, Shown]):
    """One streamed chat reply. What every chunk repeats is encoded once, here at the start."""

    __slots__ = (
        "_head",
        "_include_usage",
        "_kinds",
        "_legacy",
        "_options",
        "_started",
        "_tail",
        "_text_tail",
    )

    def __init__(self, options: ChatOptions, head: ReplyHead) -> None:
        fixed = {
            "id": ID_PREFIX + head.id,
            "object": "chat.completion.chunk",
            "created": head.created,
            "model": options.model,
        }
        self._head = b"data: " + json_bytes(fixed)[:-1] + b',"choices":['
        # With include_usage every chunk but the last says that it has none.
        self._tail = b'],"usage":null}\n\n' if options.include_usage else b"]}\n\n"
        self._text_tail = b'},"logprobs":null,"finish_reason":null}' + self._tail
        self._options = options
        self._kinds: dict[int, str] = {}
        self._started = False
        super().__init__(Presenter(options.style, options.stops, options.tool_names))

    # --- Chunks -----------------------------------------------------------------

    def _opening(self, _event: ResponseEvent, /) -> list[bytes]:
        if self._started:
            return []
        self._started = True
        return [self._delta(b'"role":"assistant","content":"","refusal":null')]

    def _error_frame(self, failure: GptmockError, /) -> bytes:
        return error_frame(failure)

    def _frames(self, shown: Shown, /) -> list[bytes]:
        match shown:
            case Content(text=text):
                return [self._delta(b'"content":' + json_bytes(text))]
            case Thought():
                return [self._delta(thought_members(shown, self._options.style))]
            case Refusal(text=text):
                return [self._delta(b'"refusal":' + json_bytes(text))]
            case CallOpened():
                return self._call_opened(shown)
            case CallInput():
                return self._call_input(shown)
            case ImageMade():
                return [self._delta(b'"images":' + json_bytes([chat_image(shown)]))]
            case Conclusion():
                return self._conclusion(shown)
            case _:
                assert_never(shown)

    def _encoder(self, shown: Shown, /) -> Encode | None:
        return Around(frames[0]) if len(frames := self._frames(shown)) == 1 else None

    def _delta(self, members: bytes) -> bytes:
        return self._head + b'{"index":0,"delta":{' + members + self._text_tail

    def _call_opened(self, call: CallOpened) -> list[bytes]:
        self._kinds[call.index] = call.kind
        name = json_bytes(call.name)
        if self._options.legacy_functions:
            return [self._delta(b'"function_call":{"name":' + name + b',"arguments":""}')] if call.index == 0 else []
        key, text = (b"function", b"arguments") if call.kind == "function" else (b"custom", b"input")
        return [
            self._delta(
                b'"tool_calls":[{"index":%d,"id":%s,"type":"%s","%s":{"name":%s,"%s":""}}]'
                % (call.index, json_bytes(call.call_id), key, key, name, text)
            )
        ]

    def _call_input(self, call: CallInput) -> list[bytes]:
        text = json_bytes(call.text)
        if self._options.legacy_functions:
            return [self._delta(b'"function_call":{"arguments":' + text + b"}")] if call.index == 0 else []
        if self._kinds[call.index] == "function":
            return [self._delta(b'"tool_calls":[{"index":%d,"function":{"arguments":%s}}]' % (call.index, text))]
        return [self._delta(b'"tool_calls":[{"index":%d,"custom":{"input":%s}}]' % (call.index, text))]

    def _conclusion(self, end: Conclusion) -> list[bytes]:
        self._ended = True
        frames: list[bytes] = []
        if end.citations:
            frames.append(self._delta(b'"annotations":' + json_bytes(chat_annotations(end.citations))))
        reason = finish_reason(end, legacy_functions=self._options.legacy_functions).encode()
        tier = b"" if end.service_tier is None else b',"service_tier":' + json_bytes(end.service_tier)
        finish = b'{"index":0,"delta":{},"logprobs":null,"finish_reason":"' + reason + b'"}]' + tier + self._tail[1:]
        frames.append(self._head + finish)
        if self._options.include_usage and end.usage is not None:
            frames.append(self._head + b'],"usage":' + msgspec.json.encode(completion_usage(end.usage)) + b"}\n\n")
        return [*frames, DONE]


def thought_members(thought: Thought, style: str) -> bytes:
    """The members that show thinking beside the content, in the operator's style (``contract.md``)."""
    text = json_bytes(thought.text)
    if style == "o3":
        return b'"reasoning":{"content":[{"type":"text","text":' + text + b"}]}"
    if style == "legacy":
        return (b'"reasoning_summary":' if thought.source == "summary" else b'"reasoning":') + text
    return b'"reasoning_content":' + text
