from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from gptmock.accounts import IssuedTokens, Secret, TokenSet
from gptmock.errors import (
    GptmockError,
    LoginRefused,
    LoginUnavailable,
    RefreshRejected,
    RefreshUnanswered,
    RefreshUnavailable,
)
from gptmock.signin import DeviceCode, Grant
from gptmock.simulator.options import CODEX_CLIENT_ID
from gptmock.simulator.server import Simulator
from gptmock.upstream.issuer import OAuthIssuer, refresh_error
from gptmock.upstream.transport import open_client
from tests.ports import free_port
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
    error = refresh_error(status, json.dumps(body).encode())
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
    error = refresh_error(status, body)
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
        ("302", RefreshUnavailable),
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


async def test_a_redirect_of_a_refresh_names_its_host_and_ends_no_login(client: httpx.AsyncClient):
    async with Simulator() as simulator:
        simulator.state.token_faults.append("302")
        with pytest.raises(RefreshUnavailable) as caught:
            await asking(client, simulator.issuer_url).refresh(PLANTED)
    assert caught.type is RefreshUnavailable
    assert "redirects (302) to sign-in.example.test," in caught.value.message
    assert "planted" not in caught.value.message
    assert "GPTMOCK_ISSUER" in caught.value.message


@pytest.mark.parametrize("status", [301, 307, 308])
@pytest.mark.parametrize("body", [b"", b'{"error": "invalid_grant"}', b'{"error": {"code": "authorization_pending"}}'])
async def test_a_redirect_of_a_sign_in_names_its_host_whatever_its_body(
    client: httpx.AsyncClient, status: int, body: bytes
):
    head = b"HTTP/1.1 %d Moved\r\nLocation: //other.example.com:81/planted?planted\r\nContent-Length: %d\r\n"
    answer = head % (status, len(body)) + b"Connection: close\r\n\r\n" + body
    for number in range(4):
        async with RawServer(answering(answer)) as server:
            issuer = asking(client, server.url)
            steps = (
                issuer.redeem(GRANT),
                issuer.begin_device(),
                issuer.poll_device(DEVICE),
                issuer.revoke(PLANTED, hint="refresh_token"),
            )
            with pytest.raises(LoginUnavailable) as caught:
                await steps[number]
            for step in steps:
                step.close()
        assert f"redirects ({status}) to other.example.com," in caught.value.message
        assert "planted" not in caught.value.message
    with pytest.raises(RefreshUnavailable, match=r"to other\.example\.com,"):
        async with RawServer(answering(answer)) as server:
            await asking(client, server.url).refresh(PLANTED)


@pytest.mark.parametrize(("coding", "kind"), [(b"gzip", b"x" * 9), (b"compress", b"x")])
async def test_an_answer_that_cannot_be_decoded_names_its_encoding(
    client: httpx.AsyncClient, coding: bytes, kind: bytes
):
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (coding, len(kind))
    async with RawServer(answering(head + kind)) as server:
        with pytest.raises(RefreshUnanswered, match=coding.decode()):
            await asking(client, server.url).refresh(PLANTED)
    async with RawServer(answering(head + kind)) as server:
        with pytest.raises(LoginUnavailable, match=coding.decode()):
            await asking(client, server.url).redeem(GRANT)


async def test_an_encoded_answer_is_read(client: httpx.AsyncClient):
    body = gzip.compress(b'{"access_token":"a"}')
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with RawServer(answering(head + body)) as server:
        issued = await asking(client, server.url).refresh(PLANTED)
    assert issued.access_token is not None


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


# --- A person's login ------------------------------------------------------------------------


GRANT = Grant(Secret("ac_planted"), Secret("verifier_planted"), "http://localhost:1455/auth/callback")
DEVICE = DeviceCode(Secret("device_planted"), "ABCD-EFGH", "", 5.0, 900.0)


@asynccontextmanager
async def saying(client: httpx.AsyncClient, body: bytes, *, status: int = 200) -> AsyncIterator[OAuthIssuer]:
    head = b"HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body))
    async with RawServer(answering(head + body)) as server:
        yield asking(client, server.url)


