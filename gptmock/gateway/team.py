"""The administration of accounts and client keys, for the server and for commands. Knows contracts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gptmock.accounts import BrokenLogin, Escrow, Login, TokenVault
from gptmock.audit import Actor, AuditEvent, AuditLog
from gptmock.clients import ClientKey, ClientKeys, Invitation, Invitations, LimitState
from gptmock.gateway.administration import AuditTrail, KeyAdministration
from gptmock.gateway.invitations import CountsAttempts, CountsWrong, InvitationAdministration, Reception
from gptmock.gateway.key_usage import KnowsLimits
from gptmock.gateway.logins import LoginBook
from gptmock.limits import LimitStore
from gptmock.live import LiveBoard, Problem, WorkerReport
from gptmock.overview import AccountOverview, last_days
from gptmock.signin import SignInIssuer
from gptmock.usage import UsageLedger, UsageRow


@dataclass(frozen=True, slots=True)
class Stores:
    """What is administered."""

    vault: TokenVault
    keys: ClientKeys
    limits: LimitStore
    ledger: UsageLedger
    escrow: Escrow
    audit: AuditLog
    invitations: Invitations


async def overview_of(stores: Stores, logins: Sequence[Login]) -> list[AccountOverview]:
    """
    These accounts with their last known limits and usage.

    Raises:
        StoreError: they cannot be read.
    """
    default = await stores.vault.default()
    standings = await stores.limits.look([login.account.id for login in logins], conversation=None)
    return [
        AccountOverview(
            login=login,
            is_default=login.account.id == default,
            parked_until=standing.parked_until or None,
            limits=await stores.limits.snapshot(login.account.id),
            usage=await stores.ledger.read(login.account.id),
        )
        for login, standing in zip(logins, standings.accounts, strict=True)
    ]


class Team:
    """
    What a server administers and shows; every method may raise ``StoreError``.

    Args:
        stores: what is administered.
        issuer: of the accounts.
        key_limits: how the limits of keys stand.
        board: what all workers do.
        static_keys: tenant of each static key to its name.
        clock: Unix seconds.
    """

    def __init__(  # noqa: PLR0913 - each is a thing of its own
        self,
        stores: Stores,
        issuer: SignInIssuer,
        key_limits: KnowsLimits,
        board: LiveBoard,
        *,
        static_keys: dict[str, str],
        clock: Callable[[], float],
    ) -> None:
        self._stores = stores
        self.issuer = issuer
        self._key_limits = key_limits
        self._board = board
        self._static_keys = static_keys
        self.clock = clock

    def keys(self, actor: Actor) -> KeyAdministration:
        """The client keys; every change is recorded in the audit log."""
        return KeyAdministration(self._stores.keys, self.trail(actor))

    def invitations(self, actor: Actor) -> InvitationAdministration:
        """The invitations; every change is recorded in the audit log."""
        stores = self._stores
        return InvitationAdministration(stores.invitations, stores.keys, self.trail(actor), clock=self.clock)

    def reception(self, guesses: CountsWrong, attempts: CountsAttempts) -> Reception:
        """What people with an invitation may do."""
        stores = self._stores
        return Reception(
            stores.invitations,
            stores.keys,
            guesses,
            attempts,
            self.issuer,
            accounts=self.accounts,
            trail=self.trail,
        )

    def accounts(self, actor: Actor) -> LoginBook:
        """The accounts; every change is recorded in the audit log."""
        stores, trail = self._stores, self.trail(actor)
        return LoginBook(stores.vault, stores.limits, stores.escrow, self.issuer, clock=self.clock, note=trail.note)

    async def overview(self) -> list[AccountOverview]:
        """All accounts by label, with their last known limits and usage."""
        return await overview_of(self._stores, await self._stores.vault.logins())

    async def broken(self) -> list[BrokenLogin]:
        """The accounts with a record that does not open, by label."""
        return await self._stores.vault.broken()

    async def labels(self) -> dict[str, str]:
        """Account id to label."""
        return {login.account.id: login.label for login in await self._stores.vault.logins()}

    async def all_keys(self) -> Sequence[ClientKey]:
        """All client keys by name, including revoked ones."""
        return await self._stores.keys.all()

    async def open_invitations(self) -> Sequence[Invitation]:
        """All open invitations by name."""
        return await self._stores.invitations.all()

    async def key_names(self) -> dict[str, str]:
        """Tenant (the id of a key, or the fingerprint of a static one) to name."""
        return {"": "none", **self._static_keys, **{key.id: key.name for key in await self.all_keys()}}

    async def states(self, key: ClientKey) -> Sequence[LimitState]:
        """The limits of a key now."""
        return await self._key_limits.states(key)

    async def used(self, days: int) -> list[UsageRow]:
        """The usage of so many UTC days, today included."""
        return await self._stores.ledger.report(last_days(days, self.clock()))

    async def audit_events(self, count: int) -> Sequence[AuditEvent]:
        """The newest events of the audit log, newest first."""
        return await self._stores.audit.latest(count)

    async def workers(self) -> Sequence[WorkerReport]:
        """What all workers of all servers are doing."""
        return await self._board.reports()

    async def problems(self, count: int) -> Sequence[Problem]:
        """The model calls that failed lately, newest first."""
        return await self._board.problems(count)

    def trail(self, actor: Actor) -> AuditTrail:
        """Records what an actor does in the audit log."""
        return AuditTrail(self._stores.audit, actor, clock=self.clock)
