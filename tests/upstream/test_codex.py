from __future__ import annotations

import asyncio
import gzip
import json
import logging
import platform
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from gptmock import __version__
from gptmock.accounts import Account, Credential, Secret
from gptmock.errors import (
    AccountUnusable,
    CredentialRefused,
    GptmockError,
    UnknownModel,
    UpstreamBroken,
    UpstreamError,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gptmock.protocol.events import ResponseCompleted, ResponseCreated
from gptmock.protocol.reader import Batch, Received
from gptmock.protocol.request import InputText, Message, ResponsesRequest
from gptmock.protocol.upstream import EventStream
from gptmock.simulator.options import SimulatorOptions
from gptmock.simulator.scenes import SCENES, STREAM_SCENES, RefusalScene, render_scene
from gptmock.simulator.server import Simulator
from gptmock.upstream.codex import MAX_ERROR_BYTES, CodexUpstream, UpstreamDeadlines
from gptmock.upstream.engine import Engine
from gptmock.upstream.event_stream import LINGER_SECONDS
from gptmock.upstream.identity import ClientIdentity
from gptmock.upstream.transport import open_client
from tests.harness import until
from tests.playbook import events_in
from tests.ports import free_port
from tests.timing import generous
from tests.upstream.raw import HEAD, LAST_CHUNK, Handler, RawServer, answering, chunk, read_request, serving_again

TEXT = render_scene("text")
NOW = 1_790_000_000.0
CREDENTIAL = Credential(account=Account(workspace_id="w-1"), access_token=Secret("planted"), version=1)


def asking(text: str = "Hello", *, cache_key: str = "cache-key-1") -> ResponsesRequest:
    message = Message(role="user", content=[InputText(text)])
    return ResponsesRequest(model="gpt-5.5", input=[message], prompt_cache_key=cache_key)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client() as opened:
        yield opened


@pytest.fixture
def credential(simulator: Simulator) -> Credential:
    login = simulator.state.logins.issue()
    return Credential(Account(workspace_id=login.account_id), Secret(login.access_token), 1)


def codex(
    client: httpx.AsyncClient,
    base_url: str,
    *,
    deadlines: UpstreamDeadlines | None = None,
    identity: ClientIdentity | None = None,
) -> CodexUpstream:
    engine = client._transport
    assert isinstance(engine, Engine)
    return CodexUpstream(
        engine,
        base_url,
        identity=identity or ClientIdentity(),
        deadlines=deadlines or UpstreamDeadlines(),
        clock=lambda: NOW,
    )


async def batches_of(stream: EventStream) -> AsyncIterator[Batch]:
    """The batches one by one, each read only when it is asked for."""
    got: list[Batch] = []

    def take(batch: Batch) -> bool:
        got.append(batch)
        return False

    ended, fault = False, None
    while not ended and fault is None:
        try:
            ended = await stream.deliver(take)
        except GptmockError as error:
            fault = error
        while got:
            yield got.pop(0)
    if fault is not None:
        raise fault


async def events(upstream: CodexUpstream, request: ResponsesRequest, credential: Credential) -> list[Received]:
    async with upstream.open(request, credential) as stream:
        return [received async for batch in batches_of(stream) for received in events_in(batch)]


async def failure(upstream: CodexUpstream, request: ResponsesRequest, credential: Credential) -> GptmockError:
    with pytest.raises(GptmockError) as caught:
        await events(upstream, request, credential)
    return caught.value


# --- What is sent ------------------------------------------------------------------------


async def test_the_headers_are_exactly_these(simulator: Simulator, client: httpx.AsyncClient, credential: Credential):
    upstream = codex(client, simulator.upstream_url)
    for _ in range(2):
        await events(upstream, asking("scene:text", cache_key="cache-key-7"), credential)
    record = simulator.state.model_calls()[-1]
    assert dict(record.headers) == {
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "authorization": f"Bearer {credential.access_token.reveal()}",
        "chatgpt-account-id": credential.account.workspace_id,
        "content-length": str(len(asking("scene:text", cache_key="cache-key-7").to_json())),
        "content-type": "application/json",
        "host": simulator.base_url.removeprefix("http://"),
        "originator": "gptmock",
        "session-id": "cache-key-7",
        "thread-id": "cache-key-7",
        "user-agent": f"gptmock/{__version__} ({platform.system()} {platform.release()}; {platform.machine()})",
        "version": "0.171.0",
    }
    assert record.body["prompt_cache_key"] == "cache-key-7"


async def test_the_operator_may_say_who_we_are(simulator: Simulator, client: httpx.AsyncClient, credential: Credential):
    identity = ClientIdentity("codex_cli_rs", "0.170.1")
    await events(codex(client, simulator.upstream_url, identity=identity), asking("scene:text"), credential)
    headers = simulator.state.model_calls()[-1].headers
    assert (headers["originator"], headers["version"]) == ("codex_cli_rs", "0.170.1")
    assert headers["user-agent"].startswith("codex_cli_rs/0.170.1 (")


async def test_another_version_is_that_of_the_next_call(
    simulator: Simulator, client: httpx.AsyncClient, credential: Credential
):
    identity = ClientIdentity()
    upstream = codex(client, simulator.upstream_url, identity=identity)
    for version in ("0.171.0", "0.172.0"):
        identity.use_version(version)
        await events(upstream, asking("scene:text"), credential)
        headers = simulator.state.model_calls()[-1].headers
        assert headers["version"] == version
        assert headers["user-agent"].startswith(f"gptmock/{__version__} (")


async def test_a_fedramp_account_says_so(simulator: Simulator, client: httpx.AsyncClient, credential: Credential):
    strict = replace(credential, account=replace(credential.account, is_fedramp=True))
    await events(codex(client, simulator.upstream_url), asking("scene:text"), strict)
    assert simulator.state.model_calls()[-1].headers["x-openai-fedramp"] == "true"


async def test_a_clients_own_headers_stand_in_the_place_of_ours(
    simulator: Simulator, client: httpx.AsyncClient, credential: Credential
):
    own = {
        "originator": "codex_exec",
        "user-agent": "codex_exec/0.169.0 (Zürich)",
        "session-id": "s",
        "x-codex-turn-state": "t",
        "authorization": "Bearer planted",
        "chatgpt-account-id": "planted",
    }
    async with codex(client, simulator.upstream_url).open(asking("scene:text"), credential, headers=own) as stream:
        assert [one async for one in batches_of(stream)]
        assert stream.headers["openai-model"]
        assert stream.headers["x-codex-plan-type"]
        assert not {"server", "cf-ray", "date"} & set(stream.headers)
    headers = simulator.state.model_calls()[-1].headers
    assert {name: headers[name] for name in list(own)[1:4]} == {name: own[name] for name in list(own)[1:4]}
    assert (headers["originator"], headers["thread-id"]) == ("codex_exec", "cache-key-1")
    assert headers["authorization"] == f"Bearer {credential.access_token.reveal()}"
    assert headers["chatgpt-account-id"] == credential.account.workspace_id


# --- Compaction --------------------------------------------------------------------------


async def test_a_compaction_is_asked_for_in_fewer_words(
    simulator: Simulator, client: httpx.AsyncClient, credential: Credential
):
    compacted = await codex(client, simulator.upstream_url).compact(asking(), credential)
    assert [item["type"] for item in compacted.document["output"]] == ["compaction"]
    record = simulator.state.requests[-1]
    assert record.path == "/backend-api/codex/responses/compact"
    assert record.headers["accept"] == "application/json"
    assert set(record.body) == {"model", "instructions", "input", "prompt_cache_key"}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"output":5}', b"\xff"])