async def test_a_code_is_exchanged_as_a_form(client: httpx.AsyncClient):
    async with Simulator() as simulator:
        with pytest.raises(LoginRefused):
            await asking(client, simulator.issuer_url).redeem(GRANT)
        (record,) = simulator.state.requests
    assert record.headers["content-type"] == "application/x-www-form-urlencoded"
    assert record.body == {
        "grant_type": "authorization_code",
        "code": "ac_planted",
        "redirect_uri": GRANT.redirect_uri,
        "client_id": CODEX_CLIENT_ID,
        "code_verifier": "verifier_planted",
    }


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (400, b'{"error": "invalid_grant", "error_description": "Too late."}', LoginRefused, "Too late."),
        (400, b'{"error": {"message": "Used before.", "code": "x"}}', LoginRefused, "Used before."),
        (400, b'{"error": {"code": "X"}}', LoginRefused, "x"),
        (400, b'{"error": "invalid_grant", "error_description": "ac_planted is bad"}', LoginRefused, "*** is bad"),
        (400, b'{"error": "e", "error_description": "a\\u001b[2Jb"}', LoginRefused, "a [2Jb"),
        (400, b"<html>", LoginUnavailable, "answered 400"),
        (403, b"<html>Just a moment", LoginUnavailable, "answered 403"),
        (429, b'{"error": "slow"}', LoginUnavailable, "answered 429"),
        (500, b'{"error": "oops"}', LoginUnavailable, "answered 500"),
        (200, b"{}", LoginUnavailable, "without a token"),
        (200, b"<html>", LoginUnavailable, "cannot be read"),
    ],
)
async def test_a_code_that_is_not_taken(
    client: httpx.AsyncClient, status: int, body: bytes, kind: type[GptmockError], words: str
):
    async with saying(client, body, status=status) as issuer:
        with pytest.raises(kind) as caught:
            await issuer.redeem(GRANT)
    assert words in caught.value.message
    assert caught.value.message.isprintable()
    assert "planted" not in caught.value.message


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [
        ('"5"', 5.0),
        ("7", 7.0),
        ("2.5", 2.5),
        ("null", 5.0),
        ('"soon"', 5.0),
        ("0", 5.0),
        ("-1", 5.0),
        ("0.1", 1.0),
        ('"inf"', 5.0),
    ],
)
async def test_intervals_as_string_and_number(client: httpx.AsyncClient, interval: str, seconds: float):
    body = f'{{"device_auth_id": "d", "user_code": "AB-CD", "interval": {interval}, "expires_in": "60"}}'
    async with saying(client, body.encode()) as issuer:
        device = await issuer.begin_device()
    assert (device.interval_seconds, device.lifetime_seconds, device.user_code) == (seconds, 60.0, "AB-CD")
    assert "'d'" not in repr(device)


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (404, b"", LoginRefused, "no device login"),
        (500, b"", LoginUnavailable, "answered 500"),
        (401, b'{"error": {"message": "Invalid client."}}', LoginRefused, "Invalid client."),
        (200, b"{}", LoginUnavailable, "cannot be read"),
        (200, b'{"device_auth_id": "d"}', LoginUnavailable, "no code to type"),
    ],
)
async def test_a_device_login_that_does_not_begin(
    client: httpx.AsyncClient, status: int, body: bytes, kind: type[GptmockError], words: str
):
    async with saying(client, body, status=status) as issuer:
        with pytest.raises(kind, match=words):
            await issuer.begin_device()


async def test_the_other_name_of_the_user_code(client: httpx.AsyncClient):
    async with saying(client, b'{"device_auth_id": "d", "usercode": "AB-CD"}') as issuer:
        assert (await issuer.begin_device()).user_code == "AB-CD"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, b""),
        (403, b"<html>"),
        (404, b"{}"),
        (400, b'{"error": "authorization_pending"}'),
        (400, b'{"error": "slow_down"}'),
    ],
)
async def test_a_device_is_pending(client: httpx.AsyncClient, status: int, body: bytes):
    async with saying(client, body, status=status) as issuer:
        assert await issuer.poll_device(DEVICE) is None


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"error": "access_denied"}', LoginRefused),
        (400, b'{"error": "expired_token"}', LoginRefused),
        (410, b'{"error": {"message": "device_planted is gone"}}', LoginRefused),
        (500, b"", LoginUnavailable),
        (429, b"", LoginUnavailable),
        (200, b'{"authorization_code": "ac"}', LoginUnavailable),
    ],
)
async def test_a_device_that_is_decided_otherwise(
    client: httpx.AsyncClient, status: int, body: bytes, kind: type[GptmockError]
):
    async with saying(client, body, status=status) as issuer:
        with pytest.raises(kind) as caught:
            await issuer.poll_device(DEVICE)
    assert "planted" not in caught.value.message


@pytest.mark.parametrize("hint", ["refresh_token", "access_token"])
async def test_a_revocation_names_the_client_only_for_a_refresh_token(client: httpx.AsyncClient, hint: str):
    async with Simulator() as simulator:
        await asking(client, simulator.issuer_url).revoke(PLANTED, hint=hint)
        (record,) = simulator.state.requests
    told = {"token": "rt_planted", "token_type_hint": hint}
    assert record.body == (told | {"client_id": CODEX_CLIENT_ID} if hint == "refresh_token" else told)


async def test_an_issuer_that_is_away_is_said_for_every_step(client: httpx.AsyncClient):
    issuer = asking(client, f"http://127.0.0.1:{free_port()}")
    for step in (
        issuer.redeem(GRANT),
        issuer.begin_device(),
        issuer.poll_device(DEVICE),
        issuer.revoke(PLANTED, hint=""),
    ):
        with pytest.raises(LoginUnavailable, match="could not be asked"):
            await step
