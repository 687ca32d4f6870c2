from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json

import httpx
import pytest

from gptmock.accounts import Secret
from gptmock.notices import Notice
from gptmock.upstream.webhook import Webhook

KEY = bytes(range(32))
NOTICE = Notice("account.login_ended", 1_800_000_000.0, {"account": "abc", "message": "The login has ended."})
URL = "https://hooks.example.test/T0K3N"


def webhook(*answers: int | Exception) -> tuple[Webhook, list[httpx.Request]]:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        one = answers[len(requests) - 1]
        if isinstance(one, Exception):
            raise one
        return httpx.Response(one)

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    secret = Secret("whsec_" + base64.b64encode(KEY).decode())
    return Webhook(client, Secret(URL), secret, clock=lambda: 1_800_000_005.0, pauses=(0.0, 0.0)), requests


async def test_a_notice_is_signed_as_standard_webhooks_say():
    hook, requests = webhook(204)
    await hook.send(NOTICE)
    (request,) = requests
    assert str(request.url) == URL
    assert json.loads(request.content) == {
        "type": "account.login_ended",
        "timestamp": "2027-01-15T08:00:00Z",
        "data": {"account": "abc", "message": "The login has ended."},
    }
    headers = request.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.content
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["webhook-timestamp"] == "1800000005"


@pytest.mark.parametrize("trouble", [500, 429, 302, httpx.ConnectError("refused")], ids=str)
async def test_it_is_sent_again_under_the_same_id(trouble: int | Exception, caplog: pytest.LogCaptureFixture):
    hook, requests = webhook(trouble, 200)
    await hook.send(NOTICE)
    assert len({request.headers["webhook-id"] for request in requests}) == 1
    assert (len(requests), caplog.records) == (2, [])


async def test_after_three_tries_the_log_says_so_without_the_url(caplog: pytest.LogCaptureFixture):
    hook, requests = webhook(500, httpx.ConnectError("refused by T0K3N"), 404)
    await hook.send(NOTICE)
    assert len(requests) == 3
    (record,) = caplog.records
    assert (record.msg, vars(record)["reason"]) == ("notice.not_delivered", "status 404")
    assert "T0K3N" not in str(vars(record))


async def test_a_receiver_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gptmock.upstream.webhook.DEADLINE_SECONDS", 0.05)

    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with httpx.AsyncClient(transport=httpx.MockTransport(never)) as client:
        hook = Webhook(
            client, Secret(URL), Secret("whsec_" + base64.b64encode(KEY).decode()), clock=lambda: 0.0, pauses=()
        )
        async with asyncio.timeout(10):
            await hook.send(NOTICE)
