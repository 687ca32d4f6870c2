"""
One authorization request of the browser login (RFC 6749 4.1, RFC 7636): its state and PKCE verifier, and the check of
the redirect that answers it. No I/O.

``state`` is required in every redirect and pasted URL, against forged redirects (CSRF); the PKCE verifier makes a
stolen code useless.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from gptmock.accounts import Secret
from gptmock.errors import LoginRefused
from gptmock.signin import Grant, denied

CALLBACK_PATH = "/auth/callback"
MAX_PASTED_CHARACTERS = 8192
_STATE_BYTES = 32
_VERIFIER_BYTES = 64
_MAX_FIELDS = 32


class UnrelatedRedirect(Exception):
    """A redirect or line that does not belong to this attempt, which goes on; the text says why."""


def _random(count: int) -> Secret:
    return Secret(base64.urlsafe_b64encode(secrets.token_bytes(count)).decode().rstrip("="))


@dataclass(frozen=True, slots=True)
class Attempt:
    """The state and PKCE verifier of one login."""

    redirect_uri: str
    state: Secret = field(default_factory=lambda: _random(_STATE_BYTES))
    verifier: Secret = field(default_factory=lambda: _random(_VERIFIER_BYTES))

    @property
    def challenge(self) -> str:
        """S256 of the verifier (RFC 7636, section 4.2)."""
        digest = hashlib.sha256(self.verifier.reveal().encode()).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def parse_redirect(self, query: str) -> Grant:
        """
        Check the query of a redirect (RFC 6749 4.1.2), and take the code from it.

        Raises:
            UnrelatedRedirect: its state is missing or another one, or a field is repeated.
            LoginRefused: it holds an error of the issuer.
        """
        fields = _fields(query)
        # The state first: a forged redirect must not end this login, not even with an error.
        given = fields.get("state", "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self.state.reveal().encode()):
            raise UnrelatedRedirect("State mismatch: this page does not come from the sign-in that waits here.")
        if "error" in fields:
            raise denied(fields["error"], fields.get("error_description", ""))
        if not fields.get("code"):
            raise LoginRefused("The OAuth issuer sent the browser back without a code.")
        return Grant(Secret(fields["code"]), self.verifier, self.redirect_uri)

    def parse_pasted(self, text: str) -> Grant:
        """
        As ``parse_redirect``, for a line that the user pasted: the whole redirect URL, or its query.

        Raises:
            As ``parse_redirect``.
        """
        line = text.strip().strip("'\"<>")
        if len(line) > MAX_PASTED_CHARACTERS:
            raise UnrelatedRedirect("That is too long for a redirect URL.")
        try:
            url = urlsplit(line)
        except ValueError as error:
            raise UnrelatedRedirect("That is not a URL.") from error
        if url.scheme and url.path != CALLBACK_PATH:
            raise UnrelatedRedirect(
                f"That is not the URL of a finished sign-in: it begins with {self.redirect_uri}?code="
            )
        query = url.query or line.lstrip("?")
        if "state=" not in query:
            raise UnrelatedRedirect("Paste the whole URL from the address bar, with its code and its state.")
        return self.parse_redirect(query)


def _fields(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise UnrelatedRedirect("That query cannot be read.") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        # RFC 6749 3.1: parameters must not be repeated.
        raise UnrelatedRedirect("That query repeats a field.")
    return fields
