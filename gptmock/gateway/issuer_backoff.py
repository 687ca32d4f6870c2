"""
Exponential backoff for an OAuth issuer that is unavailable, shared by all workers. Decides; does no I/O.

    the issuer answers with a temporary error   5, 10, 20, 40, 60 s, then 60 s each time
    the request was sent, but no answer came    the same; and since the refresh token may be used up, it is sent only
                                                once more: for a request that needs new tokens, or shortly before the
                                                old ones expire

Source: reliability and security, F10 and F12.
"""

from __future__ import annotations

from dataclasses import dataclass

from gptmock.accounts import SIGN_IN_HINT, TokenSet, Trouble
from gptmock.errors import RefreshRejected, RefreshUnanswered, RefreshUnavailable

STEPS_SECONDS = (5.0, 10.0, 20.0, 40.0, 60.0)
RETRY_AFTER_SECONDS = (5.0, 60.0)
"""The smallest and the largest ``Retry-After`` for clients."""
LAST_SECONDS = 300.0
"""With less remaining lifetime a refresh token that was sent without an answer is tried once more."""
DEFERRED_SECONDS = 600.0
"""The longest time for which a background refresh is put off before it is considered again."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """A time in which the login of an account is not refreshed."""

    message: str
    """Why."""
    seconds: float
    """For how long no refresh is tried; 0.0 if only background refreshes are put off."""
    background_seconds: float
    """For how long background refreshes are put off."""

    def error(self, left_seconds: float) -> RefreshUnavailable:
        """The error for a request that needs a refresh ``left_seconds`` before the backoff ends."""
        shortest, longest = RETRY_AFTER_SECONDS
        return RefreshUnavailable(self.message, retry_after_seconds=min(max(left_seconds, shortest), longest))


def current_backoff(trouble: Trouble, held: TokenSet, *, needed: bool, now: float) -> Backoff | None:
    """
    The backoff that is in effect; ``None`` when the issuer may be asked.

    Args:
        trouble: what the last refreshes of any worker have reported.
        held: the tokens to refresh.
        needed: whether a request waits for new tokens.
        now: Unix seconds.
    """
    if trouble.left_seconds > 0:
        return Backoff(trouble.message, trouble.left_seconds, trouble.left_seconds)
    life = float("inf") if held.expires_at is None else held.expires_at - now
    if is_suspect(trouble, held) and not needed and life > LAST_SECONDS:
        return Backoff(trouble.message, 0.0, min(life - LAST_SECONDS, DEFERRED_SECONDS))
    return None


def is_suspect(trouble: Trouble, held: TokenSet) -> bool:
    """Whether the refresh token was sent before without an answer, and so may be used up."""
    return held.refresh_token is not None and held.refresh_token.fingerprint() == trouble.unanswered


def next_trouble(trouble: Trouble, held: TokenSet, error: RefreshUnavailable) -> Trouble:
    """
    The report of a failed refresh for all workers; its ``left_seconds`` begin now.

    Raises:
        RefreshRejected: no answer came for the second time: the login cannot be refreshed any more.
    """
    unanswered = trouble.unanswered
    if isinstance(error, RefreshUnanswered) and held.refresh_token is not None:
        if is_suspect(trouble, held):
            raise RefreshRejected(f"The answers to two refreshes of this login were lost. {SIGN_IN_HINT}") from error
        unanswered = held.refresh_token.fingerprint()
    step = min(trouble.failures, len(STEPS_SECONDS) - 1)
    return Trouble(trouble.failures + 1, error.message, unanswered, STEPS_SECONDS[step])
