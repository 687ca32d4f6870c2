"""
Refreshes a login's tokens (RFC 6749, section 6): one procedure for every trigger (timer, request, 401), at most one
exchange at a time over all workers, no rotated token lost. Knows contracts, no file and no HTTP.

    in this process   one shared task for each account
    over all workers  a lease with a random owner, renewed, released by compare-and-delete
    under the lease   load again: if there are newer tokens, use them; save tokens from the escrow of a dead process;
                      stop if another worker has reported a failing issuer (``gateway.issuer_backoff``);
                      check that the store is writable and that the lease outlasts the exchange
    the exchange      sent once, with a deadline below the lease; then escrow, compare-and-set, drop from the escrow

Source: reliability and security 3.2; oauth2-proxy ``pkg/middleware/stored_session.go``.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from gptmock.accounts import (
    ROTATION_STEP,
    SIGN_IN_HINT,
    Escrow,
    IssuedTokens,
    RefreshLease,
    TokenIssuer,
    TokenSet,
    TokenVault,
    Trouble,
    account_of,
    expiry_of,
)
from gptmock.errors import (
    GptmockError,
    LockBusy,
    NotLoggedIn,
    RefreshRejected,
    RefreshUnavailable,
    StoreError,
    StoreUnavailable,
)
from gptmock.gateway import issuer_backoff
from gptmock.gateway.issuer_backoff import Backoff

log = logging.getLogger("gptmock.account")

LEASE_SECONDS = 15.0
EXCHANGE_SECONDS = 8.0
"""Deadline of the request to the issuer; below the lease, so that no other worker starts before it has ended."""
WAIT_SECONDS = 30.0
"""How long to wait for another worker's refresh before giving up on this attempt."""
STORE_BACKOFF_SECONDS = 0.5
"""Backoff after the store did not answer; short, since the store's circuit breaker has its own open time."""
POLL_SECONDS = (0.02, 0.25)
"""The first and the longest pause between two polls while another worker refreshes."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """The last failure of these tokens, cached so that the store need not be asked each time."""

    seen: TokenSet
    backoff: Backoff
    until: float
    """Unix seconds, as ``background_until``."""
    background_until: float


LeaseOf = Callable[[str], RefreshLease]


class Refresher:
    """
    Refreshes tokens.

    Args:
        vault: holds them.
        lease_of: a new lease, with an owner of its own, for an account.
        issuer: exchanges refresh tokens.
        escrow: keeps rotated tokens on disk until the vault has them.
        clock: Unix seconds.
    """

    def __init__(
        self, vault: TokenVault, lease_of: LeaseOf, issuer: TokenIssuer, escrow: Escrow, *, clock: Callable[[], float]
    ) -> None:
        self._vault = vault
        self._lease_of = lease_of
        self._issuer = issuer
        self._escrow = escrow
        self._clock = clock
        self._flights: dict[str, asyncio.Task[TokenSet]] = {}
        self._failures: dict[str, _Failure] = {}
        self._pending_saves: set[asyncio.Task[None]] = set()
        self.on_renewed: Callable[[TokenSet], object] = lambda _: None
        """Called with the tokens of every successful refresh."""
        self.on_ended: Callable[[str, str], Awaitable[object]] = _untold
        """Awaited with the id of an account and the reason when its login has ended here."""

    async def refresh(self, seen: TokenSet) -> TokenSet:
        """
        Newer tokens than ``seen``, by a refresh here or in another worker.

        Raises:
            RefreshRejected: the user has to sign in again.
            RefreshUnavailable: the issuer, the lease or the store is unavailable now.
            NotLoggedIn: the account was logged out meanwhile.
        """
        failure = self._failure(seen)
        if failure is not None and (left := failure.until - self._clock()) > 0:
            raise failure.backoff.error(left)
        while True:
            joined = self._under_way(seen.account.id) is not None
            # Shielded: a client that disconnects must not cancel an exchange that may have used up the refresh token.
            try:
                tokens = await asyncio.shield(self._flight(seen, needed=True))
            except RefreshUnavailable:
                failure = self._failure(seen)
                if joined and failure is not None and failure.backoff.seconds == 0:
                    continue  # the joined task was a background refresh and was put off; this one is needed
                raise
            # A joined task that was started for older tokens may return the ones in ``seen``: refresh again.
            if not joined or (tokens.version > seen.version and not tokens.has_tokens_of(seen)):
                return tokens

    def start(self, seen: TokenSet) -> None:
        """Refresh in the background, unless a backoff is in effect."""
        failure = self._failure(seen)
        if failure is None or self._clock() >= failure.background_until:
            self._flight(seen, needed=False)

    async def recover_escrowed(self, account_id: str) -> None:
        """
        Start a refresh if the escrow holds tokens that a dead process of this machine could not save to the vault.

        Raises:
            StoreError: the vault cannot be read.
            NotLoggedIn: the account was logged out, or the store was emptied; the tokens stay in the escrow.
        """
        kept = await self._escrow.find(account_id)
        if kept is None:
            return
        # From the vault, not from a cache, which may hold the same tokens that the store has not got yet.
        held = await self._vault.load(account_id)
        if kept.version > held.version:
            self.start(held)
        else:
            await self._escrow.drop(account_id, up_to_version=held.version)

    async def close(self) -> None:
        """Wait for running exchanges and pending saves; what is not saved in time stays in the escrow."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LEASE_SECONDS
        # In a loop, since an exchange that ends may leave a pending save.
        while (pending := {*self._flights.values(), *self._pending_saves}) and loop.time() < deadline:
            await asyncio.wait(pending, timeout=deadline - loop.time(), return_when=asyncio.FIRST_COMPLETED)
        for late in pending:
            late.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    def _failure(self, seen: TokenSet) -> _Failure | None:
        """The last failure, if it was that of these tokens and not of an earlier login."""
        failure = self._failures.get(seen.account.id)
        return failure if failure is not None and failure.seen.has_tokens_of(seen) else None

    def _back_off(self, tokens: TokenSet, backoff: Backoff) -> RefreshUnavailable:
        """Put a backoff into effect in this process. Returns the error to raise."""
        now = self._clock()
        self._failures[tokens.account.id] = _Failure(
            tokens, backoff, now + backoff.seconds, now + backoff.background_seconds
        )
        return backoff.error(backoff.seconds)

    def _flight(self, seen: TokenSet, *, needed: bool) -> asyncio.Task[TokenSet]:
        account_id = seen.account.id
        flight = self._under_way(account_id)
        if flight is None:
            flight = asyncio.get_running_loop().create_task(
                self._refresh(seen, needed=needed), name=f"refresh {account_id}"
            )
            self._flights[account_id] = flight
            flight.add_done_callback(lambda done: self._finished(seen, done))
        return flight

    def _under_way(self, account_id: str) -> asyncio.Task[TokenSet] | None:
        flight = self._flights.get(account_id)
        return flight if flight is not None and not flight.done() else None

    def _finished(self, seen: TokenSet, flight: asyncio.Task[TokenSet]) -> None:
        account_id = seen.account.id
        # A caller between the task's end and this callback may have started another one.
        if self._flights.get(account_id) is flight:
            del self._flights[account_id]
        error = None if flight.cancelled() else flight.exception()
        if not isinstance(error, RefreshUnavailable):
            self._failures.pop(account_id, None)
        elif isinstance(error.__cause__, StoreError):
            self._back_off(seen, Backoff(error.message, STORE_BACKOFF_SECONDS, STORE_BACKOFF_SECONDS))
        if error is None and not flight.cancelled():
            self.on_renewed(flight.result())
        if isinstance(error, GptmockError):
            log.warning(
                "account.refresh_failed", extra={"account": account_id, "code": error.code, "reason": error.message}
            )
        elif error is not None:
            # A bug; a background refresh has no caller that would report it.
            log.error("account.refresh_broken", exc_info=error)

    # --- Over all workers -----------------------------------------------------------------

    async def _refresh(self, seen: TokenSet, *, needed: bool) -> TokenSet:
        try:
            lease = self._lease_of(seen.account.id)
            newer = await self._acquire(lease, seen)
            if newer is not None:
                return newer
            keeping = asyncio.get_running_loop().create_task(_renew_lease(lease), name="lease")
            try:
                return await self._under_lease(lease, seen, needed=needed)
            finally:
                keeping.cancel()
                with suppress(asyncio.CancelledError):
                    await keeping
                await lease.release()
        except StoreError as error:
            # Without the store there is no lease, and without a lease the refresh token must not be used.
            raise RefreshUnavailable(
                f"The login cannot be renewed now. {error.message}", retry_after_seconds=issuer_backoff.STEPS_SECONDS[0]
            ) from error

    async def _acquire(self, lease: RefreshLease, seen: TokenSet) -> TokenSet | None:
        """Acquire the lease and return ``None``, or return newer tokens that another worker has saved meanwhile."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WAIT_SECONDS
        pause, longest = POLL_SECONDS
        while not await lease.acquire():
            if loop.time() >= deadline:
                raise LockBusy("Another worker refreshes this login and does not finish.")
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads the waiters
            pause = min(pause * 2, longest)
            if (newer := await self._newer(seen)) is not None:
                return newer
        return None

    async def _newer(self, seen: TokenSet) -> TokenSet | None:
        held = await self._vault.load(seen.account.id)
        if held.version <= seen.version or (held.refused is None and held.has_tokens_of(seen)):
            return None
        if held.refused is not None:
            raise RefreshRejected(held.refused)
        return held

    async def _under_lease(self, lease: RefreshLease, seen: TokenSet, *, needed: bool) -> TokenSet:
        account_id = seen.account.id
        if (newer := await self._newer(seen)) is not None:
            return newer
        held = await self._vault.load(account_id)
        rescued = await self._escrow.find(account_id)
        if rescued is not None and rescued.version > held.version:
            log.warning("account.rescued", extra={"account": account_id, "version": rescued.version})
            held = await self._save(held, rescued)
            if held.expires_at is None or held.expires_at > self._clock():
                return held
        if held.refused is not None or held.refresh_token is None:
            raise RefreshRejected(held.refused or f"The login has no refresh token. {SIGN_IN_HINT}")
        trouble = await lease.trouble()
        if (backoff := issuer_backoff.current_backoff(trouble, held, needed=needed, now=self._clock())) is not None:
            raise self._back_off(held, backoff)
        await self._vault.probe()
        await _ensure_remaining_time(lease)
        try:
            tokens = await self._exchange(held)
        except RefreshRejected as error:
            return await self._refused(held, error)
        except RefreshUnavailable as error:
            return await self._failed(lease, trouble, held, error)
        return await self._store(lease, trouble, held, tokens)

    async def _exchange(self, held: TokenSet) -> TokenSet:
        assert held.refresh_token is not None  # noqa: S101 - checked by the caller
        return _merged(held, await self._issuer.refresh(held.refresh_token), now=self._clock())

    async def _store(self, lease: RefreshLease, trouble: Trouble, held: TokenSet, tokens: TokenSet) -> TokenSet:
        try:
            await self._escrow.put(tokens)
        except StoreUnavailable as error:
            # For example a full disk: go on, since the store may still take the tokens.
            log.warning("account.not_escrowed", extra={"account": held.account.id, "reason": error.message})
        saved = await self._save(held, tokens)
        log.info("account.renewed", extra={"account": held.account.id, "version": saved.version})
        if trouble.failures:
            with suppress(StoreUnavailable):
                await lease.report(Trouble())
        return saved

    async def _failed(
        self, lease: RefreshLease, trouble: Trouble, held: TokenSet, error: RefreshUnavailable
    ) -> TokenSet:
        """Report the failure to the other workers, which then keep to the same backoff."""
        try:
            met = issuer_backoff.next_trouble(trouble, held, error)
        except RefreshRejected as lost:
            return await self._refused(held, lost)
        with suppress(StoreUnavailable):
            await lease.report(met)
        raise self._back_off(held, Backoff(met.message, met.left_seconds, met.left_seconds)) from error

    async def _refused(self, held: TokenSet, error: RefreshRejected) -> TokenSet:
        """The refresh token was rejected: if another process has used it up, return its tokens; else mark the login."""
        if (newer := await self._newer(held)) is not None:
            return newer
        rescued = await self._escrow.find(held.account.id)
        if rescued is not None and rescued.version > held.version:
            return await self._save(held, rescued)
        if await self._vault.refuse(held, reason=error.message):
            await self.on_ended(held.account.id, error.message)
        raise error

    async def _save(self, held: TokenSet, tokens: TokenSet) -> TokenSet:
        """Save tokens to the vault; if it fails, in the background. Returns the tokens to use from now on."""
        try:
            saved = await self._vault.replace(held, tokens)
        except StoreError as error:
            log.warning("account.undelivered", extra={"account": tokens.account.id, "reason": error.message})
            task = asyncio.get_running_loop().create_task(self._save_later(tokens), name="save tokens")
            self._pending_saves.add(task)
            task.add_done_callback(self._pending_saves.discard)
            return tokens
        except NotLoggedIn:
            await self._escrow.drop(tokens.account.id, up_to_version=tokens.version)
            raise
        await self._escrow.drop(tokens.account.id, up_to_version=saved.version)
        return saved

    async def _save_later(self, tokens: TokenSet) -> None:
        """Load until it succeeds: ``TokenVault.load`` writes newer tokens of its cache back to the store."""
        while True:
            await asyncio.sleep(random.uniform(0.5, 1.0))  # noqa: S311
            try:
                saved = await self._vault.load(tokens.account.id)
            except StoreError:
                continue
            except NotLoggedIn:
                await self._escrow.drop(tokens.account.id, up_to_version=tokens.version)
                return
            await self._escrow.drop(tokens.account.id, up_to_version=saved.version)
            return


async def _untold(_account_id: str, _reason: str) -> None:
    """Nobody wants to know."""


async def _ensure_remaining_time(lease: RefreshLease) -> None:
    """
    Check that the lease outlasts the exchange, and renew it if not. The time that this check itself takes counts too,
    since this process may be suspended meanwhile.

    Raises:
        LockBusy: the lease was lost: another worker may be refreshing.
    """
    loop = asyncio.get_running_loop()
    asked_at, left = loop.time(), await lease.left_seconds()
    if left < EXCHANGE_SECONDS + 1:
        asked_at, left = loop.time(), LEASE_SECONDS if await lease.renew() else 0.0
    if loop.time() - asked_at > left - EXCHANGE_SECONDS:
        raise LockBusy("The lease of the refresh was lost before anything was sent.")


async def _renew_lease(lease: RefreshLease) -> None:
    while True:
        await asyncio.sleep(LEASE_SECONDS / 3)
        with suppress(StoreError):
            if not await lease.renew():
                return


def _merged(held: TokenSet, issued: IssuedTokens, *, now: float) -> TokenSet:
    """The issued tokens over the old ones: a member that the issuer left out keeps its value."""
    account = account_of(issued) or held.account
    if account.workspace_id != held.account.workspace_id:
        raise RefreshUnavailable("The issuer answered with tokens of another account; they were not taken.")
    access = issued.access_token or held.access_token
    return replace(
        held,
        # Workspace and user identify the account and stay; mail address and plan may have changed.
        account=replace(account, workspace_id=held.account.workspace_id, user_id=held.account.user_id),
        access_token=access,
        refresh_token=issued.refresh_token or held.refresh_token,
        id_token=issued.id_token or held.id_token,
        expires_at=expiry_of(access),
        last_refresh=now,
        version=held.version + ROTATION_STEP,
    )
