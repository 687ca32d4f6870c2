"""
Invitations: an administrator makes, lists and revokes them; whoever has one signs in to an account of their own and
gets a key that is bound to it. Knows contracts, no link and no HTTP.

The invitation is used up after the issuer has given tokens and before anything is stored: of several people with one
link, one enters, and the logins of the others are revoked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Protocol

from gptmock.accounts import IssuedTokens, Login, Secret, account_of
from gptmock.audit import Actor
from gptmock.clients import (
    INVITATION_SECONDS,
    MAX_NAME_CHARACTERS,
    ClientKeys,
    Invitation,
    Invitations,
    IssuedInvitation,
    IssuedKey,
    KeyTerms,
)
from gptmock.errors import (
    BadRequest,
    GptmockError,
    LoginRefused,
    LoginUnavailable,
    NameTaken,
    StoreUnavailable,
    TooManyRequests,
    UnknownInvitation,
)
from gptmock.gateway.administration import AuditTrail, KeyAdministration, changes
from gptmock.gateway.logins import LoginBook
from gptmock.signin import DeviceCode, SignInIssuer

log = logging.getLogger("gptmock.account")

MIN_TTL_SECONDS = 60.0
MAX_TTL_SECONDS = 30 * 24 * 3600.0
MAX_SIGN_INS = 20
SIGN_IN_SECONDS = 900.0
"""An invitation may begin so many device logins in this time."""
_MAX_NAMESAKES = 50
UNUSABLE = (
    "This invitation is unknown, has expired, was revoked, or was used already. Ask whoever sent you the link for "
    "another one."
)


class InvitationAdministration:
    """
    Administers invitations.

    Args:
        invitations: the store of them.
        keys: the store of client keys, whose names they share.
        trail: records the changes.
        clock: Unix seconds.
    """

    def __init__(
        self, invitations: Invitations, keys: ClientKeys, trail: AuditTrail, *, clock: Callable[[], float]
    ) -> None:
        self._invitations = invitations
        self._keys = keys
        self._trail = trail
        self._clock = clock

    async def all(self) -> Sequence[Invitation]:
        """See ``Invitations.all``."""
        return await self._invitations.all()

    async def create(self, name: str, terms: KeyTerms, *, ttl_seconds: float = INVITATION_SECONDS) -> IssuedInvitation:
        """
        Create an invitation to a key of this name and terms.

        Raises:
            BadRequest: the lifetime is out of bounds, the key would expire before it, or it would be an admin's.
            NameTaken: a valid key or an open invitation has this name.
            StoreError: it could not be written.
        """
        now = self._clock()
        if not MIN_TTL_SECONDS <= ttl_seconds <= MAX_TTL_SECONDS:
            raise BadRequest("An invitation expires after 1 minute to 30 days.", param="valid_seconds")
        if terms.role == "admin":
            raise BadRequest(
                "An invitation makes keys of users and viewers; an admin can change the role later.", param="role"
            )
        if terms.expires_at is not None and terms.expires_at <= now + ttl_seconds:
            raise BadRequest("The key would expire before the invitation does.", param="expires_at")
        if any(key.name == name and key.is_living(now) for key in await self._keys.all()):
            raise NameTaken(f"There is a valid client key named {name!r}. Choose another name, or revoke that key.")
        if any(one.name == name for one in await self._invitations.all()):
            raise NameTaken(f"There is an open invitation for {name!r}. Revoke it first, or choose another name.")
        issued = await self._invitations.create(name, terms, ttl_seconds=ttl_seconds)
        detail = f"{name}; valid {ttl_seconds:.0f} s; {changes(KeyTerms(), terms)}".removesuffix("; ")
        # The text of the invitation exists only here: an audit log that cannot be written is in the server's log.
        await _noted(self._trail.note("invitation.created", issued.invitation.id, detail))
        return issued

    async def revoke(self, name_or_id: str) -> Invitation:
        """See ``Invitations.withdraw``."""
        invitation = await self._invitations.withdraw(name_or_id)
        await self._trail.note("invitation.revoked", invitation.id, invitation.name)
        return invitation


class CountsWrong(Protocol):
    """Bounds guesses (``gateway.guesses.Guesses``)."""

    async def wrong(self, address: str, texts: Sequence[str]) -> None:
        """Count wrong texts from an address; raises ``TooManyRequests``."""


class CountsAttempts(Protocol):
    """Bounds attempts, shared by all workers (``SessionRecords``)."""

    async def attempt(self, source: str, *, limit: int, window_seconds: float) -> float | None:
        """Count an attempt. Returns the seconds to wait if there were ``limit`` in the window."""


class Reception:
    """
    What somebody with an invitation may do, without a key.

    Args:
        invitations: the store of them.
        keys: the store of client keys.
        guesses: counts wrong tokens of an address.
        attempts: counts the device logins of an invitation.
        issuer: of the accounts.
        accounts: the accounts, administered by an actor.
        trail: the audit log of an actor.
    """

    def __init__(  # noqa: PLR0913 - each is a thing of its own
        self,
        invitations: Invitations,
        keys: ClientKeys,
        guesses: CountsWrong,
        attempts: CountsAttempts,
        issuer: SignInIssuer,
        *,
        accounts: Callable[[Actor], LoginBook],
        trail: Callable[[Actor], AuditTrail],
    ) -> None:
        self._invitations = invitations
        self._keys = keys
        self._guesses = guesses
        self._attempts = attempts
        self._issuer = issuer
        self._accounts = accounts
        self._trail = trail
        self._entering: set[asyncio.Task[tuple[IssuedKey, Login]]] = set()

    async def find(self, text: Secret, *, address: str) -> Invitation:
        """
        The open invitation with this token, which stays open.

        Args:
            text: the token.
            address: of the client, whose wrong tokens are counted.

        Raises:
            UnknownInvitation: there is none.
            TooManyRequests: too many wrong tokens came from there.
            StoreError: the store does not answer.
        """
        invitation = await self._invitations.find(text)
        if invitation is not None:
            return invitation
        try:
            await self._guesses.wrong(address, [text.reveal()])
        except TooManyRequests as error:
            raise TooManyRequests(
                "Too many wrong invitations came from your address. Try again in some minutes.",
                retry_after_seconds=error.retry_after_seconds,
            ) from error
        raise UnknownInvitation(UNUSABLE)

    async def begin(self, text: Secret, *, address: str) -> DeviceCode:
        """
        Begin a device login for an invitation.

        Raises:
            As ``find``, and ``SignInIssuer.begin_device``; ``TooManyRequests`` also after too many logins.
        """
        invitation = await self.find(text, address=address)
        source = f"invitation {invitation.id}"
        wait = await self._attempts.attempt(source, limit=MAX_SIGN_INS, window_seconds=SIGN_IN_SECONDS)
        if wait is not None:
            raise TooManyRequests(
                "This invitation has begun too many sign-ins. Try again in some minutes.", retry_after_seconds=wait
            )
        return await self._issuer.begin_device()

    async def enter(self, text: Secret, issued: IssuedTokens, *, address: str) -> tuple[IssuedKey, Login]:
        """
        Use up the invitation, store the login, and create the key; returns both. Goes on if its caller is cancelled.

        Raises:
            UnknownInvitation: the invitation ended meanwhile; the login was revoked.
            LoginRefused: the tokens name no account; the invitation stays open.
            StoreError: the login or the key could not be stored; the invitation is used up.
        """
        task = asyncio.get_running_loop().create_task(self._enter(text, issued, address), name="invitation")
        self._entering.add(task)
        task.add_done_callback(self._entering.discard)
        return await asyncio.shield(task)

    async def _enter(self, text: Secret, issued: IssuedTokens, address: str) -> tuple[IssuedKey, Login]:
        if account_of(issued) is None or issued.access_token is None:
            raise LoginRefused("The OAuth issuer's tokens do not say which ChatGPT account they are for.")
        try:
            invitation = await self._invitations.redeem(text)
        except GptmockError as error:
            await self._revoke(issued)
            raise UnknownInvitation(UNUSABLE) if isinstance(error, UnknownInvitation) else error from error
        actor = Actor(f"invitation {invitation.name}", address)
        trail = self._trail(actor)
        login = await self._accounts(actor).enroll(issued, member=True)
        key = await self._create_key(invitation, login, KeyAdministration(self._keys, trail))
        await _noted(
            trail.note("invitation.redeemed", invitation.id, f"{invitation.name}; key {key.key.id}, {login.label}")
        )
        return key, login

    async def _create_key(self, invitation: Invitation, login: Login, keys: KeyAdministration) -> IssuedKey:
        """Create the key; under a similar name, if a key has got the name since the invitation was made."""
        terms = replace(invitation.terms, account_id=login.account.id)
        for number in range(1, _MAX_NAMESAKES):
            ending = f"-{number}" if number > 1 else ""
            try:
                return await keys.create(invitation.name[: MAX_NAME_CHARACTERS - len(ending)] + ending, terms)
            except NameTaken:
                continue
        raise NameTaken(f"There are too many client keys named like {invitation.name!r}.")

    async def _revoke(self, issued: IssuedTokens) -> None:
        token, hint = issued.refresh_token, "refresh_token"
        if token is None:
            token, hint = issued.access_token, "access_token"
        if token is not None:
            try:
                await self._issuer.revoke(token, hint=hint)
            except LoginUnavailable as error:
                log.warning("account.not_revoked", extra={"reason": error.message})


async def _noted(note: Awaitable[None]) -> None:
    """Await a record of the audit log; that it failed is in the server's log already."""
    try:
        await note
    except StoreUnavailable:
        return
