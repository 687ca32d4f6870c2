"""The backend's endpoint for images, told as the turn that would make the same image."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gptmock.accounts import Account, Credential, Secret
from gptmock.errors import GptmockError, ImagesUnavailable, UpstreamBroken, UpstreamRefused, UpstreamUnavailable
from gptmock.protocol.events import OutputItemDone, ResponseCompleted, ResponseCreated
from gptmock.protocol.items import ImageGenerationCallItem
from gptmock.protocol.reader import Batch, Received
from gptmock.protocol.request import ImageRequest, ImageSource
from gptmock.upstream.engine import Answer
from gptmock.upstream.images import LACKING_SECONDS, ImageEndpoint, ImageRefusalReader
from tests.playbook import ChunkedBody

BLOCKED = "moderation_blocked"
CREDENTIAL = Credential(Account("workspace-1", plan="plus"), Secret("t"), 1)
CAT = ImageRequest(prompt="a cat", model="gpt-image-2")
HAT = ImageRequest(prompt="a hat", model="gpt-image-2", images=[ImageSource("data:image/png;base64,AAAA")])


class Backend:
    """Answers each request with a status and a document."""

    def __init__(self, status: int = 200, document: Any = None, *, text: bytes = b"") -> None:
        self.status = status
        self.body = text or json.dumps(document).encode()
        self.asked: list[tuple[str, Any]] = []

    async def __call__(self, path: str, body: bytes, refusals: ImageRefusalReader) -> tuple[Answer, bytes]:
        self.asked.append((path, json.loads(body)))
        if self.status != 200:
            raise refusals.refusal(self.status, self.body)
        return Answer(200, [(b"X-OAI-Request-Id", b"req_1"), (b"set-cookie", b"a=b")], ChunkedBody([])), self.body


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def made(backend: Backend, request: ImageRequest = CAT) -> list[Any]:
    """The events of what was made."""
    image = await ImageEndpoint(Clock()).ask(request, CREDENTIAL, backend)
    assert image is not None
    assert dict(image.headers) == {"x-oai-request-id": "req_1"}
    events: list[Any] = []

    def take(batch: Batch) -> bool:
        events.extend(one.event for one in batch if isinstance(one, Received))
        return False

    while not await image.deliver(take):
        pass
    return events


async def test_an_image_is_told_as_a_turn():
    usage = {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8, "input_tokens_details": {"text_tokens": 3}}
    shape = {"size": "1x1", "quality": "low", "background": "opaque"}
    backend = Backend(document={"created": 1, "data": [{"b64_json": "AAAA"}], **shape, "usage": usage, "new": [1]})
    created, done, ended = await made(backend)
    assert isinstance(created, ResponseCreated)
    assert created.response.model == "gpt-image-2"
    assert isinstance(done, OutputItemDone)
    assert isinstance(done.item, ImageGenerationCallItem)
    assert (done.item.result, done.item.size, done.item.quality, done.item.background) == ("AAAA", *shape.values())
    assert isinstance(ended, ResponseCompleted)
    assert ended.response.spent is not None
    assert (ended.response.spent.input_tokens, ended.response.spent.output_tokens) == (3, 5)
    assert ended.response.tool_usage is not None
    assert ended.response.tool_usage.image_gen is not None
    assert ended.response.tool_usage.image_gen.total_tokens == 8


@pytest.mark.parametrize(("request_", "path"), [(CAT, "generations"), (HAT, "edits")])
async def test_the_path_is_that_of_what_is_asked(request_: ImageRequest, path: str):
    backend = Backend(document={"data": [{"b64_json": "AAAA"}]})
    await made(backend, request_)
    ((asked, body),) = backend.asked
    assert asked == path
    assert set(body) == ({"prompt", "model"} if path == "generations" else {"prompt", "model", "images"})


@pytest.mark.check(263)
@pytest.mark.parametrize(
    "backend",
    [
        Backend(404, {"detail": "Not Found"}),
        Backend(404, text=b"<html>"),
        Backend(405, {"detail": "Method Not Allowed"}),
        Backend(501, text=b"nothing"),
        Backend(400, {"detail": "The 'gpt-image-2' model is not supported when using Codex with a ChatGPT account."}),
    ],
    ids=["404", "html", "405", "501", "model"],
)
async def test_an_account_without_the_endpoint_is_asked_again_after_a_while(backend: Backend):
    clock, before = Clock(), len(backend.asked)
    endpoint = ImageEndpoint(clock)
    for _ in range(3):
        assert await endpoint.ask(CAT, CREDENTIAL, backend) is None
    assert len(backend.asked) == before + 1
    other = Credential(Account("workspace-2"), Secret("t"), 1)
    assert await endpoint.ask(CAT, other, backend) is None
    assert len(backend.asked) == before + 2
    clock.now += LACKING_SECONDS + 1
    assert await endpoint.ask(CAT, CREDENTIAL, backend) is None
    assert len(backend.asked) == before + 3


@pytest.mark.check(340)
async def test_what_only_the_tool_can_do_is_no_question_for_a_free_plan():
    free = replace(CREDENTIAL, account=replace(CREDENTIAL.account, plan="free"))
    endpoint, backend = ImageEndpoint(Clock()), Backend()
    assert await endpoint.ask(None, CREDENTIAL, backend) is None
    with pytest.raises(ImagesUnavailable, match="free"):
        await endpoint.ask(None, free, backend)
    assert backend.asked == []


@pytest.mark.parametrize(
    ("backend", "kind", "code"),
    [
        (Backend(403, {"detail": "Not on your plan."}), ImagesUnavailable, "image_generation_unavailable"),
        (Backend(403, text=b"<html>"), UpstreamRefused, "upstream_blocked"),
        (Backend(400, {"error": {"code": "moderation_blocked", "message": "No"}}), UpstreamRefused, BLOCKED),
        (Backend(503, text=b"<html>"), UpstreamUnavailable, "upstream_error"),
        (Backend(document={"data": []}), UpstreamBroken, "upstream_no_image"),
        (Backend(document={"data": [{"url": "https://example.test/"}]}), UpstreamBroken, "upstream_no_image"),
        (Backend(document={"data": "none"}), UpstreamBroken, "upstream_bad_event"),
        (Backend(text=b"<html>"), UpstreamBroken, "upstream_bad_event"),
        (Backend(document={"error": {"code": "invalid_prompt", "message": "No."}}), UpstreamRefused, "invalid_prompt"),
    ],
    ids=range(9),
)  # fmt: skip
async def test_a_refusal_is_judged(backend: Backend, kind: type[GptmockError], code: str):
    with pytest.raises(GptmockError) as refused:
        await ImageEndpoint(Clock()).ask(CAT, CREDENTIAL, backend)
    assert (type(refused.value), refused.value.code) == (kind, code)
