"""
Stored responses: loads what a request refers to (``previous_response_id``, ``item_reference``) before the turn, and
stores the response before its last frame is sent. Knows contracts.

A request that refers to stored items fails without the store; one that should only be stored is answered anyway, with
``store: false`` in the response.
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
    Loads and stores responses.

    Args:
        conversations: holds the snapshots; ``None`` if GPTMOCK_RESPONSES_TTL is 0.
    """

    def __init__(self, conversations: Conversations | None) -> None:
        self._conversations = conversations

    async def recall(self, tenant: str, references: ContextReferences) -> LoadedContext:
        """
        Load what a request refers to.

        Raises:
            BadRequest: this tenant has no such response or item, or nothing is stored at all.
            StoreError: the store failed.
        """
        if not references:
            return NO_CONTEXT
        if self._conversations is None:
            raise _nothing_stored(references)
        before = await self._previous(self._conversations, tenant, references.previous_response_id)
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
        """Store a response. Returns whether it is stored; if not, the reason is logged."""
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
        Load a stored response.

        Raises:
            UnknownResponse: this tenant has none of that id.
            StoreError: the store failed.
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
            StoreError: the store failed.
        """
        if self._conversations is None or not await self._conversations.delete(tenant, response_id):
            raise _unknown_response(response_id)

    async def cancel(self, tenant: str, response_id: str) -> NoReturn:
        """
        Refuse to cancel: stored responses have ended already.

        Raises:
            UnknownResponse: this tenant has none of that id.
            BadRequest: it exists.
            StoreError: the store failed.
        """
        await self.load(tenant, response_id)
        raise BadRequest("Only background responses can be cancelled; this server runs none.")

    async def _previous(self, conversations: Conversations, tenant: str, response_id: str | None) -> Snapshot | None:
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
    # A client's text in an error is bounded, and has no terminal control characters.
    return "".join(character for character in text[:_SHOWN_CHARACTERS] if character.isprintable())