async def test_a_compaction_that_cannot_be_read_is_no_compaction(client: httpx.AsyncClient, body: bytes):
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with RawServer(answering(head + body)) as server:
        with pytest.raises(UpstreamBroken):
            await codex(client, server.url).compact(asking(), CREDENTIAL)


async def test_a_compaction_is_judged_and_waited_for_as_a_turn_is(
    simulator: Simulator, client: httpx.AsyncClient, credential: Credential
):
    with pytest.raises(UnknownModel):
        await codex(client, simulator.upstream_url).compact(
            ResponsesRequest(model="gpt-0", input=[], prompt_cache_key="k"), credential
        )
    with pytest.raises(CredentialRefused):
        await codex(client, simulator.upstream_url).compact(asking(), CREDENTIAL)
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"
    async with RawServer(answering(head, 5.0)) as server:
        with pytest.raises(UpstreamTimeout):
            await codex(client, server.url, deadlines=UpstreamDeadlines(idle=0.2)).compact(asking(), CREDENTIAL)


async def test_a_slash_at_the_end_of_the_base_url_changes_nothing(
    simulator: Simulator, client: httpx.AsyncClient, credential: Credential
):
    assert await events(codex(client, f"{simulator.upstream_url}/"), asking("scene:text"), credential)


# --- What comes --------------------------------------------------------------------------


