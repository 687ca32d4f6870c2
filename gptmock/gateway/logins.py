"""
Account administration: sign in, sign out, default account, pause. Decides the order of the steps; knows contracts.

An account is a pair of workspace and user. A login updates the account of its own pair or adds one.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from gptmock.accounts import (
    BrokenLogin,
    Escrow,
    IssuedTokens,
    Login,
    TokenSet,
    TokenVault,
    account_of,
    expiry_of,
)
from gptmock.audit import Action
from gptmock.errors import LoginRefused, LoginUnavailable, NotLoggedIn, SealBroken, StoreError
from gptmock.limits import LimitStore
from gptmock.signin import LogoutResult, SignInIssuer, label_taken

log = logging.getLogger("gptmock.account")


class LoginBook:
    """
    Administers the accounts of a store.

    Args:
        vault: holds the tokens, labels and the default account.
        limits: knows which accounts are parked.
        escrow: may hold rotated tokens that the vault has not got yet.
        issuer: revokes logins.
        clock: Unix seconds.
        note: records an action with the account's id and label in the audit log.
    """

    def __init__(  # noqa: PLR0913 - the contracts that a login goes through
        self,
        vault: TokenVault,
        limits: LimitStore,
        escrow: Escrow,
        issuer: SignInIssuer,
        *,
        clock: Callable[[], float],
        note: Callable[[Action, str, str], Awaitable[None]] | None = None,
    ) -> None:
        self._vault = vault
        self._limits = limits
        self._escrow = escrow
        self._issuer = issuer
        self._clock = clock
        self._note = note or _unrecorded

    async def find(self, name: str) -> Login:
        """
        The account with that label, id or mail address.

        Raises:
            NotLoggedIn: there is none, or more than one; the message lists labels.
            SealBroken: its record cannot be decrypted.
        """
        logins = await self._vault.logins()
        found = [login for login in logins if name == login.label] or [
            login for login in logins if name in (login.account.id, login.account.email)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(login.label for login in found)
            raise NotLoggedIn(f"{name} is more than one account; say which: {ids}")
        if (broken := await self.find_broken(name)) is not None:
            raise SealBroken(broken.message)
        known = ", ".join(login.label for login in logins) or "none"
        raise NotLoggedIn(f"There is no account {name}. Accounts: {known}")

    async def find_broken(self, name: str) -> BrokenLogin | None:
        """The account with that label or id, if a record of it cannot be decrypted."""
        return next((one for one in await self._vault.broken() if name in (one.label, one.account_id)), None)

    async def enroll(self, issued: IssuedTokens, *, label: str | None = None, member: bool = False) -> Login:
        """
        Store the tokens of a new login, of a ``member`` or of the operator; every worker uses them within a second.

        Raises:
            LoginRefused: they name no account, or another account has this ``label`` (then they were revoked); nothing
                was changed.
            StoreError: they could not be stored.
        """
        account = account_of(issued)
        if account is None or issued.access_token is None:
            raise LoginRefused("The OAuth issuer's tokens do not say which ChatGPT account they are for.")
        now = self._clock()
        tokens = TokenSet(
            account=account,
            access_token=issued.access_token,
            refresh_token=issued.refresh_token,
            id_token=issued.id_token,
            version=0,
            expires_at=expiry_of(issued.access_token),
            last_refresh=now,
        )
        if label is not None and await self._label_holder(label) not in (None, account.id):
            await self._revoke(tokens)
            raise label_taken(label, account)
        held = await self._vault.enroll(tokens, label=label, member=member)
        await self.welcome(account.id)
        login = await self._login(held, label)
        await self._note("account.signed_in", account.id, login.label)
        return login

    async def welcome(self, account_id: str) -> None:
        """Unpark an account after a new login: its limits may have changed."""
        await self._limits.unpark(account_id, now=self._clock())
        log.info("account.signed_in", extra={"account": account_id})

    async def sign_out(self, login: Login, *, revoke: bool = True) -> LogoutResult:
        """
        Delete an account's tokens here, then revoke its login at the issuer unless another program uses it.

        Raises:
            StoreError: they could not be deleted; nothing was revoked.
        """
        account_id = login.account.id
        try:
            tokens: TokenSet | None = await self._vault.load(account_id)
        except NotLoggedIn:
            tokens = None
        await self._vault.forget(account_id)
        if tokens is not None:
            await self._escrow.drop(account_id, up_to_version=tokens.version)
        successor = await self._replace_default(account_id)
        revoked = revoke and tokens is not None and await self._revoke(tokens)
        log.info("account.signed_out", extra={"account": account_id, "revoked": revoked})
        await self._note("account.signed_out", account_id, login.label)
        return LogoutResult(login, revoked, successor)

    async def discard(self, broken: BrokenLogin) -> LogoutResult:
        """Delete an account whose record cannot be decrypted; its login cannot be revoked."""
        await self._vault.discard(broken.account_id)
        log.info("account.discarded", extra={"account": broken.account_id})
        await self._note("account.discarded", broken.account_id, broken.label)
        return LogoutResult(broken, revoked=False, successor=await self._replace_default(broken.account_id))

    async def make_default(self, login: Login) -> None:
        """Make this the default account: it serves requests whose client key is bound to no account."""
        await self._vault.make_default(login.account.id)
        await self._note("account.made_default", login.account.id, login.label)

    async def pause(self, login: Login, *, paused: bool) -> None:
        """Take an account out of service, or back; seen by every worker within a second."""
        await self._vault.describe(login.account, paused=paused)
        if not paused:
            await self._limits.unpark(login.account.id, now=self._clock())
        await self._note("account.paused" if paused else "account.resumed", login.account.id, login.label)

    async def _replace_default(self, gone: str) -> Login | None:
        """Choose another default account if ``gone`` was the default."""
        if await self._vault.default() != gone:
            return None
        left = await self._vault.logins()
        # Not that of a member, who has signed in for requests of its own only.
        left = [login for login in left if not login.member]
        able = [login for login in left if login.refused is None and not login.paused] or left
        if not able:
            return None
        await self._vault.make_default(able[0].account.id)
        return able[0]

    async def _revoke(self, tokens: TokenSet) -> bool:
        """Revoke the refresh token, which ends the whole login (RFC 7009); an unavailable issuer is only logged."""
        token, hint = (tokens.refresh_token, "refresh_token")
        if token is None:
            token, hint = (tokens.access_token, "access_token")
        try:
            await self._issuer.revoke(token, hint=hint)
        except LoginUnavailable as error:
            log.warning("account.not_revoked", extra={"account": tokens.account.id, "reason": error.message})
            return False
        return True

    async def _label_holder(self, label: str) -> str | None:
        try:
            return await self._vault.holder(label)
        except StoreError:
            # Unknown whether the label is free: storing the tokens is more important.
            return None

    async def _login(self, held: TokenSet, label: str | None) -> Login:
        account = held.account
        try:
            return next(login for login in await self._vault.logins() if login.account.id == account.id)
        except StoreError:
            # The tokens are stored, but the other facts of the account cannot be read now.
            return Login(
                account, label or account.email or account.id, held.version, held.expires_at, held.last_refresh
            )


async def _unrecorded(action: Action, account_id: str, label: str) -> None:
    """No audit log."""
