"""Renders the ``text_completion`` object for ``stream: false``, with the same presenter as the stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gptmock.dialects.completions.wire import (
    ID_PREFIX,
    OBJECT,
    CompletionOptions,
    finish_reason,
    new_presenter,
    shown_text,
)
from gptmock.dialects.dialect import ReplyHead
from gptmock.dialects.json_text import json_bytes
from gptmock.dialects.openai_usage import completion_usage
from gptmock.dialects.presentation import Conclusion
from gptmock.protocol.fold import FoldedResponse
from gptmock.protocol.items import total_usage


def document(options: CompletionOptions, head: ReplyHead, answers: Sequence[FoldedResponse]) -> bytes:
    """The ``text_completion`` object, with one choice per prompt, in the order of the prompts."""
    echoes = options.echoes or ("",) * len(answers)
    completion: dict[str, Any] = {
        "id": ID_PREFIX + head.id,
        "object": OBJECT,
        "created": head.created,
        "model": options.model,
        "choices": [
            _choice(index, echo, options, answer)
            for index, (answer, echo) in enumerate(zip(answers, echoes, strict=True))
        ],
    }
    usage = total_usage([answer.finished.usage for answer in answers])
    if usage is not None:
        completion["usage"] = completion_usage(usage)
    return json_bytes(completion)


def _choice(index: int, echo: str, options: CompletionOptions, answer: FoldedResponse) -> dict[str, Any]:
    presenter = new_presenter(options)
    text, reason = [echo], "stop"
    for piece in (*answer.pieces, answer.finished):
        for shown in presenter.feed(piece):
            text.append(shown_text(shown))
            if isinstance(shown, Conclusion):
                reason = finish_reason(shown)
    return {"text": "".join(text), "index": index, "logprobs": None, "finish_reason": reason}
