"""
Stored responses as turns use them: what a request refers to is found before it goes upstream, and what it came to is
stored before its client hears the end of it. Knows contracts.

A request that needs the store and cannot have it fails; one that would merely be stored is answered all the same, and
its answer says ``store: false``.
"""

from __future__ import annotations

import logging
from typing import NoReturn

from gptmock.conversations import (
    MAX_SNAPSHOT_BYTES,
    NO_CONTEXT,
    ContextReferences,
    Conversations,
    LoadedContext,
    Reference,
    Snapshot,
)
from gptmock.errors import BadRequest, ClientError, StoreError, UnknownResponse

log = logging.getLogger("gptmock.conversation")

_SHOWN_CHARACTERS = 100
NOTHING_IS_STORED = "This server stores no responses (GPTMOCK_RESPONSES_TTL is 0)"


class ConversationKeeper:
    """
    Recalls and remembers.

    Args:
        conversations: where snapshots rest; ``None`` when the operator wants none stored.
    """

    def __init__(self, conversations: Conversations | None) -> None:
        self._conversations = conversations

    async def recall(self, tenant: str, references: ContextReferences) -> LoadedContext:
        """
        What a request refers to.

        Raises:
            BadRequest: there is no such response or item for this tenant, or nothing is stored at all.
            StoreError: it cannot be told now.
        """
        if not references:
            return NO_CONTEXT
        if self._conversations is None:
            raise _nothing_stored(references)
        before = await self._before(self._conversations, tenant, references.previous_response_id)
        here = {} if before is None else dict(before.named())
        asked = [reference for reference in references.references if reference.item_id not in here]
        found = await self._conversations.find(tenant, [one.item_id for one in asked]) if asked else {}
        for reference in asked:
            if reference.item_id not in found:
                raise _unknown_item(reference)
        if before is None:
            return LoadedContext(referred=found)
        return LoadedContext(items=before.conversation, referred=here | found, account_id=before.account_id)

    async def remember(self, tenant: str, snapshot: Snapshot) -> bool:
        """Store what a turn came to. Returns whether it is stored; the log says why not."""
        if self._conversations is None:
            return False
        if snapshot.size_bytes > MAX_SNAPSHOT_BYTES:
            log.warning("conversation.not_stored", extra={"reason": "size", "bytes": snapshot.size_bytes})
            return False
        try:
            await self._conversations.save(tenant, snapshot)
        except StoreError as error:
            log.warning("conversation.not_stored", extra={"reason": error.message})
            return False
        return True

    async def load(self, tenant: str, response_id: str) -> Snapshot:
        """
        A stored response.

        Raises:
            UnknownResponse: this tenant has none of that id.
            StoreError: it cannot be told now.
        """
        found = await self._conversations.load(tenant, response_id) if self._conversations is not None else None
        if found is None:
            raise _unknown_response(response_id)
        return found

    async def forget(self, tenant: str, response_id: str) -> None:
        """
        Delete a stored response.

        Raises:
            UnknownResponse: this tenant has none of that id.
            StoreError: it cannot be done now.
        """
        if self._conversations is None or not await self._conversations.delete(tenant, response_id):
            raise _unknown_response(response_id)

    async def cancel(self, tenant: str, response_id: str) -> NoReturn:
        """
        Refuse to cancel: what is stored has ended.

        Raises:
            UnknownResponse: this tenant has none of that id.
            BadRequest: it has.
            StoreError: it cannot be told now.
        """
        await self.load(tenant, response_id)
        raise BadRequest("Only background responses can be cancelled; this server runs none.")

    async def _before(self, conversations: Conversations, tenant: str, response_id: str | None) -> Snapshot | None:
        if response_id is None:
            return None
        found = await conversations.load(tenant, response_id)
        if found is None:
            raise BadRequest(
                f"Previous response with id '{_shown(response_id)}' not found.",
                code="previous_response_not_found",
                param="previous_response_id",
            )
        return found


def _nothing_stored(references: ContextReferences) -> ClientError:
    if references.previous_response_id is not None:
        return BadRequest(
            f"{NOTHING_IS_STORED}, so 'previous_response_id' cannot be honoured: send the whole conversation.",
            code="unsupported_parameter",
            param="previous_response_id",
        )
    reference = references.references[0]
    return BadRequest(
        f"{NOTHING_IS_STORED}, so the item '{_shown(reference.item_id)}' cannot be looked up: send items in full, "
        "as clients do that are told 'store: false'.",
        code="unsupported_parameter",
        param=f"input[{reference.place}].id",
    )


def _unknown_item(reference: Reference) -> BadRequest:
    return BadRequest(
        f"Item with id '{_shown(reference.item_id)}' not found. Items are kept with stored responses only: send the "
        "item in full, or do not set 'store' to false.",
        code="item_not_found",
        param=f"input[{reference.place}].id",
    )


def _unknown_response(response_id: str) -> UnknownResponse:
    return UnknownResponse(f"Response with id '{_shown(response_id)}' not found.", should_retry=False)


def _shown(text: str) -> str:
    # Client text in an error is bounded, and what could break a terminal is not repeated.
    return "".join(character for character in text[:_SHOWN_CHARACTERS] if character.isprintable())
