"""
One attempt to sign in with a browser: its secrets, and whether what comes back belongs to it. No I/O.

PKCE and state are both required on every way back: the state says that this browser was sent from here, the verifier
that nobody else can use the code.
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


class Stray(Exception):
    """It does not belong to this attempt, which goes on; the text says why, without what it held."""


def _random(count: int) -> Secret:
    return Secret(base64.urlsafe_b64encode(secrets.token_bytes(count)).decode().rstrip("="))


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was made for one login and is good for no other."""

    redirect_uri: str
    state: Secret = field(default_factory=lambda: _random(_STATE_BYTES))
    verifier: Secret = field(default_factory=lambda: _random(_VERIFIER_BYTES))

    @property
    def challenge(self) -> str:
        """S256 of the verifier (RFC 7636, section 4.2)."""
        digest = hashlib.sha256(self.verifier.reveal().encode()).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def judge(self, query: str) -> Grant:
        """
        What the query of a redirect means.

        Raises:
            Stray: it has no state, or another one, or says things twice.
            LoginRefused: the issuer said no.
        """
        fields = _fields(query)
        # First of all: nobody else may end this login, not even with an error.
        given = fields.get("state", "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self.state.reveal().encode()):
            raise Stray("State mismatch: this page does not come from the sign-in that waits here.")
        if "error" in fields:
            raise denied(fields["error"], fields.get("error_description", ""))
        if not fields.get("code"):
            raise LoginRefused("The OAuth issuer sent the browser back without a code.")
        return Grant(Secret(fields["code"]), self.verifier, self.redirect_uri)

    def judge_pasted(self, text: str) -> Grant:
        """
        What a line means that a person pasted: the whole URL from the address bar, or its query.

        Raises:
            As ``judge``.
        """
        line = text.strip().strip("'\"<>")
        if len(line) > MAX_PASTED_CHARACTERS:
            raise Stray("That is too long for a redirect URL.")
        try:
            url = urlsplit(line)
        except ValueError as error:
            raise Stray("That is not a URL.") from error
        if url.scheme and url.path != CALLBACK_PATH:
            raise Stray(f"That is not the URL of a finished sign-in: it begins with {self.redirect_uri}?code=")
        query = url.query or line.lstrip("?")
        if "state=" not in query:
            raise Stray("Paste the whole URL from the address bar, with its code and its state.")
        return self.judge(query)


def _fields(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise Stray("That query cannot be read.") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        # Two readers could each believe another one of two.
        raise Stray("That query says a thing twice.")
    return fields