GOOD_SCENES = [scene.name for scene in STREAM_SCENES.values() if scene.ending == "completed" and scene.name != "giant"]


@pytest.mark.parametrize("scene", GOOD_SCENES)
async def test_every_good_scene_ends_with_its_end(
    simulator: Simulator, client: httpx.AsyncClient, credential: Credential, scene: str
):
    slow = ":0.05" if scene in ("stall", "silent", "slow-head") else ""
    simulator.state.scenes.append(scene + slow)
    received = await events(codex(client, simulator.upstream_url), asking(), credential)
    assert isinstance(received[-1].event, ResponseCompleted)


async def test_the_windows_of_the_account_are_read_from_the_headers(
    simulator: Simulator, client: httpx.AsyncClient, credential: Credential
):
    async with codex(client, simulator.upstream_url).open(asking("scene:text"), credential) as stream:
        assert stream.limits is not None
        assert stream.limits.windows[0].used_percent == simulator.state.options.used_percent


async def test_the_tag_of_the_accounts_catalogue_is_read_from_the_headers(
    simulator: Simulator, client: httpx.AsyncClient, credential: Credential
):
    async with codex(client, simulator.upstream_url).open(asking("scene:text"), credential) as stream:
        assert stream.models_etag is not None
        assert stream.models_etag.startswith('W/"')


async def test_garbage_is_counted_and_nothing_else_happens(
    simulator: Simulator, client: httpx.AsyncClient, credential: Credential, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING)
    received = await events(codex(client, simulator.upstream_url), asking("scene:garbage"), credential)
    assert isinstance(received[-1].event, ResponseCompleted)
    (record,) = (each for each in caplog.records if each.getMessage() == "upstream.garbage_skipped")
    assert vars(record)["events"] == 5


async def test_an_event_over_the_limit_breaks_the_stream(
    simulator: Simulator, client: httpx.AsyncClient, credential: Credential
):
    error = await failure(codex(client, simulator.upstream_url), asking("scene:giant"), credential)
    assert isinstance(error, UpstreamBroken)
    await until(lambda: simulator.state.open_streams == 0)


async def test_a_fault_behind_good_events_is_told_without_waiting_for_more(client: httpx.AsyncClient):
    created = TEXT[: TEXT.index(b"\n\n") + 2]
    malformed = b'data: {"type":"response.output_text.delta","delta":17}\n\n'
    async with RawServer(answering(HEAD, chunk(created + malformed), 30.0)) as server:
        upstream, received = codex(client, server.url), []
        async with upstream.open(asking(), CREDENTIAL) as stream, asyncio.timeout(5):
            with pytest.raises(UpstreamBroken):  # noqa: PT012 - what came before the error counts
                async for batch in batches_of(stream):
                    received.extend(events_in(batch))
    assert [type(each.event) for each in received] == [ResponseCreated]


# --- What is no stream -------------------------------------------------------------------

DOCUMENT = b'{"error":{"message":"The model is gone.","code":"model_gone","type":"invalid_request_error"}}'
UNTYPED = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
TYPED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


async def said(client: httpx.AsyncClient, *parts: bytes | float) -> GptmockError:
    async with RawServer(answering(*parts)) as server, asyncio.timeout(10):
        return await failure(codex(client, server.url), asking(), CREDENTIAL)


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\r\n \n"])
async def test_a_document_in_the_place_of_a_stream_is_read_in_any_pieces(client: httpx.AsyncClient, before: bytes):
    body = before + DOCUMENT
    pieces = [part for place in range(len(body)) for part in (chunk(body[place : place + 1]), 0.0)]
    for parts in ((UNTYPED, body), (TYPED, *pieces, LAST_CHUNK)):
        error = await said(client, *parts)
        assert (type(error), error.code, error.status_hint) == (UpstreamRefused, "model_gone", 400)
        assert error.message == "The model is gone."


