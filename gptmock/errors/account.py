"""Errors of the account, and of signing in to it."""

from __future__ import annotations

from gptmock.errors.base import GptmockError


class AccountError(GptmockError):
    """The account behind the request cannot serve it now."""

    code = "account_unavailable"
    status_hint = 503


class NotLoggedIn(AccountError):
    """No account is signed in."""

    code = "login_required"


class RefreshRejected(AccountError):
    """The issuer refused the refresh token for good: the operator has to sign in again."""

    code = "login_required"


class RefreshUnavailable(AccountError):
    """The issuer cannot be reached now; the refresh token may still be valid."""

    code = "auth_unavailable"


class RefreshUnanswered(RefreshUnavailable):
    """The refresh request was sent, but no response came: the refresh token may be spent."""


class LoginRefused(AccountError):
    """An interactive sign-in failed: denied, expired, cancelled, or for the wrong account."""

    code = "login_refused"


class LoginUnavailable(AccountError):
    """An interactive sign-in cannot continue now: the issuer cannot be reached, or its response cannot be read."""

    code = "login_unavailable"


class AccountsExhausted(AccountError):
    """The usage windows of all eligible accounts are used up; ``retry_after_seconds`` is the earliest reset."""

    code = "usage_limit_reached"
    status_hint = 429


class ImagesUnavailable(AccountError):
    """The account's plan makes no images."""

    code = "image_generation_unavailable"
    status_hint = 403


class AccountUnusable(AccountError):
    """The workspace is deactivated, or the account lacks the entitlement."""

    code = "account_unusable"
