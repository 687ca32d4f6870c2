from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest

from gptmock.accounts import Account, Credential, Secret
from gptmock.errors import (
    AccountUnusable,
    CredentialRefused,
    GptmockError,
    UpstreamBroken,
    UpstreamRefused,
    UpstreamTimeout,
)
from gptmock.protocol.events import ResponseCompleted
from gptmock.protocol.failures import failure_of
from gptmock.protocol.reader import Received
from gptmock.protocol.request import InputItem, ResponsesRequest
from gptmock.simulator.options import SimulatorOptions
from gptmock.simulator.server import Simulator
from gptmock.upstream import websocket as websocket_module
from gptmock.upstream import websocket_connection
from gptmock.upstream.codex import CodexUpstream, UpstreamDeadlines
from gptmock.upstream.identity import ClientIdentity
from gptmock.upstream.transport import open_transport
from gptmock.upstream.websocket import WebSocketUpstream
from gptmock.upstream.websocket_failures import MAX_FAILURES, PARKED_SECONDS, FailureCount
from gptmock.upstream.websocket_pool import PoolBounds
from tests.harness import until
from tests.playbook import events_in
from tests.simulator.wire import WEATHER, user
from tests.timing import generous
from tests.upstream.test_codex import batches_of

KEY = "conversation-1"


@dataclass
class Line:
    """An upstream over WebSockets, with the simulator behind it."""

    simulator: Simulator
    upstream: WebSocketUpstream
    credential: Credential
    told: list[str] = field(default_factory=list)
    """How each turn was sent."""

    async def turn(self, request: ResponsesRequest, **more: Any) -> list[Received]:
        async with self.upstream.open(request, more.pop("credential", self.credential), **more) as stream:
            return [received async for batch in batches_of(stream) for received in events_in(batch)]

    async def refused(self, request: ResponsesRequest) -> GptmockError:
        with pytest.raises(GptmockError) as caught:
            await self.turn(request)
        return caught.value

    @property
    def sent(self) -> list[dict[str, Any]]:
        return [one.body for one in self.simulator.state.socket_calls()]

    @property
    def by_http(self) -> int:
        return len(self.simulator.state.model_calls())


@asynccontextmanager
async def line(
    options: SimulatorOptions | None = None,
    *,
    bounds: PoolBounds | None = None,
    deadlines: UpstreamDeadlines | None = None,
) -> AsyncIterator[Line]:
    transport = open_transport()
    async with Simulator(options or SimulatorOptions()) as simulator:
        settings: dict[str, Any] = {
            "identity": ClientIdentity(),
            "deadlines": deadlines or UpstreamDeadlines(),
            "clock": time.time,
        }
        http = CodexUpstream(transport, simulator.upstream_url, **settings)
        told: list[str] = []
        upstream = WebSocketUpstream(http, simulator.upstream_url, bounds=bounds, told=told.append, **settings)
        try:
            yield Line(simulator, upstream, new_credential(simulator), told)
        finally:
            upstream.close()
            await transport.aclose()


def new_credential(simulator: Simulator) -> Credential:
    login = simulator.state.logins.issue(account_id=f"account-{uuid.uuid4()}")
    return Credential(Account(workspace_id=login.account_id), Secret(login.access_token), 1)


def asking(*items: InputItem, key: str = KEY, **more: Any) -> ResponsesRequest:
    return ResponsesRequest(model="gpt-5.5", input=list(items), prompt_cache_key=key, **more)


def output_of(events: list[Received]) -> list[dict[str, Any]]:
    """The output items as they were received."""
    return [one.document()["item"] for one in events if b"output_item.done" in one.data[:60]]


def then(request: ResponsesRequest, events: list[Received], *items: InputItem) -> ResponsesRequest:
    """The next request of the same conversation."""
    return msgspec.structs.replace(request, input=[*request.input, *output_of(events), *items])


def result_of(events: list[Received], text: str = "12 degrees") -> dict[str, Any]:
    """The output of the call that a turn ended with."""
    call = next(item for item in output_of(events) if item["type"] == "function_call")
    return {"type": "function_call_output", "call_id": call["call_id"], "output": text}


def is_complete(events: list[Received]) -> bool:
    return isinstance(events[-1].event, ResponseCompleted)


# --- What is sent ------------------------------------------------------------------------


