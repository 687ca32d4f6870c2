"""Serializes token sets to bytes, and encrypts those kept outside of the store. Knows no store and no file."""

from __future__ import annotations

import msgspec

from gptmock.accounts import Account, Secret, TokenSet
from gptmock.stores.seal import Sealer

VERSION_BYTES = 8
"""Length of the version in front of the sealed bytes, for tokens outside of the store."""


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
    """Tokens for a file outside of the store: 8 bytes of version (big-endian), then the sealed bytes."""
    sealed = sealer.seal(encode_tokens(tokens), kind=kind, name=tokens.account.id, version=tokens.version)
    return tokens.version.to_bytes(VERSION_BYTES, "big") + sealed


def decode_sealed(data: bytes, account_id: str, sealer: Sealer, *, kind: str) -> TokenSet:
    """
    The tokens of ``encode_sealed``.

    Raises:
        SealBroken: they cannot be decrypted.
    """
    version = int.from_bytes(data[:VERSION_BYTES], "big")
    return decode_tokens(sealer.open(data[VERSION_BYTES:], kind=kind, name=account_id, version=version), version)


def encode_tokens(tokens: TokenSet) -> bytes:
    """Tokens as JSON, not encrypted, without their version: the record has it."""
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
