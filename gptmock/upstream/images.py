"""
The backend's endpoint for images, told as the turn that would make the same image: one finished image, then the end.
Must not know how a request is sent.

Whoever lacks the endpoint is not asked again for a while; the hosted tool makes its images.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from gptmock.accounts import Credential
from gptmock.errors import (
    AccountUnusable,
    GptmockError,
    ImagesUnavailable,
    UnknownModel,
    UpstreamBroken,
    UpstreamRefused,
)
from gptmock.limits import RateLimitSnapshot, snapshot_from_headers
from gptmock.protocol.events import decode_event
from gptmock.protocol.failures import document_failure
from gptmock.protocol.items import ImageUsage
from gptmock.protocol.reader import Received
from gptmock.protocol.request import ImageRequest
from gptmock.protocol.upstream import OpensLane, TakesBatch
from gptmock.upstream.engine import Answer
from gptmock.upstream.event_stream import entity_tag, forwarded_headers
from gptmock.upstream.refusals import RefusalReader

LACKING_SECONDS = 600.0
"""How long an account is taken to lack the endpoint."""
_LACKING_STATUSES = frozenset({404, 405, 410, 501})
_FREE_PLAN = "free"
_NO_ENDPOINT = "no_image_endpoint"
"""The code of a refusal that no client sees: the hosted tool makes the image."""


@dataclass(frozen=True, slots=True)
class ImageRefusalReader(RefusalReader):
    """Reads the refusals of the endpoint."""

    def refusal(self, status: int, body: bytes, *, location: str | None = None, unread: str = "") -> GptmockError:
        """See ``RefusalReader.refusal``; a 403 with a reason is about images, and not about the account."""
        if status in _LACKING_STATUSES:
            return _no_endpoint("There is no endpoint for images.")
        # Not ``super()``: a class with slots is made anew, and the one that it names is the first.
        error = RefusalReader.refusal(self, status, body, location=location, unread=unread)
        if isinstance(error, UnknownModel):
            return _no_endpoint(error.message)
        if isinstance(error, AccountUnusable) and status == 403:
            return ImagesUnavailable(error.message, should_retry=False)
        return error


def _no_endpoint(message: str) -> UpstreamRefused:
    return UpstreamRefused(message, code=_NO_ENDPOINT, status=404)


class _Image(msgspec.Struct):
    b64_json: str | None = None
    revised_prompt: str | None = None


class _Answer(msgspec.Struct):
    """The members of the answer that are used."""

    data: list[_Image]
    background: str | None = None
    quality: str | None = None
    size: str | None = None
    output_format: str | None = None
    usage: ImageUsage | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


Sends: TypeAlias = Callable[[str, bytes, ImageRefusalReader], Awaitable[tuple[Answer, bytes]]]
"""Sends a body to the endpoint (``generations`` or ``edits``) and reads the whole answer."""


class ImageEndpoint:
    """
    Asks the endpoint, unless the account is known to lack it.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lacking: dict[str, float] = {}
        """Account id to when it may be asked again, in Unix seconds."""

    async def ask(self, request: ImageRequest | None, credential: Credential, send: Sends) -> MadeImage | None:
        """
        Have an image made.

        Args:
            request: ``None`` for what the endpoint cannot do.
            credential: of the account.
            send: sends the request.

        Returns ``None`` if the hosted tool has to make the image.

        Raises:
            ImagesUnavailable: the account's plan has no images.
            GptmockError: as ``Upstream.open``.
        """
        account_id = credential.account.id
        if request is not None and self._lacking.get(account_id, 0.0) <= self._clock():
            refusals = ImageRefusalReader(credential, self._clock)
            path = "generations" if request.images is msgspec.UNSET else "edits"
            try:
                answer, body = await send(path, request.to_json(), refusals)
            except UpstreamRefused as error:
                if error.code != _NO_ENDPOINT:
                    raise
                self._lacking[account_id] = self._clock() + LACKING_SECONDS
            else:
                return MadeImage(answer, self._batch(request.model, body, refusals), now=self._clock())
        if credential.account.plan == _FREE_PLAN:
            # The backend drops the tool of a free plan silently: a text would be written and paid.
            raise ImagesUnavailable("The plan of this account (free) makes no images.", should_retry=False)
        return None

    def _batch(self, model: str, body: bytes, refusals: ImageRefusalReader) -> list[Received]:
        try:
            answer = _ANSWER.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise refusals.read(document_failure, body) or UpstreamBroken(
                f"The upstream answered the request for an image with what cannot be read: {error}",
                code="upstream_bad_event",
            ) from error
        images = [image for image in answer.data if image.b64_json]
        if not images:
            raise UpstreamBroken("The upstream's answer holds no image.", code="upstream_no_image")
        return [_received(event) for event in _events(model, answer, images)]


class MadeImage:
    """The answer of the endpoint as the events of a turn (``protocol.upstream.EventStream``)."""

    def __init__(self, answer: Answer, batch: list[Received], *, now: float) -> None:
        headers = answer.headers()
        self._batch = batch
        self.limits: RateLimitSnapshot | None = snapshot_from_headers(headers, now=now)
        self.models_etag = entity_tag(headers, "x-models-etag")
        self.headers: Mapping[str, str] = forwarded_headers(headers)

    async def deliver(self, take: TakesBatch, lane: OpensLane | None = None) -> bool:  # noqa: ARG002 - no deltas
        """See ``EventStream.deliver``."""
        while self._batch:
            if not take([self._batch.pop(0)]):
                break
        # As a stream does that goes on: others are served between two calls.
        await asyncio.sleep(0)
        return not self._batch


def _events(model: str, answer: _Answer, images: list[_Image]) -> list[dict[str, Any]]:
    response: dict[str, Any] = {"id": f"resp_{secrets.token_hex(24)}", "model": model, "output": []}
    told = {"background": answer.background, "quality": answer.quality, "size": answer.size}
    shape = {**told, "output_format": answer.output_format}
    items = [
        {
            "type": "image_generation_call",
            "id": f"ig_{secrets.token_hex(24)}",
            "status": "completed",
            "result": image.b64_json,
            "revised_prompt": image.revised_prompt,
            **shape,
        }
        for image in images
    ]
    done = [
        {"type": "response.output_item.done", "output_index": index, "item": item} for index, item in enumerate(items)
    ]
    ended = {**response, "tool_usage": None if answer.usage is None else {"image_gen": answer.usage}}
    return [
        {"type": "response.created", "response": response},
        *done,
        {"type": "response.completed", "response": ended},
    ]


def _received(event: dict[str, Any]) -> Received:
    data = msgspec.json.encode(event)
    decoded = decode_event(data)
    assert decoded is not None  # noqa: S101 - it has a type
    return Received(decoded, data)
