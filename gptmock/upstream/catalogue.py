"""Fetches an account's model catalogue from ``/codex/models``, conditionally by entity tag."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import httpx

from gptmock.accounts import Credential
from gptmock.catalog import CatalogSnapshot
from gptmock.errors import UpstreamBroken, UpstreamTimeout, UpstreamUnavailable
from gptmock.protocol.failures import refusal_of
from gptmock.protocol.models import decode_models
from gptmock.upstream.codex import entity_tag
from gptmock.upstream.identity import ClientIdentity, account_headers

ANSWER_SECONDS = 10.0
MAX_DOCUMENT_BYTES = 8 * 1024 * 1024


class CodexCatalog:
    """
    Client of ``/codex/models``.

    Args:
        client: the HTTP client.
        base_url: such as ``https://chatgpt.com/backend-api``.
        identity: headers that identify the client program; the backend hides models from old versions.
        clock: Unix seconds.
    """

    def __init__(
        self, client: httpx.AsyncClient, base_url: str, *, identity: ClientIdentity, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._url = f"{base_url.rstrip('/')}/codex/models"
        self._identity = identity
        self._clock = clock

    async def models(self, credential: Credential, known: CatalogSnapshot | None) -> CatalogSnapshot:
        """
        Fetch the catalogue; returns ``known`` with a new ``checked_at`` if the upstream answers 304.

        Raises:
            CredentialRefused: a 401.
            UpstreamError: any other refusal, no connection, no answer in time, or one that cannot be read.

        Source: upstream protocol 8.1.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                async with self._client.stream(
                    "GET",
                    self._url,
                    params={"client_version": self._identity.codex_version},
                    headers=self._headers(credential, known),
                ) as response:
                    body = await _body(response)
        except TimeoutError as error:
            raise UpstreamTimeout("The upstream did not list its models in time.") from error
        except httpx.HTTPError as error:
            raise UpstreamUnavailable(f"The upstream could not be reached ({type(error).__name__}).") from error
        if response.status_code == 304 and known is not None:
            return replace(known, checked_at=self._clock())
        if response.status_code != 200:
            raise refusal_of(response.status_code, body, now=self._clock())
        decode_models(body)
        return CatalogSnapshot(body, entity_tag(response.headers, "etag"), self._clock())

    def _headers(self, credential: Credential, known: CatalogSnapshot | None) -> dict[str, str]:
        headers = {"accept": "application/json", **self._identity.headers, **account_headers(credential)}
        if known is not None and known.etag is not None:
            headers["if-none-match"] = known.etag
        return headers


async def _body(response: httpx.Response) -> bytes:
    blocks, size = [], 0
    async for block in response.aiter_bytes():
        blocks.append(block)
        size += len(block)
        if size > MAX_DOCUMENT_BYTES:
            raise UpstreamBroken("The upstream's list of models is too long.", code="upstream_bad_catalogue")
    return b"".join(blocks)
