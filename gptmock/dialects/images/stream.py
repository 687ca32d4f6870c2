"""
``POST /v1/images/generations`` and ``/edits``, outward and streamed: the images one after another.

    state   event                     frames                                       next
    open    partial image             partial_image, if asked for                  open
    open    completed                 completed for its image                      open, if an image is left
    open    completed                 completed for its image                      ended, after the last
    open    completed, no image       error frame                                  ended
    open    failed, error             error frame                                  ended
    open    end of the upstream       error frame                                  ended
    ended   anything                  none                                         ended

The events of the two routes have other names (``ImageOptions.prefix``). There is no ``[DONE]``, as in OpenAI's API.
Source: next doors C.2; openai/openai-python ``types/image_gen_completed_event.py`` and its neighbours.
"""

from __future__ import annotations

from typing import Any

from gptmock.dialects.dialect import ReplyHead
from gptmock.dialects.images.turn_output import FinishedImage, PartialImage, Shown, TurnOutput
from gptmock.dialects.images.wire import ImageOptions, frame, image_members, reworded, usage_members
from gptmock.dialects.openai_errors import error_frame
from gptmock.errors import GptmockError
from gptmock.protocol.failures import truncated
from gptmock.protocol.reader import Received


class ImageTranslator:
    """One streamed reply."""

    __slots__ = ("_ended", "_head", "_left", "_options", "_output", "failure")

    def __init__(self, options: ImageOptions, head: ReplyHead) -> None:
        self._options = options
        self._head = head
        self._left = len(options.further)
        """Turns after the present one."""
        self._output = TurnOutput()
        self._ended = False
        self.failure: GptmockError | None = None

    def feed(self, received: Received) -> list[bytes]:
        """The frames that this event adds."""
        if self._ended:
            return []
        try:
            shown = self._output.feed(received.event)
        except GptmockError as error:
            return self.finish(error)
        frames = [frame(event) for one in shown if (event := self._event(one)) is not None]
        if self._output.ended:
            self._ended = self._left == 0
            self._left -= 1
            self._output = TurnOutput()
        return frames

    def finish(self, cause: GptmockError | None = None) -> list[bytes]:
        """One error frame, unless the reply has ended."""
        if self._ended:
            return []
        self._ended = True
        self.failure = reworded(cause or truncated())
        return [error_frame(self.failure)]

    def _event(self, shown: Shown) -> dict[str, Any] | None:
        if isinstance(shown, PartialImage):
            return self._partial(shown) if self._options.shows_partial else None
        return self._completed(shown)

    def _partial(self, partial: PartialImage) -> dict[str, Any]:
        return {
            "type": f"{self._options.prefix}.partial_image",
            "b64_json": partial.data,
            "created_at": self._head.created,
            "partial_image_index": partial.index,
            **image_members(self._options, partial.data),
        }

    def _completed(self, finished: FinishedImage) -> dict[str, Any]:
        usage = [] if finished.usage is None else [finished.usage]
        return {
            "type": f"{self._options.prefix}.completed",
            "b64_json": finished.image.data,
            "created_at": self._head.created,
            **image_members(self._options, finished.image.data, finished.image),
            "usage": usage_members(usage),
        }
