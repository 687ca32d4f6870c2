"""The bodies of ``POST /v1/images/generations`` and ``POST /v1/images/edits``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gptmock.dialects.bodies import Body, ListOf, ParameterBody


class ImageBody(ParameterBody):
    """What to draw; Codex sends the same members."""

    prompt: str | None = None
    model: str | None = None
    n: int | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    output_compression: int | None = None
    moderation: str | None = None
    response_format: str | None = None
    stream: bool | None = None
    partial_images: int | None = None
    user: str | None = None
    style: Any = None
    input_fidelity: Any = None
    frame_count: Any = None
    frame_duration_ms: Any = None
    svg: Any = None


class EditedImage(Body):
    """An image to change: ``image_url`` is a data URL."""

    image_url: str | None = None
    file_id: str | None = None


class EditBody(ImageBody):
    """What to change, in which images. In a multipart form the images are files: ``image`` or ``image[]``."""

    images: ListOf[EditedImage] | None = None
    mask: Any = None
    markup: Any = None


EDIT_FORM: Mapping[str, Any] = MappingProxyType(
    {
        "type": "object",
        "description": "The other members of the JSON body are fields of the form too.",
        "required": ["prompt", "image"],
        "properties": {
            "prompt": {"type": "string"},
            "image": {
                "description": "Also as `image[]`.",
                "anyOf": [
                    {"type": "string", "contentMediaType": "application/octet-stream"},
                    {"type": "array", "items": {"type": "string", "contentMediaType": "application/octet-stream"}},
                ],
            },
        },
    }
)
"""The JSON schema of the form (OpenAPI 3.1)."""