async def test_a_whole_document_is_not_waited_behind(client: httpx.AsyncClient):
    began = time.monotonic()
    assert (await said(client, TYPED, chunk(DOCUMENT), 30.0)).code == "model_gone"
    assert (await said(client, TYPED, chunk(b"<html><body>"), 30.0)).code == "upstream_no_stream"
    assert time.monotonic() - began < generous(3.0)


async def test_an_endless_document_is_read_to_its_bound(client: httpx.AsyncClient):
    pieces = [chunk(b'"planted",' * 1000)] * 20
    error = await said(client, TYPED, chunk(b'{"detail":["'), *pieces, 30.0)
    assert (type(error), error.code) == (UpstreamBroken, "upstream_no_stream")


async def test_a_document_that_breaks_off_is_a_broken_connection(client: httpx.AsyncClient):
    error = await said(client, TYPED, chunk(DOCUMENT[:20]))
    assert (type(error), error.code) == (UpstreamBroken, "upstream_stream_truncated")


@pytest.mark.parametrize("start", [b"\n\n", b": {comment}\n\n", b"\xef\xbb\xbf", b"x: {\n\n"])
async def test_a_stream_may_begin_with_what_means_nothing(client: httpx.AsyncClient, start: bytes):
    async with RawServer(answering(HEAD, chunk(start), 0.02, chunk(TEXT), LAST_CHUNK)) as server:
        received = await events(codex(client, server.url), asking(), CREDENTIAL)
    assert isinstance(received[-1].event, ResponseCompleted)


@pytest.mark.parametrize("status", [200, 400, 403, 500])
async def test_no_error_repeats_the_token_or_the_account(client: httpx.AsyncClient, status: int):
    account = Account(workspace_id="workspace-7", user_id="person-007", email="me@nowhere")
    credential = Credential(account, Secret("planted-opaque-token"), 1)
    text = "planted-opaque-token workspace-7 person-007 me@nowhere has no plan"
    body = json.dumps({"error": {"message": text, "code": "workspace-7"}}).encode()
    head = b"HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    async with RawServer(answering(head + body)) as server:
        error = await failure(codex(client, server.url), asking(), credential)
    assert "*** *** *** *** has no plan" in error.message
    assert "workspace" not in error.code


async def test_a_compaction_speaks_in_the_upstreams_words_too(client: httpx.AsyncClient):
    async with RawServer(answering(UNTYPED + DOCUMENT)) as server:
        with pytest.raises(UpstreamRefused, match="The model is gone"):
            await codex(client, server.url).compact(asking(), CREDENTIAL)


@pytest.mark.parametrize(
    "location", [b"https://other.example.com/x", b"http://[planted", b"mailto:planted", b"\xff\xfe"]
)
async def test_a_redirect_is_one_whatever_it_points_to(client: httpx.AsyncClient, location: bytes):
    error = await said(client, b"HTTP/1.1 307 X\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n")
    assert (type(error), error.code) == (UpstreamRefused, "upstream_redirected")
    assert "planted" not in error.message


# --- What is encoded ---------------------------------------------------------------------


def in_coding(coding: str, body: bytes, *, status: int = 200) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("codings", ["gzip", "deflate", "zstd", "gzip.zstd"])
async def test_an_encoded_stream_comes_event_by_event(
    simulator: Simulator, client: httpx.AsyncClient, credential: Credential, codings: str
):
    simulator.state.scenes.append(f"encoded:{codings}")
    async with codex(client, simulator.upstream_url).open(asking(), credential) as stream:
        batches = [batch async for batch in batches_of(stream)]
    assert isinstance(events_in(batches[-1])[-1].event, ResponseCompleted)
    assert len(batches) > 3


@pytest.mark.parametrize("status", [200, 400])
async def test_an_encoded_document_is_read(client: httpx.AsyncClient, status: int):
    error = await said(client, in_coding("gzip", gzip.compress(DOCUMENT), status=status))
    assert (error.code, error.message) == ("model_gone", "The model is gone.")


