"""
Answers of a broken issuer to a refresh: a login that has not ended is never told as ended, and the client gets one
error of the right kind. In this loop: every case has a server and a home of its own.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from gptmock.simulator.server import Simulator
from tests.corpus.cases import Case, cases, name_of
from tests.harness import CHAT_PATH, NO_TLS, chat, client, serving_simulator, write_login
from tests.timing import generous
from tests.upstream.raw import RawServer, read_request


def _answer(case: Case, words: dict[str, str]) -> bytes:
    data = case.octets("raw" if "raw" in case.expected else "body")
    for word, value in words.items():
        data = data.replace(b'"%b"' % word.encode(), b'"%b"' % value.encode())
    if "raw" in case.expected:
        return data
    headers = case.expected.get("headers", ["Content-Type: application/json"])
    lines = [f"HTTP/1.1 {case.expected['status']} Status", *headers, f"Content-Length: {len(data)}", "", ""]
    return "\r\n".join(lines).encode() + data


def _words(simulator: Simulator, refresh_token: str) -> dict[str, str]:
    """Good tokens of the login's next generation, and those of another login."""
    renewed = simulator.state.logins.rotate(refresh_token).auth_json()["tokens"]
    other = simulator.state.logins.issue().auth_json()["tokens"]
    return {
        "ACCESS": renewed["access_token"],
        "REFRESH": renewed["refresh_token"],
        "IDENTITY": renewed["id_token"],
        "OTHER": other["access_token"],
        "OTHERID": other["id_token"],
    }


@pytest.mark.parametrize("case", cases("oauth"), ids=name_of)
async def test_answers_of_the_issuer(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(httpx, "create_ssl_context", lambda: NO_TLS)
    async with Simulator() as simulator:
        login = simulator.state.logins.issue(expires_in=-5).auth_json()
        answer = _answer(case, _words(simulator, login["tokens"]["refresh_token"]))

        async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(answer)
            await writer.drain()

        write_login(tmp_path, login)
        async with (
            RawServer(reply) as issuer,
            serving_simulator(simulator, tmp_path, issuer=issuer.url) as url,
            client(url) as opened,
        ):
            answered = await opened.post(CHAT_PATH, json=chat("scene:text"))
            _check(case, answered)
            if case.expected["outcome"] == "ended":
                await until_login_required(opened)
            else:
                assert not await _is_login_required(opened)
    assert issuer.connections == case.expected.get("calls", 1), "no refresh token is sent twice"


async def until_login_required(opened: httpx.AsyncClient) -> None:
    """What is ready is looked up now and then only."""
    async with asyncio.timeout(generous(5.0)):
        while not await _is_login_required(opened):  # noqa: ASYNC110 - what is awaited knows no event
            await asyncio.sleep(0.05)


async def _is_login_required(opened: httpx.AsyncClient) -> bool:
    reasons = (await opened.get("/readyz")).json()["reasons"]
    return any(reason.startswith("login_required") for reason in reasons)


def _check(case: Case, answered: httpx.Response) -> None:
    outcome = case.expected["outcome"]
    if outcome == "renewed":
        assert answered.status_code == 200, (case.about, answered.text)
        return
    error = answered.json()["error"]
    expected = "login_required" if outcome == "ended" else "auth_unavailable"
    assert (answered.status_code, error["code"]) == (503, expected), (case.about, error)
    assert ("retry-after" in answered.headers) == (outcome == "later")
    assert error["message"].isprintable()
