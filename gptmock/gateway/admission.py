"""Authenticates requests by client key. Must not know the request's body, nor the format of errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from gptmock.accounts import Secret
from gptmock.clients import Client, ClientKeys, Role, key_id_of
from gptmock.errors import (
    AuthUnknown,
    ClientError,
    ForeignLogin,
    KeyExpired,
    StoreUnavailable,
    Unauthorized,
    UnknownClientKey,
)
from gptmock.gateway.guesses import Guesses

FOREIGN_LOGIN = """\
This server needs a client key of its own; your ChatGPT login is neither used nor passed on. Put this into \
~/.codex/config.toml and the key into the environment variable GPTMOCK_API_KEY:

model_provider = "gptmock"

[model_providers.gptmock]
name = "gptmock"
base_url = "<this server>/v1"
wire_api = "responses"
requires_openai_auth = true
env_http_headers = { "x-api-key" = "GPTMOCK_API_KEY" }
"""
_FORWARDED = frozenset({"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"})
"""Headers that proxies add."""
_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)
_SHOWN_CHARACTERS = 4
_LONG_ENOUGH = 12


class Admission:
    """
    Authenticates requests.

    Args:
        api_key: the static key ``GPTMOCK_API_KEY``, which needs no store; with it a key is always required.
        keys: the issued client keys. A key with their format is always checked: a revoked one is refused, even if
            requests without a key are accepted.
        required: refuse requests without a valid key. Else they are accepted, also with any key that is not a gptmock
            key (SDKs insist on sending one).
        keyless_role: of a request that needs no key.
        admin_key: the static key ``GPTMOCK_ADMIN_KEY``, whose role is ``admin``.
        admitted: called with the headers of each authenticated request.
        clock: Unix seconds, for ``known``.
        guesses: counts wrong keys; nobody does, unless given.
    """

    def __init__(  # noqa: PLR0913 - each is a thing of its own
        self,
        api_key: Secret | None,
        keys: ClientKeys,
        *,
        required: bool = False,
        keyless_role: Role = "user",
        admin_key: Secret | None = None,
        admitted: Callable[[Mapping[str, str]], None] = lambda _: None,
        clock: Callable[[], float] = lambda: 0.0,
        guesses: Guesses | None = None,
    ) -> None:
        self._api_key = api_key
        self._keys = keys
        self._required = required or api_key is not None
        self._admitted = admitted
        self._clock = clock
        self._guesses = guesses
        # The static key is made for calling models.
        self._owner = Client("", role=keyless_role) if api_key is None else Client(api_key.fingerprint(), role="user")
        self._guest = Client(self._owner.tenant, role="user")
        self._admin_key = admin_key
        self._admin = Client("" if admin_key is None else admin_key.fingerprint(), role="admin")

    async def admit(self, headers: Mapping[str, str], *, source: str | None = None) -> Client:
        """
        Authenticate a request.

        Args:
            headers: names in lower case.
            source: whose wrong keys are counted together, such as an address; ``None`` counts none.

        Raises:
            Unauthorized: no key or a wrong one; ``KeyExpired`` for the right text of an expired one.
            TooManyRequests: a wrong one, after too many others of this source.
            ForeignLogin: no key or a wrong one, and the client is signed in to ChatGPT.
            StoreError: it is an issued client key, and the store cannot tell whether it is valid.
        """
        client = await self._client(headers, source)
        self._admitted(headers)
        return client

    async def known(self, tenant: str) -> Client | None:
        """
        The caller of this tenant, whose key was checked before; ``None`` if that key is no longer valid.

        Raises:
            StoreError: the store cannot tell.
        """
        # In the order of ``_client_of``: one key may be both.
        for client in (self._admin, self._owner):
            if tenant and client.tenant == tenant:
                return client
        try:
            key = await self._keys.show(tenant)
        except UnknownClientKey:
            return None
        return Client(key.id, key) if key.id == tenant and key.is_living(self._clock()) else None

    async def _client(self, headers: Mapping[str, str], source: str | None) -> Client:
        given = _given_keys(headers)
        if self._required and not given:
            raise _refusal(
                "You didn't provide an API key. Send it as a bearer token: 'Authorization: Bearer YOUR_KEY'.", headers
            )
        expired = False
        for text in given:
            try:
                client = await self._client_of(text, source)
            except KeyExpired:
                expired = True
                continue
            if client is not None:
                return client
        if not self._required and all(key_id_of(text) is None for text in given):
            # What came by a proxy may come from anywhere, whether the operator has named the proxy or not.
            return self._owner if _FORWARDED.isdisjoint(headers) else self._guest
        if self._guesses is not None and source is not None:
            # The login of a Codex is no guess.
            await self._guesses.wrong(source, [text for text in given if not _is_jwt(text)])
        said = f"Incorrect API key provided: {_masked(given[0])}."
        raise _refusal(said, headers, KeyExpired if expired else Unauthorized)

    async def _client_of(self, text: str, source: str | None) -> Client | None:
        for static, client in ((self._admin_key, self._admin), (self._api_key, self._owner)):
            if static is not None and self._may_try(static, source) and Secret(text) == static:
                return client
        if key_id_of(text) is None:
            return None
        try:
            key = await self._keys.find(Secret(text))
        except StoreUnavailable as error:
            raise AuthUnknown.because(error) from error
        return None if key is None else Client(key.id, key)

    def _may_try(self, static: Secret, source: str | None) -> bool:
        return self._guesses is None or source is None or self._guesses.may_try(source, static)


def _given_keys(headers: Mapping[str, str]) -> tuple[str, ...]:
    """
    The keys of a request; the first valid one counts. Claude Code may send two that differ, in ``Authorization`` and in
    ``x-api-key``; Azure's clients use ``api-key``. A signed-in Codex has its JWT in ``Authorization``.
    """
    token = _bearer(headers)
    named = [(headers.get(name) or "").strip() for name in ("x-api-key", "api-key")]
    keys = [key for key in (*([] if _is_jwt(token) else [token]), *named) if key]
    return tuple(dict.fromkeys(keys or ([token] if token else [])))


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _is_jwt(token: str) -> bool:
    return _JWT.fullmatch(token) is not None


def _refusal(message: str, headers: Mapping[str, str], kind: type[Unauthorized] = Unauthorized) -> ClientError:
    if _is_jwt(_bearer(headers)) or "chatgpt-account-id" in headers:
        return ForeignLogin(FOREIGN_LOGIN, should_retry=False)
    return kind(message)


def _masked(key: str) -> str:
    return f"***{key[-_SHOWN_CHARACTERS:]}" if len(key) >= _LONG_ENOUGH and key.isprintable() else "***"
