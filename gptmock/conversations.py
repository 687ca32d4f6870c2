"""
Stored responses: what ``previous_response_id``, ``item_reference`` and ``GET /v1/responses/{id}`` stand on. Knows no
store, no clock and no wire but the JSON of items.

The upstream keeps nothing, so the conversation is kept here: one snapshot for each response, with everything that the
model was given and said. It refers to no other snapshot; an ancestor may be deleted or expire.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
from msgspec import Raw, Struct

MAX_SNAPSHOT_BYTES = 8 * 1024 * 1024
"""What is larger is answered and not stored."""
_ID_CHARACTERS = 48
_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fc",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctc",
    "web_search_call": "ws",
    "image_generation_call": "ig",
    "local_shell_call": "lsh",
}
"""What the ids of items begin with; outputs share it with their calls."""


class _Named(Struct, frozen=True):
    id: str | None = None
    type: str = ""


class _Answer(Struct, frozen=True):
    id: str
    output: list[Raw]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One stored response. Items are JSON objects in the client's language, oldest first."""

    response_id: str
    account_id: str
    """Who served; the encrypted reasoning of an account opens for nobody else."""
    input: tuple[Raw, ...]
    """All that the model was given: the conversation before, then the items of this request."""
    inherited: int
    """How many of ``input`` came from the response before."""
    response: Raw
    """The Response object as the client got it."""

    @property
    def size_bytes(self) -> int:
        """Of the JSON in it."""
        return memoryview(self.response).nbytes + sum(memoryview(item).nbytes for item in self.input)

    @property
    def output(self) -> tuple[Raw, ...]:
        """What the model said."""
        return tuple(msgspec.json.decode(self.response, type=_Answer).output)

    @property
    def conversation(self) -> tuple[Raw, ...]:
        """What a child of this response begins with."""
        return self.input + self.output

    def named(self, *, since: int = 0) -> Iterator[tuple[str, Raw]]:
        """The items of the conversation from that place on, each with its id."""
        for place, item in enumerate(self.conversation):
            if place >= since:
                yield item_id(place, item), item


def item_id(place: int, item: Raw) -> str:
    """
    The id of an item: its own, or one made of its place and its bytes.

    The same in every snapshot of a conversation, since none of them moves an item. An id that is made here is shown and
    found, but never becomes a part of the item: the upstream would look for it.
    """
    named = msgspec.json.decode(item, type=_Named)
    if named.id:
        return named.id
    digest = hashlib.sha256(b"%d\0%b" % (place, bytes(item))).hexdigest()
    return f"{_PREFIXES.get(named.type, 'item')}_{digest[:_ID_CHARACTERS]}"


@dataclass(frozen=True, slots=True)
class Memo:
    """What a turn is stored with, known before it is answered."""

    tenant: str
    input: tuple[Raw, ...]
    inherited: int

    def snapshot(self, response: bytes, *, account_id: str) -> Snapshot:
        """The turn as it is stored, once it has come to this Response object."""
        return Snapshot(
            response_id=msgspec.json.decode(response, type=_Answer).id,
            account_id=account_id,
            input=self.input,
            inherited=self.inherited,
            response=Raw(response),
        )


# --- What a request refers to -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reference:
    """An ``item_reference`` in the input of a request."""

    item_id: str
    place: int
    """Of the item in ``input``, from 0."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request refers to; nothing for nearly all of them."""

    previous_response_id: str | None = None
    references: tuple[Reference, ...] = ()

    def __bool__(self) -> bool:
        return self.previous_response_id is not None or bool(self.references)


@dataclass(frozen=True, slots=True)
class Recalled:
    """What was found for it."""

    items: tuple[Raw, ...] = ()
    """The conversation that the request continues."""
    referred: Mapping[str, Raw] = field(default_factory=dict)
    """Item id to item, for every reference."""
    account_id: str | None = None
    """Who served the conversation before."""


NOTHING_RECALLED = Recalled()


class Conversations(Protocol):
    """
    Where snapshots rest. What a tenant has stored is nobody else's: its ids are unknown to all others.

    Every method may raise ``StoreError``.
    """

    async def save(self, tenant: str, snapshot: Snapshot) -> None:
        """Store it, whole, before this returns; seen by every worker, and found by the ids of its items."""

    async def load(self, tenant: str, response_id: str) -> Snapshot | None:
        """The snapshot, or ``None`` when this tenant has none of that id, or it has expired."""

    async def delete(self, tenant: str, response_id: str) -> bool:
        """Forget it. Returns whether there was one; those that continued it stay as they are."""

    async def find(self, tenant: str, item_ids: Sequence[str]) -> dict[str, Raw]:
        """The items of these ids that are in a snapshot; others are left out."""
