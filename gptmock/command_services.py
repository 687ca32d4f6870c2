"""Builds the services that one CLI command about accounts needs, and closes them when it returns."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gptmock.accounts import BrokenLogin, Login
from gptmock.audit import Actor, AuditEvent
from gptmock.errors import CredentialRefused, GptmockError, SealBroken, StoreUnavailable, UnusableKey
from gptmock.gateway.administration import AuditTrail, KeyAdministration
from gptmock.gateway.credentials import CredentialKeeper
from gptmock.gateway.invitations import InvitationAdministration
from gptmock.gateway.logins import LoginBook
from gptmock.gateway.refresh import Refresher
from gptmock.gateway.team import Stores, overview_of
from gptmock.gateway.version import VersionWatch
from gptmock.login.flow import BrowserLogin, device_login
from gptmock.overview import AccountOverview
from gptmock.server.temporary_folder import DEMO_PREFIX, ClaimedFolder, claimed_folder
from gptmock.settings import Settings
from gptmock.shared_state import State, open_state
from gptmock.signin import DeviceCode
from gptmock.stores.audit import StoreAuditLog
from gptmock.stores.auth_file import write_login
from gptmock.stores.auth_import import adopt
from gptmock.stores.limits_and_usage import SharedLimits, SharedUsage
from gptmock.upstream.identity import ClientIdentity
from gptmock.upstream.issuer import OAuthIssuer
from gptmock.upstream.transport import open_client
from gptmock.upstream.usage import CodexUsage
from gptmock.usage import UsageRow

STORE_SECONDS = 5.0
"""How long a call to the store may take: one person waits, and a login that cannot be stored must be made again."""


@dataclass(frozen=True, slots=True)
class CommandServices:
    """The operations of commands about accounts."""

    accounts: LoginBook
    _state: State
    _issuer: OAuthIssuer
    _keeper: CredentialKeeper
    _usage: CodexUsage
    _board: SharedLimits
    _ledger: SharedUsage
    _trail: AuditTrail

    @property
    def keys(self) -> KeyAdministration:
        """The client keys; every change is recorded in the audit log."""
        return KeyAdministration(self._state.keys, self._trail)

    @property
    def invitations(self) -> InvitationAdministration:
        """The invitations; every change is recorded in the audit log."""
        return InvitationAdministration(self._state.invitations, self._state.keys, self._trail, clock=time.time)

    async def audit_events(self, count: int) -> Sequence[AuditEvent]:
        """The newest events of the audit log, newest first."""
        return await StoreAuditLog(self._state.store).latest(count)

    async def account_labels(self) -> dict[str, str]:
        """Account id to label."""
        return {login.account.id: login.label for login in await self.logins()}

    async def logins(self) -> list[Login]:
        """All accounts, by label."""
        return await self._state.vault.logins()

    async def broken(self) -> list[BrokenLogin]:
        """The accounts with a record that does not open, by label."""
        return await self._state.vault.broken()

    async def default(self) -> str | None:
        """The id of the account for clients that are not bound to an account."""
        return await self._state.vault.default()

    async def overview(self, *, ask: bool) -> list[AccountOverview]:
        """
        All accounts with their limits and usage.

        Args:
            ask: fetch the usage windows from the upstream now; else the last known ones are returned.

        Raises:
            StoreError: the accounts cannot be read.
        """
        logins = await self.logins()
        unheard = await asyncio.gather(*(self._hear(login) for login in logins)) if ask else [None] * len(logins)
        # Loaded again, since fetching the limits may have refreshed tokens.
        newer = {login.account.id: login for login in await self.logins()}
        state = self._state
        audit = StoreAuditLog(state.store)
        stores = Stores(state.vault, state.keys, self._board, self._ledger, state.escrow, audit, state.invitations)
        found = await overview_of(stores, [newer.get(login.account.id, login) for login in logins])
        return [replace(one, unheard=reason) for one, reason in zip(found, unheard, strict=True)]

    async def _hear(self, login: Login) -> str | None:
        """Fetch and store an account's usage windows; returns the error message if that fails."""
        account_id = login.account.id
        try:
            credential = await self._keeper.lease(account_id)
            try:
                snapshot = await self._usage.windows(credential)
            except CredentialRefused:
                snapshot = await self._usage.windows(await self._keeper.renew(credential))
            await self._board.post(account_id, snapshot)
        except GptmockError as error:
            return error.message
        return None

    async def key_names(self) -> dict[str, str]:
        """Client key id to name."""
        return {key.id: key.name for key in await self._state.keys.all()}

    async def used(self, days: Sequence[str]) -> list[UsageRow]:
        """See ``UsageLedger.report``."""
        return await self._ledger.report(days)

    def browser_login(self, *, label: str | None) -> BrowserLogin:
        """An interactive login by browser redirect."""
        return BrowserLogin(self._issuer, partial(self.accounts.enroll, label=label))

    async def begin_device(self) -> DeviceCode:
        """See ``SignInIssuer.begin_device``."""
        return await self._issuer.begin_device()

    async def device_login(self, device: DeviceCode, *, label: str | None, tick: Callable[[float], None]) -> Login:
        """See ``login.flow.device_login``."""
        return await device_login(self._issuer, partial(self.accounts.enroll, label=label), device, tick=tick)

    async def import_login(self, path: Path, *, label: str | None) -> Login:
        """
        Import the login of an ``auth.json``.

        Raises:
            NotLoggedIn: the file has no login, or one that was imported before.
            LoginRefused: ``label`` belongs to another account.
            StoreError: the file or the store cannot be read or written.
        """
        account = await adopt(self._state.vault, self._state.store, path, label=label)
        await self.accounts.welcome(account.id)
        login = await self.accounts.find(account.id)
        await self._trail.note("account.imported", account.id, f"{login.label}, from {path.name}")
        return login

    async def export_login(self, login: Login, path: Path) -> None:
        """
        Write an account's tokens as an ``auth.json``, mode 0600.

        Raises:
            StoreUnavailable: the file cannot be written.
            StoreError: the tokens cannot be read.
        """
        tokens = await self._state.vault.load(login.account.id)
        try:
            write_login(path, tokens)
        except OSError as error:
            raise StoreUnavailable(f"{path.name} could not be written ({error.strerror}).") from error
        await self._trail.note("account.exported", login.account.id, f"{login.label}, to {path.name}")