@pytest.mark.check(253)
async def test_the_second_turn_sends_only_what_is_new():
    async with line() as it:
        first = asking(user("scene:tool"), tools=[WEATHER])
        events = await it.turn(first)
        result = result_of(events)
        again = await it.turn(then(first, events, result))
        assert is_complete(again)
        whole, new = it.sent
        assert whole["type"] == new["type"] == "response.create"
        assert "previous_response_id" not in whole
        assert new["previous_response_id"] == events[0].document()["response"]["id"]
        assert new["input"] == [result]
        assert {name: whole[name] for name in whole if name != "input"} == {
            name: new[name] for name in new if name not in ("input", "previous_response_id")
        }
        assert (it.told, it.by_http, it.simulator.state.sockets_opened) == (["whole", "incremental"], 0, 1)


async def test_the_handshake_has_our_headers_and_a_turns_own_go_with_it():
    async with line() as it:
        headers = {"originator": "codex_x", "x-codex-turn-metadata": "{}"}
        await it.turn(asking(user("scene:text")), headers=headers)
        (call,) = it.simulator.state.socket_calls()
        assert call.headers["openai-beta"] == "responses_websockets=2026-02-06"
        assert call.headers["originator"] == "codex_x"
        assert call.headers["session-id"] == call.headers["thread-id"] == KEY
        assert "x-codex-turn-metadata" not in call.headers
        assert call.body["client_metadata"] == {"x-codex-turn-metadata": "{}"}
        assert "content-type" not in call.headers


async def test_the_head_of_a_turn_says_what_it_says_over_http():
    async with line() as it:
        request = asking(user("scene:text"))
        for _ in range(2):
            async with it.upstream.open(request, it.credential) as stream:
                assert stream.limits is not None
                assert stream.limits.windows[0].used_percent == it.simulator.state.options.used_percent
                assert stream.models_etag is not None
                assert stream.headers["openai-model"]
                assert "x-codex-websocket-max-message-bytes" not in stream.headers
                assert [batch async for batch in batches_of(stream)]


@pytest.mark.check(331)
@pytest.mark.parametrize(
    "change",
    [
        lambda request: msgspec.structs.replace(request, tools=[WEATHER]),
        lambda request: msgspec.structs.replace(request, reasoning=msgspec.convert({"effort": "high"}, type=Any)),
        lambda request: msgspec.structs.replace(request, instructions="Others."),
        lambda request: msgspec.structs.replace(request, input=[user("scene:text, but edited"), *request.input[1:]]),
        lambda request: msgspec.structs.replace(request, input=request.input[:-2] + request.input[-1:]),
        lambda request: msgspec.structs.replace(
            request, input=[*request.input[:-2], {**request.input[-2], "id": "msg_other"}, request.input[-1]]
        ),
        lambda request: msgspec.structs.replace(request, input=request.input[:-1]),
    ],
    ids=["tools", "effort", "instructions", "changed item", "item gone", "another id", "nothing new"],
)
async def test_what_does_not_continue_the_response_is_sent_whole(change: Callable[[Any], ResponsesRequest]):
    async with line() as it:
        first = asking(user("scene:text"))
        request = change(then(first, await it.turn(first), user("Go on.")))
        assert is_complete(await it.turn(request))
        assert it.told == ["whole", "whole"]
        assert "previous_response_id" not in it.sent[1]
        assert it.sent[1]["input"] == msgspec.to_builtins(request.input)


async def test_items_may_come_back_without_id_status_and_empty_lists():
    async with line() as it:
        first = asking(user("scene:text"))
        (message,) = output_of(await it.turn(first))
        parts = [{"type": "output_text", "text": part["text"]} for part in message["content"]]
        lean = {"type": "message", "role": "assistant", "phase": message["phase"], "content": parts}
        await it.turn(asking(*first.input, lean, user("Go on.")))
        assert it.told == ["whole", "incremental"]


@pytest.mark.parametrize("scene", ["failed-mid", "incomplete"])
async def test_nothing_continues_a_response_that_was_not_completed(scene: str):
    async with line() as it:
        first = asking(user(f"scene:{scene}"))
        events = await it.turn(first)
        await it.turn(then(first, events, user("scene:text")))
        assert it.told == ["whole", "whole"]
        assert it.simulator.state.sockets_opened == 1


@pytest.mark.check(330)
@pytest.mark.parametrize(("over", "by_http"), [(-1, 0), (0, 1)])
async def test_a_message_of_the_limit_goes_by_http(over: int, by_http: int):
    limit = 16 * 1024 * 1024
    async with line() as it:
        assert is_complete(await it.turn(sized(limit + over)))
        assert (it.by_http, it.told) == (by_http, ["too_large"] if by_http else ["whole"])
        assert [one.size_bytes for one in it.simulator.state.socket_calls()] == [limit - 1] * (1 - by_http)


