"""
Delivers notices to the operator's webhook, signed as Standard Webhooks say (https://www.standardwebhooks.com, v1).

    POST <url>
    webhook-id: msg_...             the same for every try: a receiver tells repeats by it
    webhook-timestamp: 1700000000   Unix seconds of this try
    webhook-signature: v1,<base64>  HMAC-SHA256 of "id.timestamp.body"
    {"type": "account.login_ended", "timestamp": "2026-11-28T19:00:00Z", "data": {...}}
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import msgspec

from gptmock.accounts import Secret
from gptmock.notices import Notice

log = logging.getLogger("gptmock.notices")

DEADLINE_SECONDS = 10.0
RETRY_SECONDS = (1.0, 5.0, 30.0)
"""Pauses before the second and further tries."""
SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with


class Webhook:
    """
    Delivers notices to one URL.

    Args:
        client: makes the requests.
        url: http or https; may hold a token, so it is never logged.
        secret: of 24 to 64 bytes, as ``whsec_<base64>``.
        clock: Unix seconds.
        pauses: before the second and further tries.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: Secret,
        secret: Secret,
        *,
        clock: Callable[[], float],
        pauses: tuple[float, ...] = RETRY_SECONDS,
    ) -> None:
        self._client = client
        self._url = url
        self._key = base64.b64decode(secret.reveal().removeprefix(SECRET_PREFIX))
        self._clock = clock
        self._pauses = pauses

    async def send(self, notice: Notice) -> None:
        """Deliver a notice, with up to three repeats; a failure is logged."""
        stamp = datetime.fromtimestamp(notice.at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        body = msgspec.json.encode({"type": notice.type, "timestamp": stamp, "data": dict(notice.data)})
        message_id = f"msg_{secrets.token_hex(12)}"
        trouble = ""
        for pause in (*self._pauses, None):
            trouble = await self._try(message_id, body)
            if not trouble:
                return
            if pause is not None:
                await asyncio.sleep(pause)
        log.error("notice.not_delivered", extra={"type": notice.type, "reason": trouble})

    async def _try(self, message_id: str, body: bytes) -> str:
        """Why it was not taken; empty if it was."""
        stamp = str(int(self._clock()))
        signed = b".".join((message_id.encode(), stamp.encode(), body))
        signature = base64.b64encode(hmac.new(self._key, signed, hashlib.sha256).digest()).decode()
        headers = {
            "content-type": "application/json",
            "user-agent": "gptmock",
            "webhook-id": message_id,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{signature}",
        }
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                response = await self._client.post(self._url.reveal(), content=body, headers=headers)
        except TimeoutError:
            return f"no answer within {DEADLINE_SECONDS:.0f} seconds"
        except httpx.HTTPError as error:
            return type(error).__name__
        return "" if response.is_success else f"status {response.status_code}"
