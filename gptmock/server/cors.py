"""
CORS: which web pages may use this server; none, unless the operator has configured their origins. Knows headers only.

Origins are compared as a whole. ``Access-Control-Allow-Credentials`` is never sent: the server uses no cookies, and a
page needs a client key of its own. Source: the Fetch standard, "CORS protocol"; client contracts 4.7.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

ANY = "*"
_METHODS = "GET, HEAD, POST, DELETE, OPTIONS"
_HEADERS = (
    "Authorization, Content-Type, Accept, User-Agent, X-Requested-With, x-api-key, api-key, OpenAI-Beta, "
    "OpenAI-Organization, OpenAI-Project, Idempotency-Key, x-request-id, x-session-id"
)
"""Allowed headers if the preflight names none."""
_EXPOSED = (
    "x-request-id, retry-after, retry-after-ms, x-should-retry, x-gptmock-ignored, openai-model, "
    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)
_MAX_AGE_SECONDS = "600"
_HEADER_LIST = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~ ,-]{1,4000}\Z")


class CorsPolicy:
    """
    The CORS headers of preflights and responses.

    Args:
        origins: as browsers send them, ``https://chat.example:8443`` or ``app://obsidian.md``; ``*`` means all.
            Without any, no CORS header is ever sent.
    """

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._any = ANY in origins
        self._origins = frozenset(origin.lower() for origin in origins)

    def allows(self, origin: str) -> bool:
        """Whether the operator has let this origin in."""
        return self._allowed(origin) is not None

    def is_preflight(self, method: str, headers: Mapping[str, str]) -> bool:
        """Whether a request is a CORS preflight of an allowed origin; ``headers`` have lower-case names."""
        return (
            method == "OPTIONS"
            and "access-control-request-method" in headers
            and self._allowed(headers.get("origin")) is not None
        )

    def preflight(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers of the 204, in addition to those of ``answer``; any header that a page names is allowed."""
        asked = headers.get("access-control-request-headers", "")
        return {
            "access-control-allow-methods": _METHODS,
            "access-control-allow-headers": asked if _HEADER_LIST.match(asked) else _HEADERS,
            "access-control-max-age": _MAX_AGE_SECONDS,
        }

    def answer(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The CORS headers of any response, also of errors and streams."""
        if not self._origins:
            return {}
        # The response depends on the origin: a cache must not serve it to another page.
        said = {} if self._any else {"vary": "Origin"}
        allowed = self._allowed(headers.get("origin"))
        if allowed is not None:
            said |= {"access-control-allow-origin": allowed, "access-control-expose-headers": _EXPOSED}
        return said

    def _allowed(self, origin: str | None) -> str | None:
        if origin is None:
            return None
        if self._any:
            return ANY
        return origin if origin.lower() in self._origins else None
