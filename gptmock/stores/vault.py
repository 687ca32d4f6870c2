"""
Tokens at rest: sealed records over any store. Knows seals and versions, not when tokens are renewed nor why.

    acct:{id}:tokens      the tokens and nothing else, sealed; their version is the record's
    acct:{id}:about       label, paused; sealed, since an e-mail address is nobody's business
    accounts:default      the id of the account that serves who is bound to none

Each process keeps the newest version it has seen of every account. When the store shows an older one, or none where
there was one, it was emptied or restored: the newest is pushed forward. A logout leaves a version without tokens, so
that it is told apart from an accident.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec

from gptmock.accounts import SIGN_IN_HINT, Account, Login, Secret, TokenSet
from gptmock.errors import NotLoggedIn, StoreUnavailable
from gptmock.stores.seal import Sealer
from gptmock.stores.store import Record, Store

_TOKENS, _ABOUT = "tokens", "about"
_DEFAULT = "accounts:default"
_CANARY = "seal:canary"
_PREFIX = "acct:"
MAX_RACES = 50
"""Compare-and-set that loses so often has no competitor but a fault."""


class _Tokens(msgspec.Struct, frozen=True, omit_defaults=True):
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


class _About(msgspec.Struct, frozen=True):
    label: str
    paused: bool = False


_DECODE_TOKENS = msgspec.json.Decoder(_Tokens)
_DECODE_ABOUT = msgspec.json.Decoder(_About)


class SealedVault:
    """``TokenVault`` over a store and a seal."""

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer
        self._newest: dict[str, TokenSet] = {}
        """What this process knows; the store is believed only where it is not older."""

    async def load(self, account_id: str) -> TokenSet:
        """See ``TokenVault.load``. One round trip, unless there is something to heal."""
        held = self._opened(account_id, await self._store.read(_name(account_id, _TOKENS)))
        known = self._newest.get(account_id)
        if known is not None and (held is None or held.version < known.version):
            held = await self._push(held.version if held is not None else 0, known)
        return self._living(account_id, held)

    async def replace(self, replaced: TokenSet, tokens: TokenSet) -> TokenSet:
        """See ``TokenVault.replace``."""
        newer = replace(tokens, version=replaced.version + 1)
        # Known before it is written: a store that does not answer now is healed from here when it does.
        known = self._newest.get(newer.account.id)
        if known is None or known.version < newer.version:
            self._newest[newer.account.id] = newer
        return self._living(replaced.account.id, await self._push(replaced.version, newer))

    async def enroll(self, tokens: TokenSet, *, label: str | None = None) -> TokenSet:
        """See ``TokenVault.enroll``."""
        account_id = tokens.account.id
        for _ in range(MAX_RACES):
            held = self._opened(account_id, await self._store.read(_name(account_id, _TOKENS)))
            known = self._newest.get(account_id)
            below = max(held.version if held else 0, known.version if known else 0)
            newer = replace(tokens, version=below + 1, refused=None, forgotten=False)
            if await self._write(newer, expected=held.version if held else 0) is None:
                self._remember(newer)
                await self._describe(newer, label)
                return newer
        raise _lost_races()

    async def refuse(self, refused: TokenSet, *, reason: str) -> None:
        """See ``TokenVault.refuse``."""
        marked = replace(refused, version=refused.version + 1, refused=reason)
        if await self._write(marked, expected=refused.version) is None:
            self._remember(marked)

    async def forget(self, account_id: str) -> None:
        """See ``TokenVault.forget``."""
        for _ in range(MAX_RACES):
            held = self._opened(account_id, await self._store.read(_name(account_id, _TOKENS)))
            if held is None or held.forgotten:
                return
            gone = TokenSet(
                account=Account(held.account.workspace_id, held.account.user_id),
                access_token=Secret(""),
                refresh_token=None,
                id_token=None,
                version=held.version + 1,
                expires_at=None,
                forgotten=True,
            )
            if await self._write(gone, expected=held.version) is None:
                self._remember(gone)
                return
        raise _lost_races()

    async def logins(self) -> list[Login]:
        """See ``TokenVault.logins``. Three round trips, for people."""
        names = await self._store.names(_PREFIX)
        ids = [name[len(_PREFIX) + 1 : -len(_TOKENS) - 2] for name in names if name.endswith(f":{_TOKENS}")]
        records = await self._store.read_many([_name(one, _TOKENS) for one in ids])
        abouts = await self._store.read_many([_name(one, _ABOUT) for one in ids])
        logins = [
            self._login(self._opened(account_id, record), self._about(account_id, about))
            for account_id, record, about in zip(ids, records, abouts, strict=True)
        ]
        return sorted((one for one in logins if one is not None), key=lambda login: login.label)

    async def default(self) -> str | None:
        """See ``TokenVault.default``."""
        record = await self._store.read(_DEFAULT)
        return record.value.decode() if record is not None else None

    async def make_default(self, account_id: str) -> None:
        """Let this account serve who is bound to none."""
        for _ in range(MAX_RACES):
            record = await self._store.read(_DEFAULT)
            expected = record.version if record is not None else 0
            if await self._store.write(_DEFAULT, account_id.encode(), expected=expected) is None:
                return
        raise _lost_races()

    async def check_key(self) -> None:
        """
        See that this ring opens what the store holds; the first to ask leaves a record to tell by.

        Raises:
            SealBroken: it does not.
        """
        plain = b"sealed by gptmock"
        sealed = self._sealer.seal(plain, kind="canary", name=_CANARY, version=1)
        standing = await self._store.write(_CANARY, sealed, expected=0)
        if standing is not None:
            self._sealer.open(standing.value, kind="canary", name=_CANARY, version=standing.version)

    async def probe(self) -> None:
        """See ``TokenVault.probe``."""
        await self._store.probe()

    # --- Records -----------------------------------------------------------------------

    async def _push(self, expected: int, tokens: TokenSet) -> TokenSet:
        """Write ``tokens`` over anything older; gives back what is newest."""
        for _ in range(MAX_RACES):
            standing = await self._write(tokens, expected=expected)
            if standing is None:
                return tokens
            held = self._opened(tokens.account.id, standing)
            if held is not None and held.version >= tokens.version:
                return held
            expected = standing.version
        raise _lost_races()

    async def _write(self, tokens: TokenSet, *, expected: int) -> Record | None:
        name = _name(tokens.account.id, _TOKENS)
        sealed = self._sealer.seal(_encoded(tokens), kind=_TOKENS, name=name, version=tokens.version)
        return await self._store.write(name, sealed, expected=expected, version=tokens.version)

    def _opened(self, account_id: str, record: Record | None) -> TokenSet | None:
        if record is None or record.version == 0:
            return None
        name = _name(account_id, _TOKENS)
        plain = self._sealer.open(record.value, kind=_TOKENS, name=name, version=record.version)
        return _decoded(plain, record.version)

    def _living(self, account_id: str, held: TokenSet | None) -> TokenSet:
        if held is None:
            raise NotLoggedIn(f"No ChatGPT account is signed in. {SIGN_IN_HINT}")
        self._remember(held)
        newest = self._newest[account_id]
        if newest.forgotten:
            raise NotLoggedIn(f"This ChatGPT account was logged out. {SIGN_IN_HINT}")
        return newest

    def _remember(self, tokens: TokenSet) -> None:
        """What the store holds; of two with one version the store's is the one that all others see."""
        known = self._newest.get(tokens.account.id)
        if known is None or known.version <= tokens.version:
            self._newest[tokens.account.id] = tokens

    async def _describe(self, tokens: TokenSet, label: str | None) -> None:
        account = tokens.account
        name = _name(account.id, _ABOUT)
        about = _About(label or account.email or account.id)
        record = await self._store.read(name)
        if record is None or label is not None:
            version = record.version if record is not None else 0
            sealed = self._sealer.seal(msgspec.json.encode(about), kind=_ABOUT, name=name, version=version + 1)
            await self._store.write(name, sealed, expected=version)
        await self._store.write(_DEFAULT, account.id.encode(), expected=0)

    def _about(self, account_id: str, record: Record | None) -> _About:
        if record is None:
            return _About(account_id)
        name = _name(account_id, _ABOUT)
        return _DECODE_ABOUT.decode(self._sealer.open(record.value, kind=_ABOUT, name=name, version=record.version))

    def _login(self, tokens: TokenSet | None, about: _About) -> Login | None:
        if tokens is None or tokens.forgotten:
            return None
        return Login(
            account=tokens.account,
            label=about.label,
            version=tokens.version,
            expires_at=tokens.expires_at,
            last_refresh=tokens.last_refresh,
            refused=tokens.refused,
            paused=about.paused,
        )