@pytest.mark.check(330)
async def test_the_handshake_may_name_a_lower_limit():
    async with line(SimulatorOptions(websocket_limit_bytes=2000)) as it:
        await it.turn(sized(1999))
        await it.turn(sized(2000))
        assert it.told == ["whole", "too_large"]


def sized(size: int) -> ResponsesRequest:
    """A request whose message has exactly ``size`` bytes."""
    bare = len(asking(user("")).to_json()) + len(b'"type":"response.create",')
    return asking(user("x" * (size - bare)))


# --- What fails before the first event ------------------------------------------------------


@pytest.mark.check(255)
@pytest.mark.parametrize("status", [426, 500, 503, 404])
async def test_a_refused_handshake_is_no_answer(status: int):
    async with line(SimulatorOptions(websocket_status=status)) as it:
        assert is_complete(await it.turn(asking(user("scene:text"))))
        assert (it.by_http, it.told) == (1, ["handshake"])


@pytest.mark.check(255)
async def test_a_handshake_that_does_not_end_is_no_answer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(websocket_module, "HANDSHAKE_SECONDS", 0.1)
    async with line(SimulatorOptions(websocket_wait_seconds=30.0)) as it:
        assert is_complete(await it.turn(asking(user("scene:text"))))
        assert (it.by_http, it.told) == (1, ["handshake"])


@pytest.mark.check(332)
@pytest.mark.parametrize(("status", "kind"), [(401, CredentialRefused), (403, AccountUnusable), (429, UpstreamRefused)])
async def test_a_refusal_of_the_account_is_an_answer(status: int, kind: type[GptmockError]):
    async with line(SimulatorOptions(websocket_status=status)) as it:
        error = await it.refused(asking(user("scene:text")))
        assert isinstance(error, kind)
        assert (it.by_http, it.told) == (0, [])


@pytest.mark.check(332)
async def test_a_revoked_token_is_refused_in_the_handshake_and_in_a_turn():
    async with line() as it:
        await it.turn(asking(user("scene:text")))
        it.simulator.state.logins.expire_access()
        assert isinstance(await it.refused(asking(user("scene:text"))), CredentialRefused)
        assert isinstance(await it.refused(asking(user("scene:text"), key="other")), CredentialRefused)
        assert it.by_http == 0


@pytest.mark.check(254)
@pytest.mark.parametrize("code", [1000, 1006, 1011, 1012])
async def test_a_connection_lost_before_the_first_event_is_tried_once_more(code: int):
    async with line() as it:
        it.simulator.state.socket_faults.append(code)
        assert is_complete(await it.turn(asking(user("scene:text"))))
        assert (it.by_http, it.told, it.simulator.state.sockets_opened) == (0, ["whole"], 2)
        it.simulator.state.socket_faults += [code, code]
        assert is_complete(await it.turn(asking(user("scene:text"), key="other")))
        assert (it.by_http, it.told) == (1, ["whole", "closed"])


@pytest.mark.check(254)
async def test_an_increment_whose_connection_is_lost_is_sent_whole():
    async with line() as it:
        first = asking(user("scene:text"))
        events = await it.turn(first)
        it.simulator.state.socket_faults.append(1006)
        assert is_complete(await it.turn(then(first, events, user("Go on."))))
        assert it.told == ["whole", "whole"]
        assert [("previous_response_id" in one) for one in it.sent] == [False, True, False]


async def test_a_message_that_is_too_big_for_the_upstream_goes_by_http():
    async with line() as it:
        it.simulator.state.socket_faults.append(1009)
        assert is_complete(await it.turn(asking(user("scene:text"))))
        assert (it.by_http, it.told) == (1, ["too_large"])


@pytest.mark.check(254)
@pytest.mark.parametrize("scene", ["eof-mid", "abort-mid", "truncated-chunk"])
async def test_nothing_is_sent_again_after_the_first_event(scene: str):
    async with line() as it:
        # A close frame is the end of a body, which says nothing of its own.
        with nullcontext() if scene == "eof-mid" else pytest.raises(UpstreamBroken):
            assert not is_complete(await it.turn(asking(user(f"scene:{scene}"))))
        assert (len(it.sent), it.by_http, it.simulator.state.sockets_opened) == (1, 0, 1)
        assert is_complete(await it.turn(asking(user("scene:text"))))
        assert it.simulator.state.sockets_opened == 2