async def test_a_compaction_may_be_encoded(client: httpx.AsyncClient):
    async with RawServer(answering(in_coding("gzip", gzip.compress(b'{"output":[]}')))) as server:
        assert (await codex(client, server.url).compact(asking(), CREDENTIAL)).document == {"output": []}


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (200, UpstreamBroken, "upstream_bad_encoding"),
        (400, UpstreamUnavailable, "upstream_error"),
        (401, CredentialRefused, "auth_unavailable"),
        (403, UpstreamRefused, "upstream_blocked"),
        (503, UpstreamUnavailable, "upstream_error"),
    ],
)
@pytest.mark.parametrize(("coding", "named"), [("compress", "'compress'"), ("gzip", "not valid gzip")])
async def test_what_cannot_be_decoded_keeps_its_status_and_is_named(  # noqa: PLR0917 - one row of two tables
    client: httpx.AsyncClient, status: int, kind: type[GptmockError], code: str, coding: str, named: str
):
    error = await said(client, in_coding(coding, b"planted", status=status))
    assert (type(error), error.code) == (kind, code)
    assert named in error.message or kind is CredentialRefused
    assert "planted" not in error.message


# --- Refusals ----------------------------------------------------------------------------

REFUSALS: dict[str, tuple[type[GptmockError], str, int]] = {
    "200-detail": (UpstreamFailed, "upstream_error", 502),
    "200-error": (UpstreamRefused, "rate_limit_exceeded", 429),
    "200-401": (CredentialRefused, "auth_unavailable", 503),
    "200-html": (UpstreamBroken, "upstream_no_stream", 502),
    "302": (UpstreamRefused, "upstream_redirected", 502),
    "400-detail": (UpstreamRefused, "invalid_request", 400),
    "400-policy": (UpstreamRefused, "moderation_blocked", 400),
    "400-effort": (UpstreamRefused, "unsupported_value", 400),
    "401": (CredentialRefused, "auth_unavailable", 503),
    "401-always": (CredentialRefused, "auth_unavailable", 503),
    "402": (AccountUnusable, "account_unusable", 503),
    "403-html": (UpstreamRefused, "upstream_blocked", 502),
    "404-gate": (UnknownModel, "model_not_found", 404),
    "429-usage": (UpstreamRefused, "usage_limit_reached", 429),
    "429-usage-noreset": (UpstreamRefused, "usage_limit_reached", 429),
    "429-burst": (UpstreamRefused, "rate_limit_exceeded", 429),
    "429-not-included": (UpstreamRefused, "usage_not_included", 429),
    "500": (UpstreamUnavailable, "server_error", 502),
    "502-html": (UpstreamUnavailable, "upstream_error", 502),
    "503-overload": (UpstreamUnavailable, "server_is_overloaded", 503),
    "504": (UpstreamTimeout, "upstream_timeout", 504),
}


def test_every_refusal_of_the_simulator_is_judged_here():
    assert set(REFUSALS) == {name for name, scene in SCENES.items() if isinstance(scene, RefusalScene)}


@pytest.mark.parametrize(("scene", "expected"), REFUSALS.items())
async def test_a_refusal_has_its_class_code_and_status(
    simulator: Simulator,
    client: httpx.AsyncClient,
    credential: Credential,
    scene: str,
    expected: tuple[type[GptmockError], str, int],
):
    error = await failure(codex(client, simulator.upstream_url), asking(f"scene:{scene}"), credential)
    assert (type(error), error.code, error.status_hint) == expected
    assert "<" not in error.message
    assert credential.access_token.reveal() not in error.message


async def test_a_usage_limit_says_when_it_ends_and_that_trying_again_is_in_vain(
    simulator: Simulator, client: httpx.AsyncClient, credential: Credential
):
    error = await failure(codex(client, simulator.upstream_url), asking("scene:429-usage"), credential)
    assert error.retry_after_seconds == 13872
    assert error.should_retry is False
    assert "3 h 51 min" in error.message


@pytest.mark.parametrize("size", [0, 1, MAX_ERROR_BYTES, 1024 * 1024])
@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 502, 503, 520])
async def test_pages_for_people_are_never_quoted(client: httpx.AsyncClient, status: int, size: int):
    page = (b"<html><title>planted</title>" + b"x" * size)[:size]
    head = b"HTTP/1.1 %d Nope\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % (status, size)
    async with RawServer(answering(head + page)) as server:
        error = await failure(codex(client, server.url), asking(), CREDENTIAL)
    assert "planted" not in error.message
    assert "xxx" not in error.message
    assert len(error.message) < 300