class StoreLease:
    """``RefreshLease`` over a store: a random owner for each attempt."""

    def __init__(self, store: Store, account_id: str, *, owner: str, ttl_seconds: float) -> None:
        self._store = store
        self._name = _name(account_id, "refresh")
        self._owner = owner
        self._ttl = ttl_seconds

    async def acquire(self) -> bool:
        """See ``RefreshLease.acquire``."""
        return await self._store.acquire(self._name, self._owner, ttl_seconds=self._ttl)

    async def renew(self) -> bool:
        """See ``RefreshLease.renew``."""
        return await self._store.renew(self._name, self._owner, ttl_seconds=self._ttl)

    async def left_seconds(self) -> float:
        """See ``RefreshLease.left_seconds``."""
        return await self._store.lease_left(self._name, self._owner)

    async def release(self) -> None:
        """See ``RefreshLease.release``; a lease that cannot be given back ends by itself."""
        try:
            await asyncio.shield(self._store.release(self._name, self._owner))
        except StoreUnavailable:
            return


def encode_sealed(tokens: TokenSet, sealer: Sealer, *, kind: str) -> bytes:
    """Tokens outside of the store, sealed for their account and version: the version stands before the seal."""
    sealed = sealer.seal(_encoded(tokens), kind=kind, name=tokens.account.id, version=tokens.version)
    return tokens.version.to_bytes(8, "big") + sealed


def decode_sealed(data: bytes, account_id: str, sealer: Sealer, *, kind: str) -> TokenSet:
    """
    The tokens of ``encode_sealed``.

    Raises:
        SealBroken: they do not open.
    """
    version = int.from_bytes(data[:8], "big")
    return _decoded(sealer.open(data[8:], kind=kind, name=account_id, version=version), version)


def _encoded(tokens: TokenSet) -> bytes:
    account = tokens.account
    return msgspec.json.encode(
        _Tokens(
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


def _decoded(plain: bytes, version: int) -> TokenSet:
    stored = _DECODE_TOKENS.decode(plain)
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


def _name(account_id: str, kind: str) -> str:
    # One tag for all that belongs to an account, so that a cluster keeps it in one place.
    return f"{_PREFIX}{{{account_id}}}:{kind}"


def _lost_races() -> StoreUnavailable:
    return StoreUnavailable("The store did not let a change through.", retry_after_seconds=1.0)
