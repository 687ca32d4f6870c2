"""``CodexCatalog`` against the simulator, and against responses that the simulator never sends."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import httpx
import pytest

from gptmock.accounts import Account, Credential, Secret
from gptmock.catalog import CatalogSnapshot
from gptmock.errors import (
    CredentialRefused,
    UpstreamBroken,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gptmock.protocol.models import decode_models
from gptmock.simulator.server import Simulator, SimulatorOptions
from gptmock.upstream import catalogue
from gptmock.upstream.catalogue import MAX_DOCUMENT_BYTES, CodexCatalog
from gptmock.upstream.identity import ClientIdentity
from gptmock.upstream.transport import open_client
from tests.upstream.raw import RawServer, answering

NOW = 1_790_000_000.0
KNOWN = CatalogSnapshot(b'{"models":[{"slug":"m"}]}', 'W/"1"', NOW - 400, heard=('W/"2"',), version="0.169.0")


def credential(access: str = "a", account_id: str = "w", *, fedramp: bool = False) -> Credential:
    return Credential(Account(account_id, is_fedramp=fedramp), Secret(access), version=1)


def source(client: httpx.AsyncClient, base_url: str, *, version: str = "0.169.0") -> CodexCatalog:
    return CodexCatalog(client, base_url, identity=ClientIdentity(codex_version=version), clock=lambda: NOW)


async def told(handler: httpx.MockTransport, known: CatalogSnapshot | None = None) -> CatalogSnapshot:
    async with httpx.AsyncClient(transport=handler) as client:
        return await source(client, "http://127.0.0.1:1/backend-api/").models(credential(fedramp=True), known)


@pytest.mark.parametrize(("version", "count"), [("0.171.0", 14), ("0.169.0", 12), ("0.124.0", 2)])
async def test_the_list_is_that_of_our_version(version, count):
    async with Simulator() as simulator, open_client() as client:
        login = simulator.state.logins.issue()
        caller = credential(login.access_token, login.account_id)
        snapshot = await source(client, simulator.upstream_url, version=version).models(caller, None)
        (request,) = simulator.state.requests
    assert len(decode_models(snapshot.document)) == count
    assert snapshot.etag is not None
    assert snapshot.etag.startswith('W/"')
    assert (snapshot.checked_at, snapshot.heard) == (NOW, ())
    assert dict(request.query) == {"client_version": version}
    assert (request.headers["version"], request.headers["originator"]) == (version, "gptmock")
    assert "if-none-match" not in request.headers


@pytest.mark.parametrize("not_modified", [True, False])
async def test_what_has_not_changed_is_the_same_at_a_later_date(not_modified: bool):  # noqa: FBT001
    async with Simulator(SimulatorOptions(not_modified=not_modified)) as simulator, open_client() as client:
        login = simulator.state.logins.issue()
        caller = credential(login.access_token, login.account_id)
        first = await source(client, simulator.upstream_url).models(caller, None)
        assert await source(client, simulator.upstream_url).models(caller, first) == first
        assert simulator.state.requests[1].headers["if-none-match"] == first.etag


async def test_a_304_keeps_what_is_known_and_dates_it_anew():
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["if-none-match"] == 'W/"1"'
        assert request.headers["x-openai-fedramp"] == "true"
        return httpx.Response(304)

    assert await told(httpx.MockTransport(answer), KNOWN) == replace(KNOWN, checked_at=NOW)


async def test_a_list_of_another_version_is_not_confirmed():
    async with Simulator(SimulatorOptions(not_modified=True)) as simulator, open_client() as client:
        login = simulator.state.logins.issue()
        caller = credential(login.access_token, login.account_id)
        identity = ClientIdentity(codex_version="0.169.0")
        asked = CodexCatalog(client, simulator.upstream_url, identity=identity, clock=lambda: NOW)
        old = await asked.models(caller, None)
        identity.use_version("0.171.0")
        new = await asked.models(caller, old)
        assert [request.headers.get("if-none-match") for request in simulator.state.requests] == [None, None]
    assert (old.version, new.version, asked.version) == ("0.169.0", "0.171.0", "0.171.0")
    assert (len(decode_models(old.document)), len(decode_models(new.document))) == (12, 14)


async def test_models_that_need_a_newer_version_can_be_listed():
    options = SimulatorOptions(model_versions={"gpt-6-sol": "0.300.0", "gpt-6-luna": "2.0.0"})
    async with Simulator(options) as simulator, open_client() as client:
        login = simulator.state.logins.issue()
        caller = credential(login.access_token, login.account_id)
        specs = await source(client, simulator.upstream_url).models_of_any_version(caller)
        (request,) = simulator.state.requests
    needed = {spec.slug: spec.minimal_version for spec in specs}
    assert (len(needed), needed["gpt-6-sol"], needed["gpt-6-luna"]) == (14, (0, 300, 0), (2, 0, 0))
    assert (request.query["client_version"], request.headers["version"]) == ("999.0.0", "0.169.0")


@pytest.mark.parametrize("status", [304, 401, 503])
async def test_a_refusal_to_list_them_is_one(status: int):
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(status))) as client:
        with pytest.raises((CredentialRefused, UpstreamUnavailable)):
            await source(client, "http://127.0.0.1:1/backend-api").models_of_any_version(credential())


async def test_a_304_to_nobody_is_no_list():
    with pytest.raises(UpstreamUnavailable):
        await told(httpx.MockTransport(lambda _: httpx.Response(304)))


async def test_a_dead_token_is_said_to_be_one():
    async with Simulator() as simulator, open_client() as client:
        with pytest.raises(CredentialRefused):
            await source(client, simulator.upstream_url).models(credential("nonsense"), None)


@pytest.mark.parametrize("body", [b"<html>", b'{"models":[]}', b"{}"])
async def test_a_list_that_cannot_be_read_is_none(body):
    with pytest.raises(UpstreamBroken):
        await told(httpx.MockTransport(lambda _: httpx.Response(200, content=body)), KNOWN)


@pytest.mark.parametrize(
    ("header", "etag"),
    [(b'W/"1"', 'W/"1"'), (b'  "1" ', '"1"'), (None, None), (b"", None), (b'"\xe9"', None), (b"x" * 300, None)],
)
async def test_a_tag_that_cannot_be_passed_on_is_none(header: bytes | None, etag: str | None):
    headers = [] if header is None else [(b"etag", header)]
    answer = httpx.Response(200, content=KNOWN.document, headers=headers)
    assert (await told(httpx.MockTransport(lambda _: answer))).etag == etag


async def test_a_list_without_an_end_is_not_read_to_its_end():
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 1024 * 1024

    with pytest.raises(UpstreamBroken, match="too long"):
        await told(httpx.MockTransport(lambda _: httpx.Response(200, content=endless())))
    assert sent <= MAX_DOCUMENT_BYTES / 1024 / 1024 + 1


@pytest.mark.parametrize("status", [500, 503])
async def test_a_failure_is_one(status):
    with pytest.raises(UpstreamUnavailable):
        await told(httpx.MockTransport(lambda _: httpx.Response(status, content=json.dumps({"detail": "away"}))))


async def test_nobody_there():
    async with open_client() as client:
        with pytest.raises(UpstreamUnavailable, match="could not be reached"):
            await source(client, "http://127.0.0.1:1/backend-api").models(credential(), None)


async def test_silence_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    async def silent(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(catalogue, "ANSWER_SECONDS", 0.05)
    with pytest.raises(UpstreamTimeout):
        await told(httpx.MockTransport(silent))


@pytest.mark.parametrize(
    "body", [b'{"detail":"Closed for a@planted.example."}', b'{"error":{"message":"Closed","code":"x"}}']
)
async def test_a_200_with_an_error_is_told_in_its_words(body: bytes):
    async with (
        RawServer(answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)) as server,
        open_client() as client,
    ):
        with pytest.raises(UpstreamFailed, match="Closed") as caught:
            await source(client, server.url).models(credential(), None)
    assert "planted" not in caught.value.message


@pytest.mark.parametrize(
    ("head", "kind", "says"),
    [
        (b"302 X\r\nLocation: https://other.example.com/planted", UpstreamRefused, "to other.example.com,"),
        (b"200 X\r\nContent-Encoding: compress", UpstreamBroken, "'compress'"),
    ],
)
async def test_a_redirect_and_an_encoding_are_named(head: bytes, kind: type[Exception], says: str):
    async with (
        RawServer(answering(b"HTTP/1.1 " + head + b"\r\nContent-Length: 1\r\n\r\nx")) as server,
        open_client() as client,
    ):
        with pytest.raises(kind, match=says) as caught:
            await source(client, server.url).models(credential(), None)
    assert "planted" not in str(caught.value)
