"""Errors of the store of shared state, its keys and its location."""

from __future__ import annotations

from gptmock.errors.base import DEFAULT_RETRY_SECONDS, GptmockError


class StoreError(GptmockError):
    """A fault of the store of shared state."""

    code = "store_unavailable"
    status_hint = 503


class StoreUnavailable(StoreError):
    """The store cannot be read or written now."""


class AuthUnknown(StoreUnavailable):
    """The store cannot be read, and this process has not loaded the logins or keys before."""

    code = "auth_unavailable"

    @classmethod
    def because(cls, error: StoreUnavailable) -> AuthUnknown:
        """The error for a request that needs a login or a key; it always has ``retry_after_seconds``."""
        seconds = error.retry_after_seconds or DEFAULT_RETRY_SECONDS
        return cls(
            f"The logins and keys of this server cannot be read now. {error.message}", retry_after_seconds=seconds
        )


class SealBroken(StoreError):
    """A stored record cannot be decrypted; it is left unchanged."""

    code = "store_sealed"


class LockBusy(StoreError):
    """Another process held the refresh lease for the whole wait."""

    code = "auth_unavailable"


class UnusableKey(Exception):
    """The encryption key is missing, weak or wrong; raised at start, before any change. The message has no key."""


class WrongPlace(Exception):
    """A store location that is invalid or unsuitable; the message omits the address, which may hold a password."""
