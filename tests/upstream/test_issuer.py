from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from gptmock.accounts import IssuedTokens, Secret, TokenSet
from gptmock.errors import RefreshRejected, RefreshUnanswered, RefreshUnavailable
from gptmock.simulator.options import CODEX_CLIENT_ID
from gptmock.simulator.server import Simulator
from gptmock.upstream.issuer import OAuthIssuer, refusal
from gptmock.upstream.transport import open_client
from tests.harness import free_port
from tests.upstream.raw import RawServer, answering, read_request

PLANTED = Secret("rt_planted")
REFUSED = {"error": {"message": "Your refresh token has already been used.", "code": "refresh_token_reused"}}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client() as opened:
        yield opened


def asking(client: httpx.AsyncClient, url: str) -> OAuthIssuer:
    return OAuthIssuer(client, url, client_id=CODEX_CLIENT_ID)


async def answered(client: httpx.AsyncClient, body: bytes, *, status: int = 200) -> IssuedTokens:
    head = b"HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    async with RawServer(answering(head + body)) as server:
        return await asking(client, server.url).refresh(PLANTED)


# --- What is final -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, REFUSED),
        (401, {"error": {"code": "refresh_token_expired"}}),
        (401, {"error": {"code": "refresh_token_invalidated"}}),
        (401, {"error": {"code": "something_new"}}),
        (401, {"error": {"message": "no code at all"}}),
        (401, {"error": "access_denied"}),
        (401, {"code": "token_expired"}),
        (400, {"error": "invalid_grant"}),
        (400, {"error": "invalid_grant", "error_description": "gone"}),
        (400, {"error": {"code": "invalid_grant"}}),
        (400, {"error": {"code": "REFRESH_TOKEN_REUSED"}}),
        (403, {"error": {"code": "refresh_token_expired"}}),
    ],
)
def test_a_refusal_for_good(status: int, body: object):
    error = refusal(status, json.dumps(body).encode())
    assert isinstance(error, RefreshRejected)
    assert (error.code, error.status_hint) == ("login_required", 503)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b""),
        (401, b"<html>Unauthorized</html>"),
        (401, b"{}"),
        (401, b"[]"),
        (401, b'"refresh_token_reused"'),
        (401, b"\xff\xfe"),
        (400, b'{"error": {"code": "invalid_request"}}'),
        (400, b'{"error": "temporarily_unavailable"}'),
        (400, b'{"error": {"code": 17}}'),
        (403, b"<!DOCTYPE html><title>Just a moment...</title> refresh_token_reused"),
        (429, b'{"error": {"code": "rate_limit_exceeded"}}'),
        (500, b'{"error": {"code": "server_error"}}'),
        (503, b"<html>refresh_token_expired</html>"),
        (302, b""),
    ],
)
def test_a_refusal_for_now(status: int, body: bytes):
    error = refusal(status, body)
    assert isinstance(error, RefreshUnavailable)
    assert (error.code, error.status_hint) == ("auth_unavailable", 503)
    assert error.retry_after_seconds is not None
    assert 5 <= error.retry_after_seconds <= 60
    assert "<" not in error.message


# --- The exchange ------------------------------------------------------------------------


async def test_a_refresh_token_is_exchanged_as_codex_does(client: httpx.AsyncClient):
    async with Simulator() as simulator:
        login = simulator.state.logins.issue()
        issued = await asking(client, f"{simulator.issuer_url}/").refresh(Secret(login.refresh_token))
        (record,) = simulator.state.requests
    assert record.body == {
        "client_id": CODEX_CLIENT_ID,
        "grant_type": "refresh_token",
        "refresh_token": login.refresh_token,
    }
    assert record.headers["content-type"] == "application/json"
    assert issued.access_token is not None
    assert issued.refresh_token is not None
    assert issued.refresh_token.reveal() != login.refresh_token


async def test_a_spent_token_is_refused_for_good(client: httpx.AsyncClient):
    async with Simulator() as simulator:
        issuer = asking(client, simulator.issuer_url)
        spent = Secret(simulator.state.logins.issue().refresh_token)
        await issuer.refresh(spent)
        with pytest.raises(RefreshRejected, match="refresh_token_reused") as caught:
            await issuer.refresh(spent)
    assert spent.reveal() not in caught.value.message


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("400", RefreshUnavailable),
        ("401", RefreshRejected),
        ("403-html", RefreshUnavailable),
        ("429", RefreshUnavailable),
        ("500", RefreshUnavailable),
        ("502-html", RefreshUnavailable),
        ("lost", RefreshUnanswered),
    ],
)
async def test_each_fault_of_the_issuer_is_asked_about_once(
    client: httpx.AsyncClient, fault: str, expected: type[Exception]
):
    async with Simulator() as simulator:
        token = Secret(simulator.state.logins.issue().refresh_token)
        simulator.state.token_faults.append(fault)
        with pytest.raises(expected) as caught:
            await asking(client, simulator.issuer_url).refresh(token)
        assert caught.type is expected, "only after a lost answer may the token be spent"
        assert len(simulator.state.token_exchanges) == 1


@pytest.mark.parametrize(
    ("body", "access", "refresh"),
    [
        (b'{"access_token":"a","refresh_token":"r","id_token":"i"}', True, True),
        (b'{"access_token":"a"}', True, False),
        (b'{"access_token":"a","refresh_token":"","id_token":null}', True, False),
        (b'{"refresh_token":"r"}', False, True),
        (b'{"access_token":"a","expires_in":"soon","scope":[1]}', True, False),
    ],
)
async def test_members_that_are_missing_are_left_out(
    client: httpx.AsyncClient,
    body: bytes,
    access: bool,  # noqa: FBT001
    refresh: bool,  # noqa: FBT001
):
    issued = await answered(client, body)
    assert (issued.access_token is not None, issued.refresh_token is not None) == (access, refresh)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b"<html></html>", b"\xff", b'{"access_token":17}', b'{"access_token":""}']
)
async def test_a_success_without_tokens_is_no_success(client: httpx.AsyncClient, body: bytes):
    with pytest.raises(RefreshUnavailable):
        await answered(client, body)


async def test_nobody_listening_is_a_matter_of_time(client: httpx.AsyncClient):
    with pytest.raises(RefreshUnavailable, match="ConnectError") as caught:
        await asking(client, f"http://127.0.0.1:{free_port()}").refresh(PLANTED)
    assert caught.type is RefreshUnavailable, "nothing was sent"


async def test_an_issuer_that_does_not_answer_is_left_after_its_time(client: httpx.AsyncClient):
    calls = 0

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        nonlocal calls
        await read_request(reader)
        calls += 1
        await asyncio.sleep(60)

    async with RawServer(silent) as server:
        issuer = OAuthIssuer(client, server.url, client_id="c", exchange_seconds=2.0)
        with pytest.raises(RefreshUnanswered, match="TimeoutError"):
            await issuer.refresh(PLANTED)
        assert calls == 1


async def test_an_endless_answer_is_left_after_its_time(client: httpx.AsyncClient):
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with RawServer(endless) as server:
        issuer = OAuthIssuer(client, server.url, client_id="c", exchange_seconds=0.3)
        with pytest.raises(RefreshUnanswered):
            await issuer.refresh(PLANTED)


def test_no_contract_of_ours_shows_a_token_in_its_repr():
    issued = IssuedTokens(Secret("planted-1"), Secret("planted-2"), Secret("planted-3"))
    assert "planted" not in repr(issued)
    assert "planted" not in f"{TokenSet.__name__} {PLANTED} {PLANTED!r}"
