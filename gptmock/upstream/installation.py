"""
Replaces a Codex client's installation id by one of ours for each account, in requests and in their headers: the
client's own would link its user's machine to our accounts, and several of them would show at one account.
"""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec

from gptmock.accounts import Credential
from gptmock.protocol.request import JsonObject, ResponsesRequest, SideCall
from gptmock.protocol.upstream import Compacted, EventStream, Relayed, Upstream

_MEMBER = "x-codex-installation-id"
"""Of ``client_metadata``, and the name of a header."""
_METADATA = "client_metadata"
_TURN_METADATA = "x-codex-turn-metadata"
"""A header, and a member of ``client_metadata``: JSON, which may hold the same id."""
_TURN_MEMBER = "installation_id"
_SPACE = uuid.UUID("6c0c2f1e-7f0b-5d0c-9a53-2d7b5f6a4e19")


class OwnInstallation:
    """
    An upstream whose accounts have installation ids of their own.

    Args:
        upstream: sends the requests.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def open(
        self,
        request: ResponsesRequest,
        credential: Credential,
        *,
        headers: Mapping[str, str] | None = None,
        sent_again: Callable[[], None] = lambda: None,
    ) -> AbstractAsyncContextManager[EventStream]:
        """See ``Upstream.open``."""
        own = installation_of(credential)
        owned = _owned(request, own)
        return self._upstream.open(owned, credential, headers=_headers(headers, own), sent_again=sent_again)

    async def compact(
        self, request: ResponsesRequest, credential: Credential, *, headers: Mapping[str, str] | None = None
    ) -> Compacted:
        """See ``Upstream.compact``."""
        own = installation_of(credential)
        return await self._upstream.compact(_owned(request, own), credential, headers=_headers(headers, own))

    async def relay(
        self, request: ResponsesRequest, credential: Credential, *, headers: Mapping[str, str] | None = None
    ) -> Relayed:
        """See ``Upstream.relay``."""
        own = installation_of(credential)
        return await self._upstream.relay(_owned(request, own), credential, headers=_headers(headers, own))


def installation_of(credential: Credential) -> str:
    """The installation id of an account: a UUID, always the same."""
    return _installation(credential.account.id)


@functools.lru_cache(maxsize=1024)
def _installation(account_id: str) -> str:
    return str(uuid.uuid5(_SPACE, account_id))


def _owned(request: ResponsesRequest, own: str) -> ResponsesRequest:
    more, side = _with(request.more, own), request.side
    if side is not None and _METADATA.encode() in side.body:
        body = _with(msgspec.json.decode(side.body), own)
        side = SideCall(path=side.path, body=msgspec.json.encode(body), content_type=side.content_type)
    if more is request.more and side is request.side:
        return request
    return msgspec.structs.replace(request, more=more, side=side)


def _with(members: JsonObject, own: str) -> JsonObject:
    metadata = members.get(_METADATA)
    if not isinstance(metadata, dict):
        return members
    changed: dict[str, Any] = {name: _value(name, value, own) for name, value in metadata.items()}
    return members if changed == metadata else {**members, _METADATA: changed}


def _headers(headers: Mapping[str, str] | None, own: str) -> Mapping[str, str] | None:
    return headers and {name: _value(name, value, own) for name, value in headers.items()}


def _value(name: str, value: Any, own: str) -> Any:
    if name == _MEMBER:
        return own
    if name != _TURN_METADATA or not isinstance(value, str) or _TURN_MEMBER not in value:
        return value
    try:
        turn = json.loads(value)
    except ValueError:
        return value
    return json.dumps({**turn, _TURN_MEMBER: own}) if isinstance(turn, dict) and _TURN_MEMBER in turn else value
