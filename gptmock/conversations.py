"""
Stored responses, for ``previous_response_id``, ``item_reference`` and ``GET /v1/responses/{id}``. Knows no store, no
clock and no wire format but the JSON of items.

The upstream stores nothing, so conversations are stored here: one snapshot per response, with the complete input and
output of the model. Snapshots do not refer to each other, so an earlier one may be deleted or expire.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
from msgspec import Raw, Struct

MAX_SNAPSHOT_BYTES = 8 * 1024 * 1024
"""A larger response is sent to the client but not stored."""
MAX_IMAGE_BYTES = 1024 * 1024
"""Of a generated image, as its item: of a larger one the item is stored without ``result``."""
_ID_CHARACTERS = 48
IMAGE_ITEM = "image_generation_call"
ITEM_ID_PREFIXES: Mapping[str, str] = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fc",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctc",
    "web_search_call": "ws",
    IMAGE_ITEM: "ig",
    "local_shell_call": "lsh",
}
"""Item type to the prefix of its ids; a call and its output have the same prefix."""


class _Named(Struct, frozen=True):
    id: str | None = None
    type: str = ""


class _Answer(Struct, frozen=True):
    id: str
    output: list[Raw]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One stored response. Items are JSON objects as in the public Responses API, oldest first."""

    response_id: str
    account_id: str
    """The account that served the response; only it can decrypt the encrypted reasoning."""
    input: tuple[Raw, ...]
    """The complete input: the items of the conversation so far, then those of this request."""
    inherited: int
    """How many items of ``input`` come from the previous response."""
    response: Raw
    """The Response object as sent to the client."""

    @property
    def size_bytes(self) -> int:
        """The size of its JSON."""
        return memoryview(self.response).nbytes + sum(memoryview(item).nbytes for item in self.input)

    @property
    def output(self) -> tuple[Raw, ...]:
        """The output items."""
        return tuple(msgspec.json.decode(self.response, type=_Answer).output)

    @property
    def conversation(self) -> tuple[Raw, ...]:
        """Input and output: the first items of a response that continues this one."""
        return self.input + self.output

    def named(self, *, since: int = 0) -> Iterator[tuple[str, Raw]]:
        """The items of ``conversation`` from index ``since`` on, each with its id."""
        for place, item in enumerate(self.conversation):
            if place >= since:
                yield item_id(place, item), item


def item_id(place: int, item: Raw) -> str:
    """
    The id of an item: its own, or one derived from its index in the conversation and its bytes.

    A derived id is the same in every snapshot of a conversation, since items keep their index. It is shown to clients
    and can be looked up, but is never added to the item: the upstream would look for it.
    """
    named = msgspec.json.decode(item, type=_Named)
    if named.id:
        return named.id
    digest = hashlib.sha256(b"%d\0%b" % (place, bytes(item))).hexdigest()
    return f"{ITEM_ID_PREFIXES.get(named.type, 'item')}_{digest[:_ID_CHARACTERS]}"


@dataclass(frozen=True, slots=True)
class PendingSnapshot:
    """The part of a snapshot that is known before the response: tenant and input."""

    tenant: str
    input: tuple[Raw, ...]
    inherited: int

    def snapshot(self, response: bytes, *, account_id: str) -> Snapshot:
        """The snapshot for this final Response object."""
        return Snapshot(
            response_id=msgspec.json.decode(response, type=_Answer).id,
            account_id=account_id,
            input=self.input,
            inherited=self.inherited,
            response=Raw(without_large_images(response)),
        )


def without_large_images(response: bytes) -> bytes:
    """
    A Response object as it is stored: without the data of images above ``MAX_IMAGE_BYTES``.

    Args:
        response: the object as JSON; returned unchanged if it is small or holds no such image.
    """
    if len(response) <= MAX_IMAGE_BYTES:
        return response
    members = msgspec.json.decode(response, type=dict[str, Raw])
    output = msgspec.json.decode(members["output"], type=list[Raw])
    kept = [_without_image(item) for item in output]
    if all(item is before for item, before in zip(kept, output, strict=True)):
        return response
    return msgspec.json.encode({**members, "output": kept})


def _without_image(item: Raw) -> Raw:
    if memoryview(item).nbytes <= MAX_IMAGE_BYTES or msgspec.json.decode(item, type=_Named).type != IMAGE_ITEM:
        return item
    members = msgspec.json.decode(item, type=dict[str, Raw])
    return Raw(msgspec.json.encode({name: value for name, value in members.items() if name != "result"}))


# --- References to stored context ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reference:
    """An ``item_reference`` in the input of a request."""

    item_id: str
    place: int
    """Index of the reference in ``input``."""


@dataclass(frozen=True, slots=True)
class ContextReferences:
    """The stored responses and items that a request refers to; false if there are none, as in most requests."""

    previous_response_id: str | None = None
    references: tuple[Reference, ...] = ()

    def __bool__(self) -> bool:
        return self.previous_response_id is not None or bool(self.references)


@dataclass(frozen=True, slots=True)
class LoadedContext:
    """What was found in the store for ``ContextReferences``."""

    items: tuple[Raw, ...] = ()
    """The conversation that the request continues."""
    referred: Mapping[str, Raw] = field(default_factory=dict)
    """Item id to item, for every reference."""
    account_id: str | None = None
    """The account that served the conversation before."""


NO_CONTEXT = LoadedContext()


class Conversations(Protocol):
    """
    The store of snapshots. Each tenant sees only its own: ids of other tenants are unknown to it.

    Every method may raise ``StoreError``.
    """

    async def save(self, tenant: str, snapshot: Snapshot) -> None:
        """Store a snapshot; once this returns, every worker finds it and its items by id."""

    async def load(self, tenant: str, response_id: str) -> Snapshot | None:
        """The snapshot; ``None`` if this tenant has none with that id or it has expired."""

    async def delete(self, tenant: str, response_id: str) -> bool:
        """Delete a snapshot. Returns whether it existed; responses that continue it are unaffected."""

    async def find(self, tenant: str, item_ids: Sequence[str]) -> dict[str, Raw]:
        """The items with these ids that are in a snapshot of this tenant; unknown ids are left out."""
