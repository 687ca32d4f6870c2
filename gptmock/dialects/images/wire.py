"""What streamed and collected images have in common: options of a reply, the members of an image, usage, failures."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec

from gptmock.dialects.image_data import image_size
from gptmock.dialects.image_urls import format_of
from gptmock.errors import GptmockError, ImagesUnavailable, UpstreamRefused
from gptmock.protocol.items import ImageTokensDetails, ImageUsage
from gptmock.protocol.output_parts import ImageMade
from gptmock.protocol.request import ResponsesRequest

EventPrefix: TypeAlias = Literal["image_generation", "image_edit"]
BLOCKED = "moderation_blocked"
_POLICY_CODES = frozenset({"content_policy_violation", "content_filter", "cyber_policy", "bio_policy"})
_HEADER_CHARACTERS = 64 * 1024
"""Of an image's base64: its size stands at the beginning."""
_SHOWN_CHARACTERS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """What rendering a reply needs from its request."""

    prefix: EventPrefix
    """Of the names of its events."""
    size: str = "auto"
    quality: str = "auto"
    background: str = "auto"
    output_format: str = "png"
    as_url: bool = False
    """Give a data URL instead of bare base64, where nothing is streamed."""
    shows_partial: bool = False
    further: tuple[ResponsesRequest, ...] = ()
    """The requests of all images but the first; each is an upstream turn."""


def image_members(options: ImageOptions, data: str, made: ImageMade | None = None) -> dict[str, str]:
    """
    ``size``, ``quality``, ``background`` and ``output_format``, as the image is and not as it was asked for.

    Args:
        options: what was asked for stands where the upstream says nothing.
        data: base64.
        made: the upstream's words of a finished image.
    """
    size = image_size(_beginning(data))
    told = made or ImageMade(data)
    return {
        "size": f"{size[0]}x{size[1]}" if size is not None else told.size or options.size,
        "quality": told.quality or options.quality,
        "background": told.background or options.background,
        "output_format": format_of(data) or told.output_format or options.output_format,
    }


def _beginning(data: str) -> bytes:
    try:
        return base64.b64decode(data[:_HEADER_CHARACTERS])
    except (binascii.Error, ValueError):
        return b""


def usage_members(usages: list[ImageUsage]) -> dict[str, Any]:
    """``usage``, all images together. All zero where the upstream says nothing: clients rely on the members."""
    inward = [one.input_tokens_details or ImageTokensDetails() for one in usages]
    outward = [one.output_tokens_details or ImageTokensDetails() for one in usages]
    given, made = sum(one.input_tokens for one in usages), sum(one.output_tokens for one in usages)
    return {
        "input_tokens": given,
        "output_tokens": made,
        "total_tokens": sum(one.total_tokens or one.input_tokens + one.output_tokens for one in usages),
        "input_tokens_details": _details(inward),
        "output_tokens_details": _details(outward),
    }


def _details(several: list[ImageTokensDetails]) -> dict[str, int]:
    return {name: sum(getattr(one, name) for one in several) for name in ImageTokensDetails.__struct_fields__}


def no_image(said: str, refusal: str, incomplete_reason: str | None) -> GptmockError:
    """
    Why a turn that ended well has made no image.

    Args:
        said: what the model wrote instead.
        refusal: why it refuses.
        incomplete_reason: why it stopped early; ``None`` if it did not.
    """
    if refusal or incomplete_reason == "content_filter":
        return _blocked(_shown(refusal) or "The upstream's content filter stopped this image.")
    because = f" It said: {_shown(said)}" if said.strip() else ""
    if incomplete_reason is not None:
        return UpstreamRefused(
            f"The upstream stopped before the image was made ({incomplete_reason}).{because}",
            code="image_incomplete",
            status=502,
            should_retry=False,
        )
    return ImagesUnavailable(
        f"The account answered without an image; its plan may have none.{because}", should_retry=False
    )


def reworded(error: GptmockError) -> GptmockError:
    """The error as clients of images know it: every refusal by policy is ``moderation_blocked``."""
    return _blocked(error.message) if error.code in _POLICY_CODES else error


def _blocked(message: str) -> GptmockError:
    return UpstreamRefused(message, code=BLOCKED, status=400, param="prompt", should_retry=False)


def _shown(text: str) -> str:
    return "".join(character for character in text.strip()[:_SHOWN_CHARACTERS] if character.isprintable())


def frame(event: dict[str, Any]) -> bytes:
    """One event; both of OpenAI's libraries read its type from the data, others from the line before."""
    return b"event: " + str(event["type"]).encode() + b"\ndata: " + msgspec.json.encode(event) + b"\n\n"
