"""
The refresh of a login: one procedure for every reason (timer, request, 401), at most one exchange at a time over all
workers, and no rotated token lost on its way. Knows contracts, no file and no HTTP.

    in this process   one shared task for each account
    over all workers  a lease with a random owner, renewed, given back by compare-and-delete
    under the lease   load again; newer? take it. Escrowed by somebody who died? put it in place.
                      has another worker found the issuer in trouble? leave it alone (``gateway.issuer_backoff``)
                      see that the store can be written; see that the lease outlasts the exchange
    the exchange      sent once, with a deadline below the lease; then escrow, then compare-and-set, then drop

Source: reliability and security 3.2; oauth2-proxy ``pkg/middleware/stored_session.go``.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
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
"""The issuer's deadline. Below the lease, so that nobody else starts while an answer may still come."""
WAIT_SECONDS = 30.0
"""How long to wait for another worker's refresh before giving up on this attempt."""
STORE_PAUSE_SECONDS = 0.5
"""After the store did not answer: its breaker has a pause of its own, and healing must not wait for two."""
POLL_SECONDS = (0.02, 0.25)
"""First and longest pause between two looks while another worker refreshes."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """What these tokens have met in this process: it need not ask the store about it each time."""

    seen: TokenSet
    pause: Backoff
    until: float
    """Unix seconds, as ``background_until``."""
    background_until: float


LeaseOf = Callable[[str], RefreshLease]


class Refresher:
    """
    Renews tokens.

    Args:
        vault: where they rest.
        lease_of: a new lease, with an owner of its own, for an account.
        issuer: who exchanges them.
        escrow: where they are safe on the way.
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
        self._deliveries: set[asyncio.Task[None]] = set()
        self.renewed: Callable[[TokenSet], object] = lambda _: None
        """Told of whatever a refresh brings home, whoever started it."""

    async def refresh(self, seen: TokenSet) -> TokenSet:
        """
        Newer tokens than ``seen``, from whoever gets them first.

        Raises:
            RefreshRejected: somebody has to log in again.
            RefreshUnavailable: no new tokens can be had now: the issuer, the lease or the store is in trouble.
            NotLoggedIn: the account was logged out meanwhile.
        """
        failure = self._failure(seen)
        if failure is not None and (left := failure.until - self._clock()) > 0:
            raise failure.pause.error(left)
        while True:
            joined = self._under_way(seen.account.id) is not None
            # Shielded: a client that leaves must not stop an exchange whose refresh token may be spent already.
            try:
                tokens = await asyncio.shield(self._flight(seen, needed=True))
            except RefreshUnavailable:
                failure = self._failure(seen)
                if joined and failure is not None and failure.pause.seconds == 0:
                    continue  # a flight that nobody needed was put off; this one is needed
                raise
            # A flight that somebody started for older tokens may bring home the very ones that were seen here.
            if not joined or (tokens.version > seen.version and not tokens.has_tokens_of(seen)):
                return tokens

    def start(self, seen: TokenSet) -> None:
        """Refresh in the background, unless that was just tried in vain; who needs the result asks for it later."""
        failure = self._failure(seen)
        if failure is None or self._clock() >= failure.background_until:
            self._flight(seen, needed=False)

    async def rescue(self, account_id: str) -> None:
        """
        Bring tokens home that a process of this machine left in the escrow when it died.

        Raises:
            StoreError: the vault cannot be asked whether it has them.
            NotLoggedIn: the account was logged out, or the store was emptied; they stay where they are.
        """
        kept = await self._escrow.find(account_id)
        if kept is None:
            return
        # Not what a process remembers: that may be the very tokens that the store has not got yet.
        held = await self._vault.load(account_id)
        if kept.version > held.version:
            self.start(held)
        else:
            await self._escrow.drop(account_id, up_to_version=held.version)

    async def close(self) -> None:
        """Wait for exchanges under way and for what is on its way to the store; the escrow has it in any case."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LEASE_SECONDS
        # Again, since an exchange that ends may leave a delivery behind.
        while (pending := {*self._flights.values(), *self._deliveries}) and loop.time() < deadline:
            await asyncio.wait(pending, timeout=deadline - loop.time(), return_when=asyncio.FIRST_COMPLETED)
        for late in pending:
            late.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    def _failure(self, seen: TokenSet) -> _Failure | None:
        """The last failure, if it was these tokens': others, of a new login, have not failed yet."""
        failure = self._failures.get(seen.account.id)
        return failure if failure is not None and failure.seen.has_tokens_of(seen) else None

    def _pause(self, tokens: TokenSet, pause: Backoff) -> RefreshUnavailable:
        """Keep to it in this process; gives back what to raise."""
        now = self._clock()
        self._failures[tokens.account.id] = _Failure(tokens, pause, now + pause.seconds, now + pause.background_seconds)
        return pause.error(pause.seconds)

    def _flight(self, seen: TokenSet, *, needed: bool) -> asyncio.Task[TokenSet]:
        account_id = seen.account.id
        flight = self._under_way(account_id)
        if flight is None:
            flight = asyncio.get_running_loop().create_task(
                self._refresh(seen, needed=needed), name=f"refresh {account_id}"
            )
            self._flights[account_id] = flight
            flight.add_done_callback(lambda done: self._landed(seen, done))
        return flight

    def _under_way(self, account_id: str) -> asyncio.Task[TokenSet] | None:
        flight = self._flights.get(account_id)
        return flight if flight is not None and not flight.done() else None

    def _landed(self, seen: TokenSet, flight: asyncio.Task[TokenSet]) -> None:
        account_id = seen.account.id
        # Whoever asked between its end and this call has started another.
        if self._flights.get(account_id) is flight:
            del self._flights[account_id]
        error = None if flight.cancelled() else flight.exception()
        if not isinstance(error, RefreshUnavailable):
            self._failures.pop(account_id, None)
        elif isinstance(error.__cause__, StoreError):
            self._pause(seen, Backoff(error.message, STORE_PAUSE_SECONDS, STORE_PAUSE_SECONDS))
        if error is None and not flight.cancelled():
            self.renewed(flight.result())
        if isinstance(error, GptmockError):
            log.warning(
                "account.refresh_failed", extra={"account": account_id, "code": error.code, "reason": error.message}
            )
        elif error is not None:
            # A background refresh has nobody else to tell.
            log.error("account.refresh_broken", exc_info=error)

    # --- Over all workers -----------------------------------------------------------------

    async def _refresh(self, seen: TokenSet, *, needed: bool) -> TokenSet:
        try:
            lease = self._lease_of(seen.account.id)
            newer = await self._acquire(lease, seen)
            if newer is not None:
                return newer
            keeping = asyncio.get_running_loop().create_task(_keep(lease), name="lease")
            try:
                return await self._under_lease(lease, seen, needed=needed)
            finally:
                keeping.cancel()
                with suppress(asyncio.CancelledError):
                    await keeping
                await lease.release()
        except StoreError as error:
            # No lease, no spending: while the store is away the login is left alone.
            raise RefreshUnavailable(
                f"The login cannot be renewed now. {error.message}", retry_after_seconds=issuer_backoff.STEPS_SECONDS[0]
            ) from error

    async def _acquire(self, lease: RefreshLease, seen: TokenSet) -> TokenSet | None:
        """Hold the lease, or come back with what another worker has got meanwhile."""
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
            held = await self._deliver(held, rescued)
            if held.expires_at is None or held.expires_at > self._clock():
                return held
        if held.refused is not None or held.refresh_token is None:
            raise RefreshRejected(held.refused or f"The login has no refresh token. {SIGN_IN_HINT}")
        trouble = await lease.trouble()
        if (pause := issuer_backoff.current_backoff(trouble, held, needed=needed, now=self._clock())) is not None:
            raise self._pause(held, pause)
        await self._vault.probe()
        await _see_that_it_lasts(lease)
        try:
            tokens = await self._exchange(held)
        except RefreshRejected as error:
            return await self._refused(held, error)
        except RefreshUnavailable as error:
            return await self._failed(lease, trouble, held, error)
        return await self._saved(lease, trouble, held, tokens)

    async def _exchange(self, held: TokenSet) -> TokenSet:
        assert held.refresh_token is not None  # noqa: S101 - the caller has looked
        return _merged(held, await self._issuer.refresh(held.refresh_token), now=self._clock())

    async def _saved(self, lease: RefreshLease, trouble: Trouble, held: TokenSet, tokens: TokenSet) -> TokenSet:
        try:
            await self._escrow.put(tokens)
        except StoreUnavailable as error:
            # A full disk: the tokens are here all the same, and the store may take them.
            log.warning("account.not_escrowed", extra={"account": held.account.id, "reason": error.message})
        saved = await self._deliver(held, tokens)
        log.info("account.renewed", extra={"account": held.account.id, "version": saved.version})
        if trouble.failures:
            with suppress(StoreUnavailable):
                await lease.report(Trouble())
        return saved

    async def _failed(
        self, lease: RefreshLease, trouble: Trouble, held: TokenSet, error: RefreshUnavailable
    ) -> TokenSet:
        """The other workers are told; they need not find out one by one."""
        try:
            met = issuer_backoff.next_trouble(trouble, held, error)
        except RefreshRejected as lost:
            return await self._refused(held, lost)
        with suppress(StoreUnavailable):
            await lease.report(met)
        raise self._pause(held, Backoff(met.message, met.left_seconds, met.left_seconds)) from error

    async def _refused(self, held: TokenSet, error: RefreshRejected) -> TokenSet:
        """A spent token is often somebody's success: look for it before the login is given up."""
        if (newer := await self._newer(held)) is not None:
            return newer
        rescued = await self._escrow.find(held.account.id)
        if rescued is not None and rescued.version > held.version:
            return await self._deliver(held, rescued)
        await self._vault.refuse(held, reason=error.message)
        raise error

    async def _deliver(self, held: TokenSet, tokens: TokenSet) -> TokenSet:
        """Into the vault, now or as soon as it can be written; the tokens serve from here on in any case."""
        try:
            saved = await self._vault.replace(held, tokens)
        except StoreError as error:
            log.warning("account.undelivered", extra={"account": tokens.account.id, "reason": error.message})
            task = asyncio.get_running_loop().create_task(self._deliver_later(tokens), name="delivery")
            self._deliveries.add(task)
            task.add_done_callback(self._deliveries.discard)
            return tokens
        except NotLoggedIn:
            await self._escrow.drop(tokens.account.id, up_to_version=tokens.version)
            raise
        await self._escrow.drop(tokens.account.id, up_to_version=saved.version)
        return saved

    async def _deliver_later(self, tokens: TokenSet) -> None:
        """The vault heals the store from what it knows; this only asks it to, until the store has it."""
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


async def _see_that_it_lasts(lease: RefreshLease) -> None:
    """
    The last look before a token is spent, and how long ago it was: this process may have been stopped meanwhile.

    Raises:
        LockBusy: somebody else may be asking right now.
    """
    loop = asyncio.get_running_loop()
    asked_at, left = loop.time(), await lease.left_seconds()
    if left < EXCHANGE_SECONDS + 1:
        asked_at, left = loop.time(), LEASE_SECONDS if await lease.renew() else 0.0
    if loop.time() - asked_at > left - EXCHANGE_SECONDS:
        raise LockBusy("The lease of the refresh was lost before anything was sent.")


async def _keep(lease: RefreshLease) -> None:
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
        # The pair that names the account stays; mail address and plan may have changed.
        account=replace(account, workspace_id=held.account.workspace_id, user_id=held.account.user_id),
        access_token=access,
        refresh_token=issued.refresh_token or held.refresh_token,
        id_token=issued.id_token or held.id_token,
        expires_at=expiry_of(access),
        last_refresh=now,
        version=held.version + ROTATION_STEP,
    )
