"""
What people do with accounts: sign in, sign out, choose, pause. The order of the steps; knows contracts.

An account is the pair of workspace and user. A login updates its own pair or adds one, never another's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

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
from gptmock.errors import LoginRefused, LoginUnavailable, NotLoggedIn, SealBroken, StoreError
from gptmock.limits import LimitStore
from gptmock.signin import LogoutResult, SignInIssuer, label_taken

log = logging.getLogger("gptmock.account")


class LoginBook:
    """
    The accounts of a store.

    Args:
        vault: where they rest.
        board: their limits.
        escrow: where tokens may lie that were on their way.
        issuer: ends logins.
        clock: Unix seconds.
    """

    def __init__(
        self, vault: TokenVault, board: LimitStore, escrow: Escrow, issuer: SignInIssuer, *, clock: Callable[[], float]
    ) -> None:
        self._vault = vault
        self._board = board
        self._escrow = escrow
        self._issuer = issuer
        self._clock = clock

    async def find(self, name: str) -> Login:
        """
        The account of that label, or of that id.

        Raises:
            NotLoggedIn: there is none; the message names those that there are.
            SealBroken: there is one, and its record does not open.
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
        """The account of that label, or of that id, if a record of it does not open."""
        return next((one for one in await self._vault.broken() if name in (one.label, one.account_id)), None)

    async def enroll(self, issued: IssuedTokens, *, label: str | None = None) -> Login:
        """
        Take the tokens of a person's login; every worker serves with them within a second.

        Raises:
            LoginRefused: they cannot be used, or ``label`` is another account's; they were revoked, nothing changed.
            StoreError: they could not be put away.
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
        if label is not None and await self._owner(label) not in (None, account.id):
            await self._revoke(tokens)
            raise label_taken(label, account)
        held = await self._vault.enroll(tokens, label=label)
        await self.welcome(account.id)
        return await self._login(held, label)

    async def welcome(self, account_id: str) -> None:
        """Whatever was said of the account's limits before, its new login may try."""
        await self._board.unpark(account_id, now=self._clock())
        log.info("account.signed_in", extra={"account": account_id})

    async def leave(self, login: Login, *, revoke: bool = True) -> LogoutResult:
        """
        Forget an account here, then end its login at the issuer unless another program goes on with it.

        Raises:
            StoreError: it could not be forgotten; nothing was revoked.
        """
        account_id = login.account.id
        try:
            tokens: TokenSet | None = await self._vault.load(account_id)
        except NotLoggedIn:
            tokens = None
        await self._vault.forget(account_id)
        if tokens is not None:
            await self._escrow.drop(account_id, up_to_version=tokens.version)
        successor = await self._succeed(account_id)
        revoked = revoke and tokens is not None and await self._revoke(tokens)
        log.info("account.signed_out", extra={"account": account_id, "revoked": revoked})
        return LogoutResult(login, revoked, successor)

    async def discard(self, broken: BrokenLogin) -> LogoutResult:
        """Forget an account with a record that does not open; its login cannot be ended at the issuer."""
        await self._vault.discard(broken.account_id)
        log.info("account.discarded", extra={"account": broken.account_id})
        return LogoutResult(broken, revoked=False, successor=await self._succeed(broken.account_id))

    async def prefer(self, login: Login) -> None:
        """Let this account serve who is bound to none."""
        await self._vault.make_default(login.account.id)

    async def pause(self, login: Login, *, paused: bool) -> None:
        """Take an account out of service, or back; seen by every worker within a second."""
        await self._vault.describe(login.account, paused=paused)
        if not paused:
            await self._board.unpark(login.account.id, now=self._clock())

    async def _succeed(self, gone: str) -> Login | None:
        """Another default for the one that has left."""
        if await self._vault.default() != gone:
            return None
        left = await self._vault.logins()
        able = [login for login in left if login.refused is None and not login.paused] or left
        if not able:
            return None
        await self._vault.make_default(able[0].account.id)
        return able[0]

    async def _revoke(self, tokens: TokenSet) -> bool:
        """With the refresh token the whole login ends; the issuer may be out of reach, and the rest goes on."""
        token, hint = (tokens.refresh_token, "refresh_token")
        if token is None:
            token, hint = (tokens.access_token, "access_token")
        try:
            await self._issuer.revoke(token, hint=hint)
        except LoginUnavailable as error:
            log.warning("account.not_revoked", extra={"account": tokens.account.id, "reason": error.message})
            return False
        return True

    async def _owner(self, label: str) -> str | None:
        try:
            return await self._vault.holder(label)
        except StoreError:
            # Whether the label is free cannot be told; the tokens are worth more than the label.
            return None

    async def _login(self, held: TokenSet, label: str | None) -> Login:
        account = held.account
        try:
            return next(login for login in await self._vault.logins() if login.account.id == account.id)
        except StoreError:
            # The tokens are in; what else is known of the account cannot be read now.
            return Login(
                account, label or account.email or account.id, held.version, held.expires_at, held.last_refresh
            )