async def test_of_an_endless_error_page_only_the_beginning_is_read(client: httpx.AsyncClient):
    sent = 0
    gone = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD.replace(b"200 OK", b"502 Bad"))
        try:
            while True:
                writer.write(chunk(b"<html>" * 200))
                await writer.drain()
                sent += 1200
                await asyncio.sleep(0.001)
        finally:
            gone.set()

    async with RawServer(handle) as server, asyncio.timeout(10):
        error = await failure(codex(client, server.url), asking(), CREDENTIAL)
        await gone.wait()
    assert error.status_hint == 502
    assert sent < 100 * MAX_ERROR_BYTES


async def test_an_error_page_that_breaks_off_is_judged_by_its_status(client: httpx.AsyncClient):
    head = b"HTTP/1.1 503 Busy\r\nContent-Length: 1000\r\n\r\n"
    async with RawServer(answering(head + b'{"error"')) as server:
        error = await failure(codex(client, server.url), asking(), CREDENTIAL)
    assert isinstance(error, UpstreamUnavailable)


@pytest.mark.parametrize("status", [100, 101, 204, 301, 307, 418])
async def test_a_status_that_makes_no_sense_is_no_success(client: httpx.AsyncClient, status: int):
    head = b"HTTP/1.1 %d Odd\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n" % status
    async with RawServer(answering(head)) as server:
        assert isinstance(await failure(codex(client, server.url), asking(), CREDENTIAL), UpstreamError)


# --- The way there -----------------------------------------------------------------------


async def test_nobody_listening_may_be_tried_again(client: httpx.AsyncClient):
    error = await failure(codex(client, f"http://127.0.0.1:{free_port()}"), asking(), CREDENTIAL)
    assert isinstance(error, UpstreamUnavailable)
    assert (error.code, error.status_hint, error.retryable) == ("upstream_unreachable", 502, True)
    assert "127.0.0.1" not in error.message


@pytest.mark.parametrize(
    "handler", [answering(), answering(HEAD[:9])], ids=["closed before the head", "closed in the head"]
)
async def test_a_connection_that_ends_before_the_status_may_be_tried_again(client: httpx.AsyncClient, handler: Handler):
    async with RawServer(handler) as server:
        assert isinstance(await failure(codex(client, server.url), asking(), CREDENTIAL), UpstreamUnavailable)


@pytest.mark.parametrize("scene", ["abort-mid", "truncated-chunk"])
async def test_a_connection_that_breaks_in_the_middle_is_told_after_what_came(
    simulator: Simulator, client: httpx.AsyncClient, credential: Credential, scene: str
):
    received: list[Received] = []
    async with codex(client, simulator.upstream_url).open(asking(f"scene:{scene}"), credential) as stream:
        with pytest.raises(UpstreamBroken) as caught:  # noqa: PT012 - what came before the error counts
            async for batch in batches_of(stream):
                received.extend(events_in(batch))
    assert len(received) > 3
    assert caught.value.code == "upstream_stream_truncated"


# --- Deadlines ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scene", "deadlines", "expected_seconds"),
    [
        ("slow-head:20", UpstreamDeadlines(head=0.4), 0.4),
        ("stall:20", UpstreamDeadlines(idle=0.4), 0.4),
        ("silent:20", UpstreamDeadlines(idle=0.4), 0.4),
        ("long", UpstreamDeadlines(idle=30.0, total=0.6), 0.6),
        ("stall:20", UpstreamDeadlines(idle=30.0, total=0.6), 0.6),
    ],
)
async def test_a_deadline_fires_in_time_and_closes_the_stream(
    client: httpx.AsyncClient, scene: str, deadlines: UpstreamDeadlines, expected_seconds: float
):
    async with Simulator(SimulatorOptions(pace_seconds=0.02)) as simulator:
        login = simulator.state.logins.issue()
        credential = Credential(Account(workspace_id=login.account_id), Secret(login.access_token), 1)
        began = time.monotonic()
        error = await failure(
            codex(client, simulator.upstream_url, deadlines=deadlines), asking(f"scene:{scene}"), credential
        )
        took = time.monotonic() - began
        assert isinstance(error, UpstreamTimeout)
        assert (error.code, error.status_hint, error.should_retry) == ("upstream_timeout", 504, False)
        assert expected_seconds - 0.05 <= took < expected_seconds + generous(1)
        await simulator.state.until_closed(seconds=5)