async def test_silence_before_the_first_event_is_a_timeout_and_is_not_repeated():
    async with line(deadlines=UpstreamDeadlines(head=0.2)) as it:
        error = await it.refused(asking(user("scene:slow-head:30")))
        assert isinstance(error, UpstreamTimeout)
        assert (error.should_retry, len(it.sent), it.by_http) == (False, 1, 0)
        await until(lambda: it.simulator.state.open_sockets == 0)


@pytest.mark.check(333)
async def test_an_unknown_previous_response_is_sent_whole_once():
    async with line() as it:
        first = asking(user("scene:tool"), tools=[WEATHER])
        events = await it.turn(first)
        it.simulator.state.options = replace(it.simulator.state.options, websocket_remembers=False)
        assert is_complete(await it.turn(then(first, events, result_of(events))))
        assert [("previous_response_id" in one) for one in it.sent] == [False, True, False]
        assert it.by_http == 0


@pytest.mark.check(333)
async def test_outputs_without_their_calls_are_refused_once():
    async with line() as it:
        first = asking(user("scene:tool"), tools=[WEATHER])
        events = await it.turn(first)
        error = await it.refused(asking(result_of(events), tools=[WEATHER]))
        assert (type(error), error.status_hint) == (UpstreamRefused, 400)
        assert "No tool call found" in error.message
        assert (len(it.sent), it.by_http) == (2, 0)


@pytest.mark.parametrize(
    "scene",
    ["400-detail", "400-effort", "401-always", "402", "429-usage", "429-burst", "500", "503-overload", "404-gate"],
)
async def test_a_refusal_is_judged_as_over_http(scene: str):
    async with line() as it:
        request = asking(user(f"scene:{scene}"))
        by_socket = await it.refused(request)
        with pytest.raises(GptmockError) as caught:
            async with it.upstream._http.open(request, it.credential):
                pass
        by_http = caught.value
        assert (type(by_socket), by_socket.message, by_socket.code) == (type(by_http), by_http.message, by_http.code)
        assert (by_socket.status_hint, by_socket.should_retry) == (by_http.status_hint, by_http.should_retry)


async def test_pages_of_a_gateway_are_read_over_http():
    async with line() as it:
        error = await it.refused(asking(user("scene:502-html")))
        assert (error.status_hint, it.by_http, len(it.sent)) == (502, 1, 2)


async def test_an_error_after_the_first_event_is_an_event():
    async with line() as it:
        events = await it.turn(asking(user("scene:error-event-nested")))
        assert failure_of(events[-1].event).code == "invalid_prompt"  # type: ignore[arg-type]
        assert it.told == ["whole"]


# --- Failures in a row -----------------------------------------------------------------------


