"""Renders stored responses: the list of input items, and the reply to a deletion. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec import Struct

from gptmock.conversations import Snapshot, item_id
from gptmock.dialects.json_text import json_bytes
from gptmock.errors import BadRequest

MAX_LIMIT = 100
DEFAULT_LIMIT = 20


@dataclass(frozen=True, slots=True)
class Page:
    """The pagination parameters of a list request."""

    limit: int = DEFAULT_LIMIT
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None
    """The id of the item before the first one of the page."""


class _Deleted(Struct, frozen=True):
    id: str
    object: str = "response"
    deleted: bool = True


class _Items(Struct, frozen=True, kw_only=True):
    object: str = "list"
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


def page_of(query: Mapping[str, str]) -> Page:
    """
    The pagination parameters of a query string; ``include`` has no effect, since items are stored completely.

    Raises:
        BadRequest: with the parameter at fault.
    """
    limit, order = query.get("limit", str(DEFAULT_LIMIT)), query.get("order", "desc")
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 3 and 1 <= int(limit) <= MAX_LIMIT):
        raise BadRequest(f"Invalid 'limit': a number from 1 to {MAX_LIMIT} is expected.", param="limit")
    if order not in ("asc", "desc"):
        raise BadRequest("Invalid 'order': 'asc' or 'desc' is expected.", param="order")
    return Page(int(limit), "asc" if order == "asc" else "desc", query.get("after") or None)


def refuse_stream(query: Mapping[str, str]) -> None:
    """
    Refuse ``stream=true``: the events of a stored response are not kept.

    Raises:
        BadRequest: a stream was requested.
    """
    if query.get("stream", "").lower() in ("true", "1"):
        raise BadRequest(
            "A stored response cannot be streamed again: only background responses could, and this server runs none.",
            code="unsupported_parameter",
            param="stream",
        )


def input_items_document(snapshot: Snapshot, page: Page) -> bytes:
    """
    ``GET /v1/responses/{id}/input_items``: the input of a response, including the conversation before it.

    Raises:
        BadRequest: ``after`` is not the id of an input item.
    """
    named = [(item_id(place, item), item) for place, item in enumerate(snapshot.input)]
    if page.order == "desc":
        named.reverse()
    ids = [one for one, _ in named]
    if page.after is not None and page.after not in ids:
        raise BadRequest("Invalid 'after': no input item of this response has that id.", param="after")
    start = 0 if page.after is None else ids.index(page.after) + 1
    shown = named[start : start + page.limit]
    return json_bytes(
        _Items(
            data=[msgspec.json.decode(item, type=dict[str, Any]) | {"id": one} for one, item in shown],
            first_id=shown[0][0] if shown else None,
            last_id=shown[-1][0] if shown else None,
            has_more=start + page.limit < len(named),
        )
    )


def deleted_document(response_id: str) -> bytes:
    """``DELETE /v1/responses/{id}``."""
    return json_bytes(_Deleted(response_id))
