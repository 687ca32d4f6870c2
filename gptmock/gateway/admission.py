"""Who may come in. Must not know what is asked for, nor how the refusal looks."""

from __future__ import annotations

from collections.abc import Mapping

from gptmock.accounts import Secret
from gptmock.clients import Client, ClientKeys, key_id_of
from gptmock.errors import AuthUnknown, StoreUnavailable, Unauthorized

_SHOWN_CHARACTERS = 4
_LONG_ENOUGH = 12


class Admission:
    """
    Checks the client key of a request.

    Args:
        api_key: the one static key, which needs no store; ``None`` lets everybody in, whatever key their SDK made up.
        keys: the keys that were given out one by one. Such a key is checked wherever it is shown: one that was
            revoked does not come in as nobody.
    """

    def __init__(self, api_key: Secret | None, keys: ClientKeys) -> None:
        self._api_key = api_key
        self._keys = keys
        self._owner = Client("" if api_key is None else api_key.fingerprint())

    async def admit(self, headers: Mapping[str, str]) -> Client:
        """
        Who asks.

        Args:
            headers: names in lower case.

        Raises:
            Unauthorized: no key or a wrong one.
            StoreError: it is one of those given out, and whether it lives cannot be told.
        """
        given = _given_key(headers)
        if self._api_key is not None and not given:
            raise Unauthorized(
                "You didn't provide an API key. Send it as a bearer token: 'Authorization: Bearer YOUR_KEY'."
            )
        if Secret(given) == self._api_key:
            return self._owner
        if key_id_of(given) is not None:
            try:
                key = await self._keys.find(Secret(given))
            except StoreUnavailable as error:
                raise AuthUnknown.because(error) from error
            if key is not None:
                return Client(key.id, key)
        elif self._api_key is None:
            return self._owner
        raise Unauthorized(f"Incorrect API key provided: {_masked(given)}.")


def _given_key(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    # Anthropic's SDK and Azure's clients have headers of their own.
    return (headers.get("x-api-key") or headers.get("api-key") or "").strip()


def _masked(key: str) -> str:
    return f"***{key[-_SHOWN_CHARACTERS:]}" if len(key) >= _LONG_ENOUGH and key.isprintable() else "***"
