"""What the assembler reads of whole output items: identifiers, and what hosted tools did. Knows no event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from gptmock.protocol.item_tracking import Names
from gptmock.protocol.items import (
    CustomToolCallItem,
    FunctionCallItem,
    ImageGenerationCallItem,
    MessageItem,
    OtherItem,
    OutputItem,
    ReasoningItem,
    WebSearchCallItem,
    search_action,
)
from gptmock.protocol.output_parts import ImageMade, Searched


def names_of(item: OutputItem) -> Names:
    """The identifiers of an item."""
    match item:
        case FunctionCallItem() | CustomToolCallItem():
            return (item.id, item.call_id)
        case MessageItem() | ReasoningItem() | WebSearchCallItem() | ImageGenerationCallItem():
            return (item.id,)
        case OtherItem():
            return ()
        case _:
            assert_never(item)


def hosted(item: WebSearchCallItem | ImageGenerationCallItem) -> Sequence[Searched | ImageMade]:
    """What a hosted tool has done; often one thing, sometimes none."""
    return _pictured(item) if isinstance(item, ImageGenerationCallItem) else _searched(item)


def _searched(item: WebSearchCallItem) -> list[Searched]:
    """The search; none for an action without a query, such as opening a page."""
    action = search_action(item)
    query = action.query or next(iter(action.queries or ()), "")
    if not query:
        return []
    urls = tuple(dict.fromkeys(source.url for source in action.sources or () if source.url))
    return [Searched(item.id, query, urls)]


def _pictured(item: ImageGenerationCallItem) -> list[ImageMade]:
    """The image; none if the tool has made none."""
    if not item.result:
        return []
    return [
        ImageMade(
            item.result,
            id=item.id,
            revised_prompt=item.revised_prompt,
            output_format=item.output_format,
            size=item.size,
            quality=item.quality,
            background=item.background,
        )
    ]
