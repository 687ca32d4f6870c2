"""What the vault keeps about an account beside its tokens, and the account as people see it. Knows no store."""

from __future__ import annotations

import msgspec

from gptmock.accounts import Login, TokenSet, expiry_of, organization_of


class About(msgspec.Struct, frozen=True):
    """The record about an account."""

    label: str
    paused: bool = False
    member: bool = False


def login_of(tokens: TokenSet, about: About) -> Login:
    """An account for display."""
    return Login(
        account=tokens.account,
        label=about.label,
        version=tokens.version,
        expires_at=tokens.expires_at,
        last_refresh=tokens.last_refresh,
        refused=tokens.refused,
        paused=about.paused,
        organization=organization_of(tokens.id_token) if tokens.id_token is not None else None,
        id_expires_at=expiry_of(tokens.id_token) if tokens.id_token is not None else None,
        renewable=tokens.refresh_token is not None,
        member=about.member,
    )