async def test_a_stream_that_keeps_speaking_is_not_idle(client: httpx.AsyncClient):
    async with Simulator(SimulatorOptions(pace_seconds=0.02)) as simulator:
        login = simulator.state.logins.issue()
        credential = Credential(Account(workspace_id=login.account_id), Secret(login.access_token), 1)
        upstream = codex(client, simulator.upstream_url, deadlines=UpstreamDeadlines(idle=1.0))
        began = time.monotonic()
        received = await events(upstream, asking("scene:long"), credential)
        assert time.monotonic() - began > 2.0
        assert isinstance(received[-1].event, ResponseCompleted)


# --- Connections -------------------------------------------------------------------------


@pytest.mark.parametrize("end_after", [0.0, LINGER_SECONDS / 3])
async def test_a_finished_turn_leaves_its_connection_to_the_next(client: httpx.AsyncClient, end_after: float):
    async with RawServer(serving_again(TEXT, end_after_seconds=end_after)) as server:
        for _ in range(5):
            async with codex(client, server.url).open(asking(), CREDENTIAL) as stream:
                async for batch in batches_of(stream):
                    if isinstance(events_in(batch)[-1].event, ResponseCompleted):
                        break
        assert server.connections == 1


async def test_a_body_that_never_ends_is_not_waited_for(client: httpx.AsyncClient):
    async with RawServer(serving_again(TEXT, end_after_seconds=30)) as server:
        began = time.monotonic()
        async with codex(client, server.url).open(asking(), CREDENTIAL) as stream:
            async for batch in batches_of(stream):
                if isinstance(events_in(batch)[-1].event, ResponseCompleted):
                    break
        assert time.monotonic() - began < LINGER_SECONDS + generous(1)


async def test_a_connection_that_the_upstream_closed_meanwhile_costs_nobody_a_turn(client: httpx.AsyncClient):
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(asking().to_json()))
        writer.write(HEAD + chunk(TEXT) + LAST_CHUNK)
        await writer.drain()
        await reader.readuntil(b"\r\n\r\n")

    async with RawServer(once) as server:
        upstream = codex(client, server.url)
        await events(upstream, asking(), CREDENTIAL)
        assert await events(upstream, asking(), CREDENTIAL)
        assert server.connections == 2


async def test_a_kept_connection_that_breaks_within_its_answer_is_no_reason_to_ask_twice(client: httpx.AsyncClient):
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(HEAD + chunk(TEXT) + LAST_CHUNK)
        await read_request(reader)
        writer.write(HEAD[:20])

    async with RawServer(half) as server:
        upstream = codex(client, server.url)
        await events(upstream, asking(), CREDENTIAL)
        assert (await failure(upstream, asking(), CREDENTIAL)).code == "upstream_unreachable"
        assert server.connections == 1


async def test_three_hundred_turns_run_at_once(simulator: Simulator, client: httpx.AsyncClient, credential: Credential):
    upstream = codex(client, simulator.upstream_url)
    turns = [asyncio.ensure_future(events(upstream, asking("scene:stall:3"), credential)) for _ in range(300)]
    await until(lambda: simulator.state.open_streams == 300, seconds=30)
    done = await asyncio.gather(*turns)
    assert all(isinstance(received[-1].event, ResponseCompleted) for received in done)


@pytest.mark.parametrize("scene", ["slow-head:30", "silent:30", "stall:30"])
async def test_a_turn_that_is_given_up_is_closed_at_once(
    simulator: Simulator, client: httpx.AsyncClient, credential: Credential, scene: str
):
    turn = asyncio.ensure_future(events(codex(client, simulator.upstream_url), asking(f"scene:{scene}"), credential))
    await until(lambda: simulator.state.open_streams == 1)
    await asyncio.sleep(0.05)
    turn.cancel()
    await simulator.state.until_closed(seconds=generous(1.0))
    await asyncio.wait({turn})
    assert turn.cancelled()


async def test_leaving_in_the_middle_closes_at_once(
    simulator: Simulator, client: httpx.AsyncClient, credential: Credential
):
    async with codex(client, simulator.upstream_url).open(asking("scene:stall:30"), credential) as stream:
        batches = batches_of(stream)
        await anext(batches)
    await simulator.state.until_closed(seconds=generous(1.0))
