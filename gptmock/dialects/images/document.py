"""Renders the one object of ``stream: false``, with the same machine as the stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gptmock.dialects.dialect import ReplyHead
from gptmock.dialects.image_urls import made_image_url
from gptmock.dialects.images.turn_output import FinishedImage, TurnOutput
from gptmock.dialects.images.wire import ImageOptions, image_members, usage_members
from gptmock.dialects.json_text import json_bytes
from gptmock.protocol.fold import FoldedResponse


def document(options: ImageOptions, head: ReplyHead, answers: Sequence[FoldedResponse]) -> bytes:
    """
    The object with all images, in the order of their turns.

    Args:
        options: of the reply.
        head: of the reply.
        answers: from folds with ``keep_events``.

    Raises:
        GptmockError: a turn has ended without an image.
    """
    images = [image for answer in answers for image in _images(answer)]
    first = images[0].image
    return json_bytes(
        {
            "created": head.created,
            "data": [_entry(options, one) for one in images],
            **_told(image_members(options, first.data, first)),
            "usage": usage_members([one.usage for one in images if one.usage is not None]),
        }
    )


def _told(members: dict[str, str]) -> dict[str, str]:
    """Without what nobody knows: ``auto`` is a wish, and no size or quality of an image."""
    return {name: value for name, value in members.items() if value != "auto"}


def _images(answer: FoldedResponse) -> list[FinishedImage]:
    output = TurnOutput()
    shown = [one for received in answer.events for one in output.feed(received.event)]
    return [one for one in shown if isinstance(one, FinishedImage)]


def _entry(options: ImageOptions, finished: FinishedImage) -> dict[str, Any]:
    image = finished.image
    url = made_image_url(image.data, image.output_format) if options.as_url else None
    entry = {"b64_json": image.data} if url is None else {"url": url}
    return entry if image.revised_prompt is None else {**entry, "revised_prompt": image.revised_prompt}
