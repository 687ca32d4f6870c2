"""
The machine of one turn that makes an image: events in, partial images and the finished one out. The same machine serves
streamed and collected replies.

    event                        shown
    partial_image                PartialImage
    output_item.done (image)     nothing yet: the turn may still fail, and the usage is not known
    completed, incomplete        FinishedImage for each image; ``no_image`` if there is none
    failed, error                raised
    anything else                nothing; text and refusals are kept, to explain a missing image
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from gptmock.dialects.images.wire import no_image
from gptmock.errors import GptmockError
from gptmock.protocol.assembler import OutputAssembler
from gptmock.protocol.events import (
    ErrorEvent,
    ImagePartial,
    ResponseCompleted,
    ResponseEvent,
    ResponseFailed,
    ResponseIncomplete,
)
from gptmock.protocol.failures import failure_of
from gptmock.protocol.items import ImageUsage
from gptmock.protocol.output_parts import Finished, ImageMade, Refusal, Text


@dataclass(frozen=True, slots=True)
class PartialImage:
    """An image that is not finished."""

    data: str
    """Base64."""
    index: int


@dataclass(frozen=True, slots=True)
class FinishedImage:
    """An image, when its turn has succeeded."""

    image: ImageMade
    usage: ImageUsage | None


Shown: TypeAlias = PartialImage | FinishedImage


class TurnOutput:
    """Events of one turn in, images out; ``ended`` after the terminal event."""

    __slots__ = ("_assembler", "_images", "_refusal", "_said", "ended")

    def __init__(self) -> None:
        self._assembler = OutputAssembler()
        self._images: list[ImageMade] = []
        self._said: list[str] = []
        self._refusal: list[str] = []
        self.ended = False

    def feed(self, event: ResponseEvent) -> list[Shown]:
        """
        The images that this event shows; often none.

        Raises:
            GptmockError: the turn failed, or has ended without an image.
        """
        if isinstance(event, ResponseFailed | ErrorEvent):
            raise failure_of(event)
        if isinstance(event, ImagePartial):
            return [PartialImage(event.partial_image_b64, event.partial_image_index)]
        shown: list[Shown] = []
        for piece in self._assembler.feed(event):
            match piece:
                case ImageMade():
                    self._images.append(piece)
                case Text(text=text):
                    self._said.append(text)
                case Refusal(text=text):
                    self._refusal.append(text)
                case Finished():
                    shown += self._finish(piece, event)
                case _:
                    pass
        return shown

    def _finish(self, finished: Finished, event: ResponseEvent) -> list[Shown]:
        self.ended = True
        if not self._images:
            raise self._without(finished)
        usage = None
        if isinstance(event, ResponseCompleted | ResponseIncomplete) and event.response.tool_usage is not None:
            usage = event.response.tool_usage.image_gen
        # One call makes one image; of more the usage is that of all.
        return [FinishedImage(image, usage if place == 0 else None) for place, image in enumerate(self._images)]

    def _without(self, finished: Finished) -> GptmockError:
        return no_image("".join(self._said), "".join(self._refusal), finished.incomplete_reason)
