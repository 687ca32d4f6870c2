"""``CodexUsage`` against the simulator, and against responses that the simulator never sends."""

from __future__ import annotations

import time

import httpx
import pytest

from gptmock.accounts import Account, Credential, Secret
from gptmock.errors import CredentialRefused, UpstreamBroken, UpstreamFailed, UpstreamRefused, UpstreamUnavailable
from gptmock.simulator.server import Simulator
from gptmock.upstream.identity import ClientIdentity
from gptmock.upstream.transport import open_client
from gptmock.upstream.usage import CodexUsage
from tests.upstream.raw import RawServer, answering


def credential(access: str, account_id: str) -> Credential:
    return Credential(Account(account_id), Secret(access), version=1)


def usage_of(client: httpx.AsyncClient, base_url: str) -> CodexUsage:
    return CodexUsage(client, base_url, identity=ClientIdentity(), clock=time.time)


async def test_windows_are_classified_by_their_length():
    async with Simulator() as simulator, open_client(proxy=None) as client:
        login = simulator.state.logins.issue()
        snapshot = await usage_of(client, simulator.upstream_url).windows(
            credential(login.access_token, login.account_id)
        )
    assert snapshot.plan == "plus"
    assert {window.window_minutes for window in snapshot.windows} == {300, 10080}
    assert all(window.resets_at is not None and window.resets_at > time.time() for window in snapshot.windows)


async def test_a_dead_token_is_said_to_be_one():
    async with Simulator() as simulator, open_client(proxy=None) as client:
        with pytest.raises(CredentialRefused):
            await usage_of(client, simulator.upstream_url).windows(credential("nonsense", "nobody"))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"rate_limit": 3}'])
async def test_what_cannot_be_read_is_no_zero(body):
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(UpstreamUnavailable):
            await usage_of(client, "http://127.0.0.1:1/backend-api").windows(credential("a", "b"))


@pytest.mark.parametrize(
    ("rate_limit", "expected"),
    [
        (None, []),
        ({"primary_window": None, "secondary_window": None}, []),
        ({"primary_window": {"used_percent": 100, "limit_window_seconds": 18000, "reset_after_seconds": 9}}, [300]),
        ({"primary_window": {"used_percent": 0, "limit_window_seconds": 0}}, []),
    ],
)
async def test_absent_windows_are_absent(rate_limit, expected):
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"rate_limit": rate_limit}))
    async with httpx.AsyncClient(transport=transport) as client:
        snapshot = await usage_of(client, "http://127.0.0.1:1/backend-api").windows(credential("a", "b"))
    assert [window.window_minutes for window in snapshot.windows] == expected


@pytest.mark.parametrize(
    "body", [b'{"detail":"Closed for a@planted.example."}', b'{"error":{"message":"Closed","code":"x"}}']
)
async def test_a_200_with_an_error_is_told_in_its_words(body: bytes):
    async with (
        RawServer(answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)) as server,
        open_client() as client,
    ):
        with pytest.raises(UpstreamFailed, match="Closed") as caught:
            await usage_of(client, server.url).windows(credential("a", "b"))
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
            await usage_of(client, server.url).windows(credential("a", "b"))
    assert "planted" not in str(caught.value)
