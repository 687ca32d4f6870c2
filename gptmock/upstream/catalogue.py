"""Fetches an account's model catalogue from ``/codex/models``, conditionally by entity tag."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import httpx

from gptmock.accounts import Credential
from gptmock.catalog import CatalogSnapshot, ModelSpec
from gptmock.errors import UpstreamBroken, UpstreamTimeout
from gptmock.protocol.failures import document_failure
from gptmock.protocol.models import decode_models
from gptmock.upstream.engine import location_of
from gptmock.upstream.event_stream import entity_tag
from gptmock.upstream.identity import ClientIdentity, account_headers
from gptmock.upstream.refusals import RefusalReader, as_upstream_error

ANSWER_SECONDS = 10.0
MAX_DOCUMENT_BYTES = 8 * 1024 * 1024
ANY_VERSION = "999.0.0"
"""
With this ``client_version`` the backend lists the models for newer clients too; the headers stay our own. It compares
the query alone (razzant/claudexor#339, buzzer-re/Rikugan#67: measured in August and September 2026).
"""


class CodexCatalog:
    """
    Client of ``/codex/models``.

    Args:
        client: the HTTP client.
        base_url: such as ``https://chatgpt.com/backend-api``.
        identity: headers that identify the client program, and the version; the backend hides models from old ones.
        clock: Unix seconds.
    """

    def __init__(
        self, client: httpx.AsyncClient, base_url: str, *, identity: ClientIdentity, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._url = f"{base_url.rstrip('/')}/codex/models"
        self._identity = identity
        self._clock = clock

    @property
    def version(self) -> str:
        """The protocol version of the next call."""
        return self._identity.codex_version

    async def models(self, credential: Credential, known: CatalogSnapshot | None) -> CatalogSnapshot:
        """
        Fetch the catalogue; returns ``known`` with a new ``checked_at`` if the upstream answers 304.

        Raises:
            CredentialRefused: a 401.
            UpstreamError: any other refusal, no connection, no answer in time, or one that cannot be read.

        Source: upstream protocol 8.1.
        """
        version, refusals = self.version, RefusalReader(credential, self._clock)
        if known is not None and known.version != version:
            # A tag that names the list of another version must not be confirmed.
            known = None
        response, body = await self._ask(version, credential, etag=known.etag if known is not None else None)
        if response.status_code == 304 and known is not None:
            return replace(known, checked_at=self._clock())
        _models(response, body, refusals)
        return CatalogSnapshot(body, entity_tag(response.headers, "etag"), self._clock(), version=version)

    async def models_of_any_version(self, credential: Credential) -> tuple[ModelSpec, ...]:
        """The account's models, those too that need a newer protocol version than ours. Raises as ``models``."""
        response, body = await self._ask(ANY_VERSION, credential, etag=None)
        return _models(response, body, RefusalReader(credential, self._clock))

    async def _ask(self, version: str, credential: Credential, *, etag: str | None) -> tuple[httpx.Response, bytes]:
        headers = {"accept": "application/json", **self._identity.headers, **account_headers(credential)}
        if etag is not None:
            headers["if-none-match"] = etag
        query = {"client_version": version}
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                async with self._client.stream("GET", self._url, params=query, headers=headers) as response:
                    return response, await _body(response)
        except TimeoutError as error:
            raise UpstreamTimeout("The upstream did not list its models in time.") from error
        except httpx.HTTPError as error:
            raise as_upstream_error(error) from error


def _models(response: httpx.Response, body: bytes, refusals: RefusalReader) -> tuple[ModelSpec, ...]:
    if response.status_code != 200:
        raise refusals.refusal(response.status_code, body, location=location_of(response))
    try:
        return decode_models(body)
    except UpstreamBroken as error:
        raise refusals.read(document_failure, body) or error from error


async def _body(response: httpx.Response) -> bytes:
    blocks, size = [], 0
    async for block in response.aiter_bytes():
        blocks.append(block)
        size += len(block)
        if size > MAX_DOCUMENT_BYTES:
            raise UpstreamBroken("The upstream's list of models is too long.", code="upstream_bad_catalogue")
    return b"".join(blocks)
