"""Who may come in. Must not know what is asked for, nor how the refusal looks."""

from __future__ import annotations

from collections.abc import Mapping

from gptmock.accounts import Secret
from gptmock.errors import Unauthorized

_SHOWN_CHARACTERS = 4
_LONG_ENOUGH = 12


class Admission:
    """
    Checks the client key of a request.

    Args:
        api_key: the one static key; ``None`` lets everybody in, whatever key their SDK made up.
    """

    def __init__(self, api_key: Secret | None) -> None:
        self._api_key = api_key
        self._tenant = "" if api_key is None else api_key.fingerprint()

    def tenant(self, headers: Mapping[str, str]) -> str:
        """
        Whose request it is; what belongs to different tenants never mixes.

        Args:
            headers: names in lower case.

        Raises:
            Unauthorized: no key or a wrong one.
        """
        if self._api_key is None:
            return self._tenant
        given = _given_key(headers)
        if not given:
            raise Unauthorized(
                "You didn't provide an API key. Send it as a bearer token: 'Authorization: Bearer YOUR_KEY'."
            )
        if Secret(given) != self._api_key:
            raise Unauthorized(f"Incorrect API key provided: {_masked(given)}.")
        return self._tenant


def _given_key(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    # Anthropic's SDK and Azure's clients have headers of their own.
    return (headers.get("x-api-key") or headers.get("api-key") or "").strip()


def _masked(key: str) -> str:
    return f"***{key[-_SHOWN_CHARACTERS:]}" if len(key) >= _LONG_ENOUGH and key.isprintable() else "***"
