"""The parameters of an image: what is rejected or ignored, and the words that the others may have."""

from __future__ import annotations

import re
from dataclasses import dataclass

from msgspec import UNSET

from gptmock.catalog import IMAGE_MODEL
from gptmock.dialects.bodies import missing, not_one_of
from gptmock.dialects.images.types import ImageBody
from gptmock.dialects.parameters import Fate, Rule
from gptmock.errors import BadRequest
from gptmock.protocol.request import ImageRequest, ImageSource, JsonObject

MAX_PROMPT_CHARACTERS = 32_000
MAX_COUNT = 4
"""Images of one request; each is a call of its own."""
MAX_PARTIAL = 3
_SIZE = re.compile(r"[1-9]\d{1,3}x[1-9]\d{1,3}", re.ASCII)
_MODEL = re.compile(r"(?:openai/)?(?:gpt|chatgpt)-image-[A-Za-z0-9._-]{1,80}", re.ASCII)
_QUALITIES = {"auto": "auto", "low": "low", "medium": "medium", "high": "high", "standard": "medium", "hd": "high"}
"""``standard`` and ``hd`` are those of older models."""
_BACKGROUNDS = ("auto", "opaque", "transparent")
_FORMATS = ("png", "jpeg", "webp")
_MODERATIONS = ("auto", "low")

RULES: tuple[Rule, ...] = (
    Rule("style", Fate.REJECT, "the upstream has no styles: describe it in the prompt"),
    Rule("input_fidelity", Fate.REJECT, "the upstream does not take it"),
    Rule("frame_count", Fate.REJECT, "the upstream makes single images"),
    Rule("frame_duration_ms", Fate.REJECT, "the upstream makes single images"),
    Rule("svg", Fate.REJECT, "the upstream makes no vector images"),
    Rule("user", Fate.IGNORE, "the upstream knows the account, and nobody else"),
    Rule("partial_images", Fate.IGNORE, "partial images are streamed only", lambda count: count == 0),
)
EDIT_RULES: tuple[Rule, ...] = (
    Rule("mask", Fate.REJECT, "the upstream takes no masks: describe in the prompt what is to change"),
    Rule("markup", Fate.REJECT, "the upstream takes no markup: describe in the prompt what is to change"),
    *RULES,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The picture that is asked for, in the upstream's words; ``None`` is its default."""

    prompt: str
    size: str | None
    quality: str | None
    background: str | None
    output_format: str | None
    output_compression: int | None
    moderation: str | None
    partial_images: int
    """To be streamed before the finished one."""
    image_urls: tuple[str, ...] = ()
    """Images to change, as data URLs."""

    @property
    def endpoint(self) -> ImageRequest | None:
        """What to ask the backend's endpoint for; ``None`` if it cannot be asked for this."""
        has_more = self.output_compression is not None or self.moderation == "low" or self.partial_images
        if has_more or self.output_format not in (None, "png"):
            return None
        return ImageRequest(
            prompt=self.prompt,
            model=IMAGE_MODEL,
            images=[ImageSource(url) for url in self.image_urls] or UNSET,
            background=self.background or UNSET,
            quality=self.quality or UNSET,
            size=self.size or UNSET,
        )

    @property
    def tool(self) -> JsonObject:
        """The hosted tool with its options."""
        options = {
            "size": self.size,
            "quality": self.quality,
            "background": self.background,
            "output_format": self.output_format,
            "output_compression": self.output_compression,
            "moderation": self.moderation,
            "partial_images": self.partial_images or None,
        }
        return {"type": "image_generation", **{name: value for name, value in options.items() if value is not None}}


def picture_of(body: ImageBody) -> Picture:
    """
    The picture that a body asks for, but for the images to change.

    Raises:
        BadRequest: with the parameter at fault.
    """
    _check_model(body.model)
    output_format = _one_of("output_format", body.output_format, _FORMATS)
    background = _one_of("background", body.background, _BACKGROUNDS)
    if background == "transparent" and output_format == "jpeg":
        raise BadRequest("'background' cannot be transparent in a JPEG image.", param="background")
    compression = _within("output_compression", body.output_compression, 0, 100)
    if compression is not None and output_format in (None, "png"):
        raise BadRequest("'output_compression' needs the 'output_format' jpeg or webp.", param="output_compression")
    size = body.size
    if size is not None and size != "auto" and _SIZE.fullmatch(size) is None:
        raise BadRequest("Invalid value for 'size': expected auto, or such as 1024x1024.", param="size")
    quality = _one_of("quality", body.quality, tuple(_QUALITIES))
    partial = _within("partial_images", body.partial_images, 0, MAX_PARTIAL) or 0
    return Picture(
        prompt=_prompt(body.prompt),
        size=size,
        quality=None if quality is None else _QUALITIES[quality],
        background=background,
        output_format=output_format,
        output_compression=compression,
        moderation=_one_of("moderation", body.moderation, _MODERATIONS),
        partial_images=partial if body.stream else 0,
    )


def count_of(body: ImageBody) -> int:
    """
    How many images.

    Raises:
        BadRequest: too many, or none.
    """
    return _within("n", body.n, 1, MAX_COUNT) or 1


def wants_url(body: ImageBody) -> bool:
    """
    Whether ``response_format`` is ``url``.

    Raises:
        BadRequest: it is neither that nor ``b64_json``.
    """
    return _one_of("response_format", body.response_format, ("b64_json", "url")) == "url"


def _prompt(prompt: str | None) -> str:
    if prompt is None:
        raise missing("prompt")
    if not prompt.strip():
        raise BadRequest("'prompt' is empty: there is nothing to draw.", param="prompt")
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise BadRequest(f"'prompt' can have at most {MAX_PROMPT_CHARACTERS} characters.", param="prompt")
    return prompt


def _check_model(name: str | None) -> None:
    if name and _MODEL.fullmatch(name.strip()) is None:
        raise BadRequest(
            f"Images are made by {IMAGE_MODEL} only: leave 'model' out, or name a model such as {IMAGE_MODEL}.",
            code="unsupported_value",
            param="model",
        )


def _one_of(param: str, value: str | None, words: tuple[str, ...]) -> str | None:
    if value is not None and value not in words:
        raise not_one_of(param, words)
    return value


def _within(param: str, value: int | None, least: int, most: int) -> int | None:
    if value is not None and not least <= value <= most:
        raise BadRequest(f"Invalid value for '{param}': expected a number from {least} to {most}.", param=param)
    return value
