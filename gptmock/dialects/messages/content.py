"""
Converts content blocks of a request to content parts of the Responses API (next doors A.3). Must not know in which
message they stand, but for its role.
"""

from __future__ import annotations

from collections.abc import Iterator

from gptmock.dialects.bodies import missing
from gptmock.dialects.image_urls import image_address
from gptmock.dialects.messages.server_blocks import is_server_block, joined, server_text, texts_of
from gptmock.dialects.messages.types import Block, Source
from gptmock.errors import BadRequest
from gptmock.protocol.request import Content, InputFile, InputImage, InputText

FILES = "there is no files API here: send the data itself, as base64"
_PDF = "application/pdf"
_DOCUMENT_NAME = "document.pdf"


def input_parts(block: Block, within: str) -> list[Content]:
    """
    The parts of one block of a user message or a tool result; often one.

    Raises:
        BadRequest: an unknown type, or a source that cannot be sent.
    """
    match block.type:
        case "text":
            return _texts(_required(block.text, f"{within}.text"))
        case "image":
            return [_image(block, within)]
        case "document":
            return _document(block, within)
        case "search_result":
            return _texts(joined([_source_text(block), block.title, *texts_of(block.content)]))
        case "tool_reference":
            return _texts(f"Loaded: {block.tool_name or 'a tool'}")
        case kind if is_server_block(kind):
            return _texts(server_text(block))
        case _:
            raise unknown_type(block.type, within)


def unknown_type(kind: str, within: str) -> BadRequest:
    """The 400 for a block that is not known here."""
    return BadRequest(f"Input tag '{kind[:60]}' is not a content block that can be sent here.", param=f"{within}.type")


def _texts(text: str) -> list[Content]:
    return [InputText(text)] if text else []


def _source_text(block: Block) -> str | None:
    return block.source if isinstance(block.source, str) else None


def _required(value: str | None, param: str) -> str:
    if value is None:
        raise missing(param)
    return value


def _source(block: Block, within: str) -> Source:
    if not isinstance(block.source, Source):
        raise missing(f"{within}.source")
    return block.source


def _image(block: Block, within: str) -> InputImage:
    source = _source(block, within)
    place = f"{within}.source"
    if source.type == "base64":
        data = _required(source.data, f"{place}.data")
        kind = source.media_type or ""
        url = f"data:{kind};base64,{data}" if kind.startswith("image/") else data
        return InputImage(image_address(url, within=f"{place}.data"))
    if source.type == "url":
        return InputImage(image_address(_required(source.url, f"{place}.url"), within=f"{place}.url"))
    raise _no_source(source, place)


def _document(block: Block, within: str) -> list[Content]:
    source = _source(block, within)
    place = f"{within}.source"
    match source.type:
        case "base64":
            data = _required(source.data, f"{place}.data")
            return [InputFile(f"data:{source.media_type or _PDF};base64,{data}", block.title or _DOCUMENT_NAME)]
        case "url":
            url = _required(source.url, f"{place}.url")
            return [InputFile(file_url=url, filename=block.title or _DOCUMENT_NAME)]
        case "text":
            return _texts(joined([block.title, block.context, _required(source.data, f"{place}.data")]))
        case "content":
            return [*_texts(joined([block.title, block.context])), *_inner(source, place)]
        case _:
            raise _no_source(source, place)


def _inner(source: Source, place: str) -> Iterator[Content]:
    if isinstance(source.content, str):
        yield from _texts(source.content)
        return
    for index, block in enumerate(source.content or ()):
        if block.type not in ("text", "image"):
            raise unknown_type(block.type, f"{place}.content[{index}]")
        yield from input_parts(block, f"{place}.content[{index}]")


def _no_source(source: Source, place: str) -> BadRequest:
    if source.type == "file":
        return BadRequest(f"Files cannot be referred to: {FILES}.", param=f"{place}.type")
    return BadRequest(f"The source type '{source.type[:60]}' cannot be sent here.", param=f"{place}.type")
