"""Tokens as bytes, sealed for the place where they rest. Knows shapes and the seal, no store and no file."""

from __future__ import annotations

import msgspec

from gptmock.accounts import Account, Secret, TokenSet
from gptmock.stores.seal import Sealer

VERSION_BYTES = 8
"""Of the version before the seal, wherever tokens rest outside of the store."""


class _Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    workspace_id: str
    user_id: str | None = None
    email: str | None = None
    plan: str | None = None
    is_fedramp: bool = False
    access_token: str = ""
    refresh_token: str | None = None
    id_token: str | None = None
    expires_at: float | None = None
    last_refresh: float | None = None
    refused: str | None = None
    forgotten: bool = False


_DECODE = msgspec.json.Decoder(_Stored)


def encode_sealed(tokens: TokenSet, sealer: Sealer, *, kind: str) -> bytes:
    """Tokens outside of the store, sealed for their account and version: the version stands before the seal."""
    sealed = sealer.seal(encode_tokens(tokens), kind=kind, name=tokens.account.id, version=tokens.version)
    return tokens.version.to_bytes(VERSION_BYTES, "big") + sealed


def decode_sealed(data: bytes, account_id: str, sealer: Sealer, *, kind: str) -> TokenSet:
    """
    The tokens of ``encode_sealed``.

    Raises:
        SealBroken: they do not open.
    """
    version = int.from_bytes(data[:VERSION_BYTES], "big")
    return decode_tokens(sealer.open(data[VERSION_BYTES:], kind=kind, name=account_id, version=version), version)


def encode_tokens(tokens: TokenSet) -> bytes:
    """All of them but the version, which the place of the record tells; not sealed yet."""
    account = tokens.account
    return msgspec.json.encode(
        _Stored(
            workspace_id=account.workspace_id,
            user_id=account.user_id,
            email=account.email,
            plan=account.plan,
            is_fedramp=account.is_fedramp,
            access_token=tokens.access_token.reveal(),
            refresh_token=tokens.refresh_token.reveal() if tokens.refresh_token else None,
            id_token=tokens.id_token.reveal() if tokens.id_token else None,
            expires_at=tokens.expires_at,
            last_refresh=tokens.last_refresh,
            refused=tokens.refused,
            forgotten=tokens.forgotten,
        )
    )


def decode_tokens(plain: bytes, version: int) -> TokenSet:
    """The tokens of ``encode_tokens``."""
    stored = _DECODE.decode(plain)
    return TokenSet(
        account=Account(stored.workspace_id, stored.user_id, stored.email, stored.plan, stored.is_fedramp),
        access_token=Secret(stored.access_token),
        refresh_token=Secret(stored.refresh_token) if stored.refresh_token else None,
        id_token=Secret(stored.id_token) if stored.id_token else None,
        version=version,
        expires_at=stored.expires_at,
        last_refresh=stored.last_refresh,
        refused=stored.refused,
        forgotten=stored.forgotten,
    )