@pytest.mark.check(335)
async def test_three_failures_send_an_account_to_http(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    async with line(SimulatorOptions(websocket_status=503)) as it:
        for _ in range(MAX_FAILURES):
            await it.turn(asking(user("scene:text")))
        it.simulator.state.options = replace(it.simulator.state.options, websocket_status=101)
        await it.turn(asking(user("scene:text")))
        other = new_credential(it.simulator)
        await it.turn(asking(user("scene:text")), credential=other)
        assert it.told == [*["handshake"] * MAX_FAILURES, "parked", "whole"]
        assert [one.getMessage() for one in caplog.records] == ["upstream.websocket_parked"]


@pytest.mark.check(335)
def test_an_account_comes_back_after_ten_minutes_and_a_success_starts_anew():
    now = 0.0
    failures = FailureCount(lambda: now)
    assert [failures.failed("a") for _ in range(MAX_FAILURES - 1)] == [False] * (MAX_FAILURES - 1)
    failures.succeeded("a")
    assert [failures.failed("a") for _ in range(MAX_FAILURES)] == [*[False] * (MAX_FAILURES - 1), True]
    assert failures.is_parked("a")
    assert not failures.is_parked("b")
    now = PARKED_SECONDS
    assert not failures.is_parked("a")
    assert not failures.failed("a")


# --- The pool ----------------------------------------------------------------------------------


@pytest.mark.check(256)
async def test_a_second_turn_of_a_conversation_at_once_goes_by_http():
    async with line() as it:
        async with it.upstream.open(asking(user("scene:stall:30")), it.credential):
            assert is_complete(await it.turn(asking(user("scene:text"))))
            assert is_complete(await it.turn(asking(user("scene:text"), key="other")))
        assert (it.told, it.by_http) == (["whole", "busy", "whole"], 1)


@pytest.mark.check(256)
async def test_the_oldest_idle_connection_makes_room_and_busy_ones_do_not():
    async with line(bounds=PoolBounds(count=2)) as it:
        for key in ("a", "b", "c"):
            await it.turn(asking(user("scene:text"), key=key))
        await until(lambda: it.simulator.state.open_sockets == 2)
        await it.turn(asking(user("scene:text"), key="b"))
        assert it.simulator.state.sockets_opened == 3
        async with (
            it.upstream.open(asking(user("scene:stall:30"), key="b"), it.credential),
            it.upstream.open(asking(user("scene:stall:30"), key="c"), it.credential),
        ):
            await it.turn(asking(user("scene:text"), key="d"))
            assert it.told[-1] == "busy"


@pytest.mark.check(256)
async def test_an_idle_connection_is_closed_and_an_old_one_is_not_used():
    async with line(bounds=PoolBounds(idle=0.05)) as it:
        await it.turn(asking(user("scene:text")))
        await until(lambda: it.simulator.state.open_sockets == 0)
        assert is_complete(await it.turn(asking(user("scene:text"))))
    async with line(bounds=PoolBounds(age=0.0)) as it:
        for _ in range(2):
            assert is_complete(await it.turn(asking(user("scene:text"))))
        assert (it.told, it.simulator.state.sockets_opened) == (["whole", "whole"], 2)


@pytest.mark.check(256)
async def test_a_connection_that_the_upstream_calls_too_old_is_replaced():
    async with line() as it:
        first = asking(user("scene:text"))
        events = await it.turn(first)
        it.simulator.state.sockets_end()
        assert is_complete(await it.turn(then(first, events, user("Go on."))))
        assert (it.told, it.simulator.state.sockets_opened, it.by_http) == (["whole", "whole"], 2, 0)


@pytest.mark.check(336)
async def test_no_connection_is_shared_by_accounts_conversations_or_tokens():
    async with line() as it:
        first, second = it.credential, new_credential(it.simulator)
        renewed = replace(
            first,
            access_token=Secret(it.simulator.state.logins.issue(account_id=first.account.workspace_id).access_token),
            version=2,
        )
        for credential in (first, second, renewed):
            for key in ("a", "b"):
                for _ in range(2):
                    await it.turn(asking(user("scene:text"), key=key), credential=credential)
        calls = it.simulator.state.socket_calls()
        assert it.simulator.state.sockets_opened == 6
        for call, (credential, key) in zip(
            calls, [(c, k) for c in (first, second, renewed) for k in ("a", "b") for _ in range(2)], strict=True
        ):
            assert call.headers["authorization"] == f"Bearer {credential.access_token.reveal()}"
            assert call.headers["chatgpt-account-id"] == credential.account.workspace_id
            assert call.headers["session-id"] == call.body["prompt_cache_key"] == key


async def test_a_client_that_leaves_takes_its_connection_along():
    async with line() as it:
        async with it.upstream.open(asking(user("scene:stall:30")), it.credential):
            pass
        await it.simulator.state.until_closed(seconds=generous(1.0))
        await until(lambda: it.simulator.state.open_sockets == 0)
        assert is_complete(await it.turn(asking(user("scene:text"))))


async def test_a_turn_that_is_given_up_before_its_first_event_leaves_nothing():
    async with line() as it:
        task = asyncio.ensure_future(it.turn(asking(user("scene:slow-head:30"))))
        await until(lambda: len(it.sent) == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: it.simulator.state.open_sockets == 0)
        assert is_complete(await it.turn(asking(user("scene:text"))))


@pytest.mark.check(256)
async def test_pings_without_an_answer_are_a_dead_connection(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(websocket_connection, "PING_SECONDS", 0.05)
    async with line() as it:
        request = asking(user("scene:stall:0.6"))
        assert is_complete(await it.turn(request)), "a simulator that answers pings is alive"
        it.simulator.state.options = replace(it.simulator.state.options, websocket_answers_pings=False)
        with pytest.raises(GptmockError):
            await it.turn(asking(user("scene:stall:30"), key="other"))


async def test_a_slow_client_holds_up_the_upstream_and_nothing_is_lost():
    async with line() as it:
        async with it.upstream.open(asking(user("scene:long")), it.credential) as stream:
            count = 0
            async for batch in batches_of(stream):
                count += len(events_in(batch))
                await asyncio.sleep(0)
        assert count > 200
