"""Converts content parts of chat messages to those of the Responses API (client contracts 1.3)."""

from __future__ import annotations

from msgspec import UNSET

from gptmock.dialects.bodies import missing
from gptmock.dialects.chat.types import FilePart, ImageUrl, Part
from gptmock.dialects.image_urls import image_address
from gptmock.errors import BadRequest
from gptmock.protocol.request import Content, InputFile, InputImage, InputText, OutputText, RefusalPart

_DETAILS = frozenset({"auto", "low", "high", "original"})
_DROPPED = frozenset({"thinking", "redacted_thinking", "reasoning"})
"""Parts with reasoning of earlier turns are dropped: sent as text they would change the conversation."""
_TEXT = frozenset({"text", "input_text", "output_text"})
_IMAGE = frozenset({"image_url", "input_image"})
_FILE = frozenset({"file", "input_file"})


def decode_parts(content: str | list[Part] | None, *, assistant: bool, within: str) -> list[Content]:
    """
    Convert the content of one message.

    Args:
        content: a text or a list of parts.
        assistant: whether it is an assistant message: its text becomes ``output_text``, all other ``input_text``.
        within: the path to it, such as ``messages[0].content``.

    Raises:
        BadRequest: a part that the upstream does not support.
    """
    if content is None:
        return []
    if isinstance(content, str):
        return [_text(content, assistant=assistant)] if content else []
    parts: list[Content] = []
    for index, part in enumerate(content):
        place = f"{within}[{index}]"
        if part.type in _DROPPED:
            continue
        parts.append(_part(part, assistant=assistant, within=place))
    return [part for part in parts if not (isinstance(part, InputText | OutputText) and not part.text)]


def _text(text: str, *, assistant: bool) -> Content:
    return OutputText(text) if assistant else InputText(text)


def _part(part: Part, *, assistant: bool, within: str) -> Content:
    if part.type in _TEXT:
        if part.text is None:
            raise missing(f"{within}.text")
        return _text(part.text, assistant=assistant)
    if part.type == "refusal" and assistant:
        if part.refusal is None:
            raise missing(f"{within}.refusal")
        return RefusalPart(part.refusal)
    if part.type in _IMAGE and not assistant:
        return _image(part, within)
    if part.type in _FILE and not assistant:
        return _file(part, within)
    if part.type == "input_audio":
        raise BadRequest(
            "Audio input is not available to ChatGPT accounts.", code="unsupported_content_type", param=within
        )
    raise BadRequest(
        f"Invalid value for '{within}.type': content parts of type '{part.type}' cannot be sent in this role.",
        param=f"{within}.type",
    )


def _image(part: Part, within: str) -> InputImage:
    image = part.image_url
    if image is None:
        if part.file_id is not None:
            raise _no_files(f"{within}.file_id")
        raise missing(f"{within}.image_url")
    url, detail = (image.url, image.detail) if isinstance(image, ImageUrl) else (image, part.detail)
    return InputImage(image_address(url, within=f"{within}.image_url"), detail if detail in _DETAILS else UNSET)


def _file(part: Part, within: str) -> InputFile:
    file = part.file or FilePart(file_data=part.file_data, file_id=part.file_id, filename=part.filename)
    place = f"{within}.file" if part.file is not None else within
    if file.file_data is None:
        raise _no_files(f"{place}.file_id") if file.file_id is not None else missing(f"{place}.file_data")
    if not file.file_data.startswith("data:"):
        return InputFile(f"data:application/pdf;base64,{file.file_data}", file.filename or UNSET)
    return InputFile(file.file_data, file.filename or UNSET)


def _no_files(param: str) -> BadRequest:
    return BadRequest(
        "There is no files API here: send the data itself, as a data URL.", code="unsupported_content_type", param=param
    )
