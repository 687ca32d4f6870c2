"""The account's models, asked of the Codex backend (``/codex/models``) with the entity tag that is known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import httpx

from gptmock.accounts import Credential
from gptmock.catalog import CatalogSnapshot
from gptmock.errors import UpstreamBroken, UpstreamTimeout
from gptmock.protocol.failures import document_failure
from gptmock.protocol.models import decode_models
from gptmock.upstream.codex import entity_tag
from gptmock.upstream.identity import ClientIdentity, account_headers
from gptmock.upstream.refusals import RefusalReader, as_upstream_error

ANSWER_SECONDS = 10.0
MAX_DOCUMENT_BYTES = 8 * 1024 * 1024


class CodexCatalog:
    """
    Asks for catalogues.

    Args:
        client: its transport makes the connections.
        base_url: as ``https://chatgpt.com/backend-api``.
        identity: the headers that name us; a version that is too old hides models.
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
        The account's models now; ``known`` with a new date when the upstream says that nothing has changed.

        Raises:
            CredentialRefused: a 401.
            UpstreamError: any other refusal, no connection, no answer in time, or one that cannot be read.

        Source: upstream protocol 8.1.
        """
        refusals = RefusalReader(credential, self._clock)
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
            raise as_upstream_error(error) from error
        if response.status_code == 304 and known is not None:
            return replace(known, checked_at=self._clock())
        if response.status_code != 200:
            raise refusals.refusal(response, body)
        try:
            decode_models(body)
        except UpstreamBroken as error:
            raise refusals.read(document_failure, body) or error from error
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