@asynccontextmanager
async def open_command_services(settings: Settings) -> AsyncIterator[CommandServices]:
    """
    Open the services on the configured store, after checking the encryption key.

    Raises:
        UnusableKey: the key is missing or does not decrypt the store; nothing was changed.
        StoreUnavailable: the store does not answer.
    """
    async with (
        open_client(proxy=settings.upstream_proxy) as client,
        open_state(settings, timeout_seconds=STORE_SECONDS) as state,
    ):
        try:
            await state.vault.check_key()
        except SealBroken as error:
            raise UnusableKey(f"{error.message} Nothing was changed.") from error
        issuer = OAuthIssuer(client, settings.issuer, client_id=settings.client_id, originator=settings.originator)
        board, ledger = SharedLimits(state.store), SharedUsage(state.store, clock=time.time)
        refresher = Refresher(state.vault, state.lease_of, issuer, state.escrow, clock=time.time)
        trail = AuditTrail(StoreAuditLog(state.store), _user(), clock=time.time)
        refresher.on_ended = partial(trail.note_event, "account.login_ended")
        keeper = CredentialKeeper(state.vault, refresher, clock=time.time)
        versions = VersionWatch(state.codex_version, fixed=settings.codex_version)
        with suppress(StoreUnavailable):
            await versions.reload()
        identity = ClientIdentity(settings.originator, versions.current)
        usage = CodexUsage(client, settings.upstream_url, identity=identity, clock=time.time)
        book = LoginBook(state.vault, board, state.escrow, issuer, clock=time.time, note=trail.note)
        try:
            yield CommandServices(book, state, issuer, keeper, usage, board, ledger, trail)
        finally:
            await keeper.close()


def _user() -> Actor:
    """The user of this command, and the host that it runs on."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        # In a container, the user may have a number only.
        name = f"uid {os.getuid()}"
    return Actor(name, socket.gethostname())


def demo_folder() -> AbstractContextManager[ClaimedFolder]:
    """A folder for a demo: it goes with the demo, or with the next start if that is killed."""
    return claimed_folder(DEMO_PREFIX)
