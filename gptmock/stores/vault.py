"""
The token vault: tokens, labels and the default account as encrypted records in any store. Knows encryption and
versions, not when or why tokens are renewed.

    acct:{id}:tokens      the tokens and nothing else, sealed; their version is the record's
    acct:{id}:about       label, paused, member; sealed, since a label is mostly an e-mail address
    accounts:default      the id of the account for requests whose client key is bound to no account

Versions order all changes of an account:

    login, logout         milliseconds of the clock, and above what is held
    rotation              ROTATION_STEP above the tokens that it replaces
    refusal, resealing    1 above; the tokens are the same

Each process keeps the newest version that it has seen of every record, and writes it back if the store has an older one
or none: the store was emptied or restored from a backup. A logout is no such loss: it writes a version without tokens.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

import msgspec

from gptmock.accounts import (
    ROTATION_STEP,
    SIGN_IN_HINT,
    Account,
    BrokenLogin,
    Login,
    Secret,
    TokenSet,
)
from gptmock.errors import NotLoggedIn, SealBroken, StoreUnavailable
from gptmock.stores import changes
from gptmock.stores.changes import OwedCount, count_change
from gptmock.stores.resealing import CANARY, opened, reseal, sealed_records
from gptmock.stores.seal import Sealer
from gptmock.stores.store import Record, Store
from gptmock.stores.token_bytes import decode_tokens, encode_tokens
from gptmock.stores.vault_about import About, login_of
from gptmock.stores.version_guard import VersionGuard

log = logging.getLogger("gptmock.account")

_TOKENS, _ABOUT = "tokens", "about"
DEFAULT = "accounts:default"
_PREFIX = "acct:"
MAX_RACES = 50
"""Compare-and-set that loses so often has no competitor but a fault."""


_DECODE_ABOUT = msgspec.json.Decoder(About)


class SealedVault:
    """
    ``TokenVault`` over a store and a seal.

    Args:
        store: holds the records.
        sealer: encrypts and decrypts them.
        clock: Unix seconds; dates logins and logouts.
    """

    def __init__(self, store: Store, sealer: Sealer, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._count = OwedCount(store)
        self._newest: dict[str, TokenSet] = {}
        """The newest tokens that this process has seen; older ones in the store are replaced by them."""
        self._records = VersionGuard(store)
        """The same for labels and the default account."""

    async def load(self, account_id: str) -> TokenSet:
        """See ``TokenVault.load``. One round trip, unless there is something to heal."""
        record = await self._store.read(_name(account_id, _TOKENS))
        return self._living(account_id, await self._healed(account_id, record))

    async def replace(self, replaced: TokenSet, tokens: TokenSet) -> TokenSet:
        """See ``TokenVault.replace``."""
        # Remembered before the write: if the store does not answer now, a later ``load`` writes the tokens.
        known = self._newest.get(tokens.account.id)
        if known is None or known.version < tokens.version:
            self._newest[tokens.account.id] = tokens
        self._count.owe()
        held = await self._push(replaced.version, tokens)
        await self._count.settle()
        return self._living(replaced.account.id, held)

    async def enroll(
        self, tokens: TokenSet, *, label: str | None = None, made_at: float | None = None, member: bool = False
    ) -> TokenSet:
        """See ``TokenVault.enroll``."""
        moment = self._clock() if made_at is None else min(made_at, self._clock())
        for _ in range(MAX_RACES):
            # The old record is not decrypted: a new login must also replace one that cannot be decrypted.
            record = await self._store.read(_name(tokens.account.id, _TOKENS))
            held_version = record.version if record is not None else 0
            version = self._above(tokens.account.id, held_version, moment)
            newer = replace(tokens, version=version, refused=None, forgotten=False)
            if await self._write(newer, expected=held_version) is None:
                self._remember(newer)
                await self._introduce(newer.account, label, member=member)
                await count_change(self._store)
                return newer
        raise _lost_races()

    async def refuse(self, refused: TokenSet, *, reason: str) -> bool:
        """See ``TokenVault.refuse``."""
        held: TokenSet | None = refused
        for _ in range(MAX_RACES):
            if held is None or held.refused is not None or not held.has_tokens_of(refused):
                return False
            marked = replace(held, version=held.version + 1, refused=reason)
            standing = await self._write(marked, expected=held.version)
            if standing is None:
                self._remember(marked)
                self._count.owe()
                await self._count.settle()
                return True
            held = self._opened(refused.account.id, standing)
        raise _lost_races()

    async def forget(self, account_id: str) -> None:
        """See ``TokenVault.forget``."""
        for _ in range(MAX_RACES):
            held = await self._healed(account_id, await self._store.read(_name(account_id, _TOKENS)))
            if held is None or held.forgotten:
                return
            gone = TokenSet(
                account=Account(held.account.workspace_id, held.account.user_id),
                access_token=Secret(""),
                refresh_token=None,
                id_token=None,
                version=self._above(account_id, held.version, self._clock()),
                expires_at=None,
                forgotten=True,
            )
            if await self._write(gone, expected=held.version) is None:
                self._remember(gone)
                await count_change(self._store)
                return
        raise _lost_races()

    async def logins(self) -> list[Login]:
        """See ``TokenVault.logins``. Three round trips, for commands and timers; lost records are written back."""
        return [one for one in await self._census() if isinstance(one, Login)]

    async def broken(self) -> list[BrokenLogin]:
        """See ``TokenVault.broken``."""
        return [one for one in await self._census() if isinstance(one, BrokenLogin)]

    async def holder(self, label: str) -> str | None:
        """See ``TokenVault.holder``."""
        return (await self._holders()).get(label)

    async def discard(self, account_id: str) -> None:
        """See ``TokenVault.discard``."""
        for kind in (_TOKENS, _ABOUT):
            await self._store.delete(_name(account_id, kind))
        await count_change(self._store)

    async def _holders(self) -> dict[str, str]:
        census = await self._census()
        return {one.label: one.account_id if isinstance(one, BrokenLogin) else one.account.id for one in census}

    async def _census(self) -> list[Login | BrokenLogin]:
        names = await self._store.names(_PREFIX)
        listed = {name[len(_PREFIX) + 1 : -len(_TOKENS) - 2] for name in names if name.endswith(f":{_TOKENS}")}
        ids = sorted(listed | set(self._newest))
        records = await self._store.read_many([_name(one, _TOKENS) for one in ids])
        abouts = await self._store.read_many([_name(one, _ABOUT) for one in ids])
        census: list[Login | BrokenLogin] = []
        for account_id, record, found in zip(ids, records, abouts, strict=True):
            # The label is written back before the tokens: when the account is listed again, it has its label.
            name = _name(account_id, _ABOUT)
            about = await self._records.settle(name, found)
            label = account_id
            try:
                described = self._about_in(name, about)
                label = described.label if described is not None else label
                tokens = await self._healed(account_id, record)
            except SealBroken as error:
                census.append(BrokenLogin(account_id, label, error.message))
                continue
            if tokens is not None and not tokens.forgotten:
                census.append(login_of(tokens, described or About(tokens.account.email or account_id)))
        return sorted(census, key=lambda one: one.label)

    async def revision(self) -> int:
        """See ``TokenVault.revision``. One round trip."""
        return await changes.revision(self._store)

    async def default(self) -> str | None:
        """See ``TokenVault.default``."""
        record = await self._records.settle(DEFAULT, await self._store.read(DEFAULT))
        return record.value.decode() if record is not None else None

    async def make_default(self, account_id: str) -> None:
        """See ``TokenVault.make_default``."""
        for _ in range(MAX_RACES):
            record = await self._records.settle(DEFAULT, await self._store.read(DEFAULT))
            expected = record.version if record is not None else 0
            if await self._records.put(DEFAULT, account_id.encode(), expected=expected):
                await count_change(self._store)
                return
        raise _lost_races()

    async def describe(
        self, account: Account, *, label: str | None = None, paused: bool | None = None, member: bool = False
    ) -> None:
        """See ``TokenVault.describe``."""
        name = _name(account.id, _ABOUT)
        for _ in range(MAX_RACES):
            record = await self._records.settle(name, await self._store.read(name))
            try:
                about = self._about_in(name, record)
            except SealBroken:
                about = None
            about = about or About(await self._free_label(account), member=member)
            about = About(label or about.label, about.paused if paused is None else paused, about.member)
            version = record.version if record is not None else 0
            sealed = self._sealer.seal(msgspec.json.encode(about), kind=_ABOUT, name=name, version=version + 1)
            if await self._records.put(name, sealed, expected=version):
                await count_change(self._store)
                return
        raise _lost_races()

    async def is_paused(self, account_id: str) -> bool:
        """See ``TokenVault.is_paused``."""
        name = _name(account_id, _ABOUT)
        about = self._about_in(name, await self._records.settle(name, await self._store.read(name)))
        return about is not None and about.paused

    async def check_key(self) -> None:
        """
        Check that the key ring fits the stored records, by the canary record; the first call writes it.

        Raises:
            SealBroken: it does not fit.
        """
        if await self._store.read(CANARY) is None:
            await self._check_records()
        plain = b"sealed by gptmock"
        sealed = self._sealer.seal(plain, kind="canary", name=CANARY, version=1)
        standing = await self._store.write(CANARY, sealed, expected=0)
        if standing is not None:
            self._sealer.open(standing.value, kind="canary", name=CANARY, version=standing.version)

    async def _check_records(self) -> None:
        """Without a canary: the ring fits if it decrypts at least one record, or if there is none."""
        broken = None
        for name, record in await sealed_records(self._store):
            try:
                opened(self._sealer, name, record)
            except SealBroken as error:
                broken = error
            else:
                return
        if broken is not None:
            raise broken

    async def reseal(self) -> int:
        """See ``stores.resealing.reseal``: the accounts, and whatever else is sealed."""
        return await reseal(self._store, self._sealer)

    async def probe(self) -> None:
        """See ``TokenVault.probe``."""
        await self._store.probe()

    # --- Records -----------------------------------------------------------------------

    def _above(self, account_id: str, held_version: int, moment: float) -> int:
        """The version of a login or logout at ``moment``: above that of any rotation in progress."""
        known = self._newest.get(account_id)
        below = max(held_version, known.version if known else 0)
        return max(below + 2 * ROTATION_STEP, int(moment * 1000))

    async def _healed(self, account_id: str, record: Record | None) -> TokenSet | None:
        """The newer of the stored and the remembered tokens, which are written back if the store is behind."""
        held = self._opened(account_id, record)
        known = self._newest.get(account_id)
        if known is not None and (held is None or held.version < known.version):
            self._count.owe()
            held = await self._push(held.version if held is not None else 0, known)
        await self._count.settle()
        if held is not None:
            self._remember(held)
        return held

    async def _push(self, expected: int, tokens: TokenSet) -> TokenSet:
        """Write ``tokens`` over any older version. Returns the newest tokens."""
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
        sealed = self._sealer.seal(encode_tokens(tokens), kind=_TOKENS, name=name, version=tokens.version)
        return await self._store.write(name, sealed, expected=expected, version=tokens.version)

    def _opened(self, account_id: str, record: Record | None) -> TokenSet | None:
        if record is None or record.version == 0:
            return None
        name = _name(account_id, _TOKENS)
        plain = self._sealer.open(record.value, kind=_TOKENS, name=name, version=record.version)
        return decode_tokens(plain, record.version)

    def _living(self, account_id: str, held: TokenSet | None) -> TokenSet:
        if held is None:
            raise NotLoggedIn(f"No ChatGPT account is signed in. {SIGN_IN_HINT}")
        self._remember(held)
        newest = self._newest[account_id]
        if newest.forgotten:
            raise NotLoggedIn(f"This ChatGPT account was logged out. {SIGN_IN_HINT}")
        return newest

    def _remember(self, tokens: TokenSet) -> None:
        """Remember tokens of the store; of two with the same version the store's win, since all workers see them."""
        known = self._newest.get(tokens.account.id)
        if known is None or known.version <= tokens.version:
            self._newest[tokens.account.id] = tokens

    async def _introduce(self, account: Account, label: str | None, *, member: bool) -> None:
        """Give a new account its label, and make it the default if no other can serve as that and it is no member's."""
        name = _name(account.id, _ABOUT)
        record = await self._records.settle(name, await self._store.read(name))
        if record is None or label is not None or not self._opens(name, record):
            await self.describe(account, label=label, member=member)
        if member:
            return
        default = await self.default()
        if default is None or (default != account.id and not await self._serves(default)):
            await self.make_default(account.id)

    async def _free_label(self, account: Account) -> str:
        """The mail address, unless another account has it: a person may be in several workspaces."""
        wanted = account.email or account.id
        holders = await self._holders()
        return next(
            label
            for label in (wanted, f"{wanted}/{account.workspace_id[:8]}", f"{wanted}/{account.id}")
            if holders.get(label, account.id) == account.id
        )

    def _opens(self, name: str, record: Record) -> bool:
        try:
            return self._about_in(name, record) is not None
        except SealBroken:
            return False

    def _about_in(self, name: str, record: Record | None) -> About | None:
        if record is None:
            return None
        return _DECODE_ABOUT.decode(self._sealer.open(record.value, kind=_ABOUT, name=name, version=record.version))

    async def _serves(self, account_id: str) -> bool:
        try:
            return (await self.load(account_id)).refused is None
        except (NotLoggedIn, SealBroken):
            return False


def _name(account_id: str, kind: str) -> str:
    # One tag for all that belongs to an account, so that a cluster keeps it in one place.
    return f"{_PREFIX}{{{account_id}}}:{kind}"


def _lost_races() -> StoreUnavailable:
    return StoreUnavailable("The store did not let a change through.", retry_after_seconds=1.0)
