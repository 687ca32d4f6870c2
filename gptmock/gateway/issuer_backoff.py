"""
How long an issuer that could not be asked is left alone, by all workers together. Decides; does no I/O.

    the issuer answers that it cannot        5, 10, 20, 40, 60 s, and a minute from then on
    it was asked and its answer never came   the same; and since the refresh token may be spent, it is tried once more
                                             only: by who needs new tokens, or when the old ones are about to end

Source: reliability and security, F10 and F12.
"""

from __future__ import annotations

from dataclasses import dataclass

from gptmock.accounts import SIGN_IN_HINT, TokenSet, Trouble
from gptmock.errors import RefreshRejected, RefreshUnanswered, RefreshUnavailable

STEPS_SECONDS = (5.0, 10.0, 20.0, 40.0, 60.0)
TOLD_SECONDS = (5.0, 60.0)
"""Of a client that is told when to come back, the shortest and the longest wait."""
LAST_SECONDS = 300.0
"""Below this much life, tokens whose successors may be lost are tried once more."""
DEFERRED_SECONDS = 600.0
"""How long a worker may believe that there is no hurry before it looks again."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """A time in which the issuer is not asked for an account."""

    message: str
    """Why."""
    seconds: float
    """For how long nobody asks; 0.0 when only those are put off who merely want to be early."""
    background_seconds: float
    """For how long those are put off."""

    def error(self, left_seconds: float) -> RefreshUnavailable:
        """What those are told who cannot wait, so long before its end."""
        shortest, longest = TOLD_SECONDS
        return RefreshUnavailable(self.message, retry_after_seconds=min(max(left_seconds, shortest), longest))


def current_backoff(trouble: Trouble, held: TokenSet, *, needed: bool, now: float) -> Backoff | None:
    """
    Whether the issuer must be left alone now; ``None`` when it may be asked.

    Args:
        trouble: what the last ones met.
        held: what would be spent.
        needed: whether somebody waits for new tokens.
        now: Unix seconds.
    """
    if trouble.left_seconds > 0:
        return Backoff(trouble.message, trouble.left_seconds, trouble.left_seconds)
    life = float("inf") if held.expires_at is None else held.expires_at - now
    if is_suspect(trouble, held) and not needed and life > LAST_SECONDS:
        return Backoff(trouble.message, 0.0, min(life - LAST_SECONDS, DEFERRED_SECONDS))
    return None


def is_suspect(trouble: Trouble, held: TokenSet) -> bool:
    """Whether the refresh token was sent before and never answered."""
    return held.refresh_token is not None and held.refresh_token.fingerprint() == trouble.unanswered


def next_trouble(trouble: Trouble, held: TokenSet, error: RefreshUnavailable) -> Trouble:
    """
    What to tell the other workers of a refresh that has failed; its ``left_seconds`` begin now.

    Raises:
        RefreshRejected: the answer was lost for the second time: there is nothing left to try.
    """
    unanswered = trouble.unanswered
    if isinstance(error, RefreshUnanswered) and held.refresh_token is not None:
        if is_suspect(trouble, held):
            raise RefreshRejected(f"The answers to two refreshes of this login were lost. {SIGN_IN_HINT}") from error
        unanswered = held.refresh_token.fingerprint()
    step = min(trouble.failures, len(STEPS_SECONDS) - 1)
    return Trouble(trouble.failures + 1, error.message, unanswered, STEPS_SECONDS[step])
