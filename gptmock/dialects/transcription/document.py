"""Answers of a transcription: a document, plain text, or a stream of two events."""

from __future__ import annotations

import msgspec

from gptmock.dialects.json_text import json_bytes
from gptmock.errors import UpstreamBroken
from gptmock.protocol.sse import sse_frame


class _Answer(msgspec.Struct):
    text: str


def text_of(body: bytes) -> str:
    """
    What the backend has heard.

    Raises:
        UpstreamBroken: the answer holds no text.
    """
    try:
        return msgspec.json.decode(body, type=_Answer).text
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UpstreamBroken("The upstream's transcription cannot be read.", code="upstream_bad_event") from error


def json_document(text: str) -> bytes:
    """``response_format: json``."""
    return json_bytes({"text": text})


def events(text: str) -> bytes:
    """The whole stream: the backend tells the text at once."""
    delta = {"type": "transcript.text.delta", "delta": text}
    done = {"type": "transcript.text.done", "text": text}
    return sse_frame(json_bytes(delta)) + sse_frame(json_bytes(done))
