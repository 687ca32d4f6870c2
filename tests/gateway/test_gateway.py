from __future__ import annotations

import asyncio
import gc
import itertools
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from gptmock.accounts import Account, Credential
from gptmock.catalog import ModelCatalog
from gptmock.dialects.dialect import (
    Call,
    Defaults,
    Progress,
    ReplyHead,
    ReplyPlan,
    Terms,
    Translator,
    Turn,
)
from gptmock.dialects.table import DIALECTS
from gptmock.errors import (
    AccountsExhausted,
    CredentialRefused,
    GptmockError,
    RefreshRejected,
    SealBroken,
    UnknownModel,
    UpstreamBroken,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gptmock.gateway.account_selection import AccountSelector
from gptmock.gateway.gateway import FOREIGN_REASONING, Gateway
from gptmock.gateway.reply import MAX_TRIES, Outcome, Reply
from gptmock.gateway.stored_responses import ConversationKeeper
from gptmock.gateway.usage_recording import TurnRecorder
from gptmock.protocol.reader import Received
from gptmock.simulator.scenes import render_scene
from gptmock.stores.limits_and_usage import SharedLimits, SharedUsage
from tests.gateway.memory import ACCOUNT, FixedCatalogs, MemoryUpstream, Script, Site, frames_of, name_of, tokens
from tests.harness import chat, until
from tests.playbook import sse

CHAT = DIALECTS[0].dialect
HEAD = ReplyHead(id="0" * 29, created=1_790_000_000)
TEXT = render_scene("text")
FIRST_DELTA = TEXT.index(b"event: response.output_text.delta")
PREAMBLE, REST = TEXT[: TEXT.index(b"event: response.output_item.added")], TEXT
UNREACHABLE = UpstreamUnavailable("nobody there", code="upstream_unreachable")


def turn(*, stream: bool = True, model: str = "gpt-5.5") -> Turn:
    body = json.dumps(chat(stream=stream, model=model)).encode()
    decoded = CHAT.decode(Call(body), Terms(ModelCatalog(), Defaults()))
    assert isinstance(decoded, Turn)
    return decoded


class House(Site):
    """A gateway and all that it knows."""

    def __init__(
        self,
        *scripts: Script,
        commit_seconds: float = 60.0,
        pool: tuple[str, ...] = (),
        signed_in: bool = True,
        conversations: ConversationKeeper | None = None,
    ) -> None:
        super().__init__()
        self.upstream = MemoryUpstream(list(scripts))
        self.one = self.worker()
        self.board = SharedLimits(self.one.store)
        self.ledger = SharedUsage(self.one.store, clock=self.clock)
        self.books = TurnRecorder(self.board, self.ledger, clock=self.clock)
        chooser = AccountSelector(self.one.vault, self.board, pool=pool, clock=self.clock)
        self.catalogs = FixedCatalogs()
        self.gateway = Gateway(
            chooser,
            self.one.keeper,
            self.upstream,
            self.books,
            self.catalogs,
            conversations=conversations,
            commit_seconds=commit_seconds,
        )
        self.outcome = Outcome()
        self.signs_in = signed_in

    @asynccontextmanager
    async def reply(self, asked: Turn | None = None) -> AsyncIterator[Reply]:
        if self.signs_in:
            self.signs_in = False
            await self.login(1)
        async with self.gateway.open(asked or turn(), HEAD, self.outcome) as reply:
            yield reply

    async def streamed(self, asked: Turn | None = None) -> bytes:
        async with self.reply(asked) as reply:
            return b"".join([block async for block in frames_of(reply)])

    async def collected(self) -> Any:
        async with self.reply(turn(stream=False)) as reply:
            return json.loads(await reply.document())

    @property
    def openings(self) -> int:
        return len(self.upstream.credentials)


def failed(frames: bytes, code: str) -> bool:
    """One error frame at the very end, and nothing that looks like success."""
    last = frames.rstrip().rpartition(b"\n\n")[2]
    error = json.loads(last.removeprefix(b"data: "))["error"]
    return error["code"] == code and b"[DONE]" not in frames and b'"finish_reason":"stop"' not in frames


# --- Well ------------------------------------------------------------------------------


async def test_a_turn_is_streamed_and_its_outcome_noted():
    house = House(Script([TEXT]))
    frames = await house.streamed()
    assert frames.endswith(b"data: [DONE]\n\n")
    assert (house.outcome.tries, house.outcome.error) == (1, None)
    assert house.outcome.response is not None
    assert house.outcome.response.usage is not None
    assert house.upstream.open_now == 0


async def test_how_far_the_turn_has_come_is_noted_in_seconds():
    seconds = itertools.count(1.0)
    head = ReplyHead(id="0" * 29, created=1_790_000_000, progress=Progress(lambda: next(seconds)))
    house = House(Script([PREAMBLE, REST]))
    await house.login(1)
    async with house.gateway.open(turn(), head, house.outcome) as reply:
        assert (head.progress.accepted_seconds, head.progress.begun_seconds) == (1.0, 2.0)
        assert [block async for block in frames_of(reply)]
        assert head.elapsed() == 3.0


async def test_a_turn_is_collected():
    house = House(Script([TEXT[:FIRST_DELTA], TEXT[FIRST_DELTA:]]))
    document = await house.collected()
    assert document["choices"][0]["finish_reason"] == "stop"
    assert house.upstream.open_now == 0


async def test_any_cut_of_the_stream_gives_the_same_frames():
    whole = await House(Script([TEXT])).streamed()
    for size in (1, 7, 100, 4096):
        blocks = [TEXT[start : start + size] for start in range(0, len(TEXT), size)]
        assert await House(Script(blocks)).streamed() == whole


async def test_the_upstreams_own_model_name_is_known_before_the_first_frame():
    async with House(Script([TEXT])).reply() as reply:
        assert reply.model == "gpt-5.5"


async def test_nothing_is_read_after_the_end_of_the_turn():
    house = House(Script([TEXT, AssertionError("read on")]))
    assert (await house.streamed()).endswith(b"data: [DONE]\n\n")


# --- Held back -------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_a_failure_said_first_is_a_status(stream: bool):  # noqa: FBT001
    house = House(Script([render_scene("failed-first:context_length_exceeded")]))
    with pytest.raises(GptmockError) as caught:
        async with house.reply(turn(stream=stream)):
            pytest.fail("opened")
    assert (caught.value.code, caught.value.status_hint) == ("context_length_exceeded", 400)
    assert house.openings == 1
    assert house.upstream.open_now == 0


async def test_an_empty_body_is_a_status():
    house = House(Script([]))
    with pytest.raises(UpstreamBroken):
        await house.streamed()
    assert house.upstream.open_now == 0


async def test_events_that_say_nothing_are_held_back_and_not_lost():
    house = House(Script([render_scene("vendor-first")]))
    assert (await house.streamed()).endswith(b"data: [DONE]\n\n")


@pytest.mark.alone
async def test_a_streaming_client_gets_its_status_after_a_while_whatever_comes():
    house = House(Script([PREAMBLE, 1.0, TEXT[len(PREAMBLE) :]]), commit_seconds=0.05)
    began = time.monotonic()
    async with house.reply() as reply:
        assert time.monotonic() - began < 0.9
        frames = b"".join([block async for block in frames_of(reply)])
    assert frames == await House(Script([TEXT])).streamed()


async def test_a_collecting_client_waits_for_the_truth():
    house = House(
        Script([PREAMBLE, 0.2, render_scene("failed-first:context_length_exceeded")[len(PREAMBLE) :]]),
        commit_seconds=0.05,
    )
    with pytest.raises(GptmockError) as caught:
        await house.collected()
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("after", "code"),
    [
        (render_scene("overload"), "server_is_overloaded"),
        (UpstreamBroken("cut"), "upstream_stream_truncated"),
        (UpstreamTimeout("silence"), "upstream_timeout"),
        (b"", "upstream_stream_truncated"),
    ],
)
async def test_after_the_commitment_a_failure_is_a_farewell_and_no_second_try(after: bytes | Exception, code: str):
    house = House(Script([0.2, after]), commit_seconds=0.05)
    assert failed(await house.streamed(), code)
    assert house.openings == 1
    assert house.outcome.error is not None
    assert house.outcome.error.code == code


# --- Again -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        Script(error=UNREACHABLE),
        Script(error=UpstreamUnavailable("500")),
        Script([render_scene("overload")]),
        Script([PREAMBLE, render_scene("failed-first:server_error")[len(PREAMBLE) :]]),
    ],
    ids=["unreachable", "5xx", "overload-in-200", "server-error-in-200"],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_what_may_pass_is_tried_three_times(script: Script, stream: bool):  # noqa: FBT001
    house = House(script)
    with pytest.raises(UpstreamUnavailable):
        async with house.reply(turn(stream=stream)):
            pytest.fail("opened")
    assert house.openings == house.outcome.tries == MAX_TRIES == 3
    assert house.upstream.open_now == 0


async def test_the_usage_windows_of_a_refusal_are_recorded():
    error = UpstreamRefused("No.", status=429)
    error.limit_headers = {"x-codex-primary-used-percent": "100", "x-codex-primary-window-minutes": "300"}
    house = House(Script(error=error))
    with pytest.raises(UpstreamRefused):
        async with house.reply(turn()):
            pytest.fail("opened")
    await house.books.close()
    account_id = house.outcome.account_id
    assert account_id is not None
    snapshot = await house.board.snapshot(account_id)
    assert snapshot is not None
    assert snapshot.windows[0].used_percent == 100.0


async def test_what_the_upstream_client_sends_again_counts_as_a_try():
    house = House(Script([render_scene("overload")], sent_again=1), Script([TEXT]))
    await house.streamed()
    assert (house.openings, house.outcome.tries) == (2, 3)


@pytest.mark.parametrize("failures", [1, 2])
async def test_what_has_passed_is_not_seen_by_the_client(failures: int):
    house = House(*[Script([render_scene("overload")])] * failures, Script([TEXT]))
    assert await house.streamed() == await House(Script([TEXT])).streamed()
    assert house.outcome.tries == failures + 1
    assert house.outcome.error is None


@pytest.mark.parametrize(
    "error",
    [
        UpstreamRefused("no"),
        UpstreamRefused("limit", code="usage_limit_reached", status=429),
        UpstreamTimeout("slow"),
        UpstreamBroken("cut"),
    ],
)
async def test_what_will_not_pass_is_tried_once(error: GptmockError):
    house = House(Script(error=error))
    with pytest.raises(type(error)):
        await house.streamed()
    assert house.openings == 1


@pytest.mark.parametrize("code", ["server_is_overloaded", "server_error", "rate_limit_exceeded"])
async def test_after_the_first_content_nothing_is_repeated(code: str):
    house = House(Script([render_scene(f"failed-mid:{code}")]))
    assert failed(await house.streamed(), code)
    assert house.openings == 1


# --- Credentials -----------------------------------------------------------------------


async def test_a_401_is_answered_by_one_renewal_and_one_more_try():
    house = House(Script(error=CredentialRefused("401")), Script([TEXT]))
    assert (await house.streamed()).endswith(b"data: [DONE]\n\n")
    used = [name_of(each.access_token) for each in house.upstream.credentials]
    assert used == ["access-1", "access-2"]
    assert house.issuer.calls == ["refresh-1"]


async def test_a_second_401_is_the_end():
    house = House(Script(error=CredentialRefused("401")))
    with pytest.raises(CredentialRefused) as caught:
        await house.streamed()
    assert caught.value.status_hint == 503
    assert house.openings == 2
    assert house.issuer.calls == ["refresh-1"]


async def test_a_401_whose_renewal_is_refused_needs_a_login():
    house = House(Script(error=CredentialRefused("401")))
    house.issuer.errors = [RefreshRejected("reused")]
    with pytest.raises(RefreshRejected):
        await house.streamed()
    assert house.openings == 1


async def test_no_account_no_upstream():
    house = House(Script([TEXT]), signed_in=False)
    with pytest.raises(GptmockError) as caught:
        await house.streamed()
    assert caught.value.code == "login_required"
    assert house.openings == 0


# --- Several accounts ------------------------------------------------------------------

BOB = Account("w-2", "u-2", "bob@example.test", "plus")
LIMIT = UpstreamRefused("limit", code="usage_limit_reached", status=429, retry_after_seconds=600)


async def pooled(*scripts: Script) -> House:
    house = House(*scripts, pool=("ada@example.test", "bob@example.test"))
    await house.worker().vault.enroll(replace(tokens(5, expires_at=None), account=BOB))
    return house


async def test_an_account_that_is_exhausted_hands_over_and_is_parked_for_all():
    house = await pooled(Script(error=LIMIT), Script([TEXT]))
    assert (await house.streamed()).endswith(b"data: [DONE]\n\n")
    assert [each.account.id for each in house.upstream.credentials] == [ACCOUNT.id, BOB.id]
    assert (house.outcome.tries, house.outcome.account_id) == (2, BOB.id)
    await house.books.close()
    standings = await house.board.look([ACCOUNT.id, BOB.id], conversation=turn().request.prompt_cache_key)
    assert standings.accounts[0].parked_until == house.clock.now + 600
    assert standings.accounts[1].parked_until is None
    assert (await house.streamed()).endswith(b"data: [DONE]\n\n")
    assert house.upstream.credentials[-1].account.id == BOB.id
    assert house.upstream.open_now == 0


async def test_an_account_that_lacks_the_model_comes_last():
    house = await pooled(Script([TEXT]))
    house.catalogs.lacking = {ACCOUNT.id}
    assert (await house.streamed()).endswith(b"data: [DONE]\n\n")
    assert [each.account.id for each in house.upstream.credentials] == [BOB.id]
    house.catalogs.lacking = {ACCOUNT.id, BOB.id}
    assert (await house.streamed()).endswith(b"data: [DONE]\n\n")


async def test_the_entity_tag_of_every_answer_is_passed_on():
    house = House(Script([TEXT], models_etag='W/"1"'), Script([TEXT]))
    for _ in range(2):
        await house.streamed()
    assert house.catalogs.tags == [(ACCOUNT.id, 'W/"1"'), (ACCOUNT.id, None)]


async def test_when_the_last_is_exhausted_the_client_is_told_and_then_nobody_is_asked():
    house = await pooled(Script(error=LIMIT))
    with pytest.raises(UpstreamRefused) as refused:
        await house.streamed()
    assert (refused.value.code, refused.value.status_hint) == ("usage_limit_reached", 429)
    assert house.openings == 2
    with pytest.raises(AccountsExhausted) as exhausted:
        await house.streamed()
    assert exhausted.value.retry_after_seconds == pytest.approx(600)
    assert house.openings == 2


async def test_a_login_that_has_ended_hands_over():
    house = await pooled(Script([TEXT]))
    house.signs_in = False
    await house.login(1, left_seconds=-1)
    house.issuer.living = set()
    assert (await house.streamed()).endswith(b"data: [DONE]\n\n")
    assert [each.account.id for each in house.upstream.credentials] == [BOB.id]


async def test_two_401s_hand_over():
    refused = Script(error=CredentialRefused("401"))
    house = await pooled(refused, refused, Script([TEXT]))
    assert (await house.streamed()).endswith(b"data: [DONE]\n\n")
    assert [each.account.id for each in house.upstream.credentials] == [ACCOUNT.id, ACCOUNT.id, BOB.id]


async def test_an_account_whose_record_does_not_open_hands_over(monkeypatch: pytest.MonkeyPatch):
    house = await pooled(Script([TEXT]))
    lease = house.one.keeper.lease

    async def tampered(account_id: str) -> Credential:
        if account_id == ACCOUNT.id:
            raise SealBroken("A record does not open.")
        return await lease(account_id)

    monkeypatch.setattr(house.one.keeper, "lease", tampered)
    assert (await house.streamed()).endswith(b"data: [DONE]\n\n")
    assert [each.account.id for each in house.upstream.credentials] == [BOB.id]


async def test_a_burst_is_not_carried_to_the_next_account():
    house = await pooled(Script(error=UpstreamRefused("burst", code="rate_limit_exceeded", status=429)))
    with pytest.raises(UpstreamRefused):
        await house.streamed()
    assert [each.account.id for each in house.upstream.credentials] == [ACCOUNT.id]


async def test_a_turn_is_counted_once_whatever_became_of_it():
    house = House(Script([TEXT]), Script([TEXT[: FIRST_DELTA + 600], 30.0]))
    await house.streamed()
    house.outcome = Outcome()
    async with house.reply() as reply:
        async for _ in frames_of(reply):
            break
    await house.ledger.settle()
    usage = await house.ledger.read(ACCOUNT.id)
    assert (usage.today["requests"], usage.today["failed"], usage.in_flight) == (2, 1, 0)
    assert usage.today["output_tokens"] > 0


# --- Models ----------------------------------------------------------------------------


async def test_an_unknown_model_is_explained():
    house = House(Script(error=UnknownModel("The 'gpt-5' model is not supported.")))
    with pytest.raises(UnknownModel) as caught:
        await house.streamed(turn(model="gpt-5"))
    assert caught.value.message.startswith("The 'gpt-5' model is not supported.")
    assert "gpt-5.5" in caught.value.message
    assert (caught.value.param, caught.value.status_hint) == ("model", 404)


# --- Farewells -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ([], "upstream_stream_truncated"),
        ([UpstreamBroken("reset")], "upstream_stream_truncated"),
        ([UpstreamTimeout("silence")], "upstream_timeout"),
    ],
)
async def test_a_turn_that_stops_in_the_middle_never_looks_complete(ending: list[Exception], code: str):
    script = Script([TEXT[: FIRST_DELTA + 600], *ending])
    house = House(script)
    assert failed(await house.streamed(), code)
    assert house.outcome.error is not None
    with pytest.raises(GptmockError) as caught:
        await House(script).collected()
    assert caught.value.code == code


async def test_an_answer_without_a_form_in_the_dialect_is_a_failed_one_in_the_log():
    house = House(Script([render_scene("filter")]))
    dialect = next(route.dialect for route in DIALECTS if route.name == "ollama_chat")
    body = json.dumps({"model": "gpt-5.5", "messages": [{"role": "user", "content": "hi"}]}).encode()
    asked = dialect.decode(Call(body), Terms(ModelCatalog(), Defaults()))
    assert isinstance(asked, Turn)
    assert b'{"error":' in await house.streamed(asked)
    assert house.outcome.error is not None
    assert house.outcome.error.code == "content_filter"
    assert house.outcome.response is not None, "what it has cost is known all the same"


class BrokenReply:
    """A reply plan with a fault of its own."""

    def __init__(self, good: ReplyPlan) -> None:
        self._good = good
        self.heartbeat, self.fold, self.document = good.heartbeat, good.fold, good.document

    def translator(self, head: ReplyHead) -> Translator:
        return BrokenTranslator(self._good.translator(head))


class BrokenTranslator:
    def __init__(self, good: Translator) -> None:
        self._good = good
        self._count = 0

    @property
    def failure(self) -> GptmockError | None:
        return self._good.failure

    def feed(self, received: Received) -> list[bytes]:
        self._count += 1
        if self._count == 6:
            raise ZeroDivisionError("a planted prompt")
        return self._good.feed(received)

    def finish(self, cause: GptmockError | None = None) -> list[bytes]:
        return self._good.finish(cause)


async def test_a_fault_of_our_own_is_a_farewell_and_a_traceback_in_the_log(caplog: pytest.LogCaptureFixture):
    house = House(Script([TEXT]))
    frames = await house.streamed(replace(turn(), reply=BrokenReply(turn().reply)))
    assert failed(frames, "internal_error")
    assert b"planted" not in frames
    (record,) = (each for each in caplog.records if each.getMessage() == "turn.broken")
    assert record.exc_info is not None
    assert house.upstream.open_now == 0


# --- Gone ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "blocks",
    [[60.0], [PREAMBLE, 60.0], [TEXT[: FIRST_DELTA + 600], 60.0]],
    ids=["before-any", "held-back", "in-the-text"],
)
@pytest.mark.parametrize("commit_seconds", [0.02, 60.0])
async def test_a_client_that_leaves_closes_the_upstream(blocks: list[bytes | Exception | float], commit_seconds: float):
    house = House(Script(blocks), commit_seconds=commit_seconds)
    asking = asyncio.ensure_future(house.streamed())
    await until(lambda: house.upstream.open_now == 1)
    await asyncio.sleep(0.05)
    asking.cancel()
    await asyncio.wait({asking})
    assert asking.cancelled()
    assert house.upstream.open_now == 0


@pytest.mark.parametrize("times", [1, 2])
async def test_a_client_that_leaves_at_any_step_leaves_no_turn_in_flight(times: int):
    """Also when it leaves with the last byte, as those do that ask once and close."""
    for step in range(1000):
        house = House(Script([TEXT]))
        await house.login(1)
        house.signs_in = False
        asking = asyncio.ensure_future(house.streamed())
        for _ in range(step):
            await asyncio.sleep(0)
        for _ in range(times):
            await asyncio.sleep(0)
            asking.cancel()
        await asyncio.wait({asking})
        await house.books.close()
        await house.ledger.settle()
        usage = await house.ledger.read(ACCOUNT.id)
        assert usage.in_flight == 0, f"left at step {step}"
        assert house.upstream.open_now == 0
        if not asking.cancelled():
            break
    assert step > 10
    assert usage.today["requests"] == 1


async def test_a_client_that_leaves_between_two_tries_leaves_nothing():
    house = House(Script(error=UNREACHABLE))
    asking = asyncio.ensure_future(house.streamed())
    await until(lambda: house.openings == 1)
    asking.cancel()
    await asyncio.wait({asking})
    assert (house.openings, house.upstream.open_now) == (1, 0)


async def test_a_failure_that_nobody_waits_for_any_more_is_not_reported():
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    house = House(Script([0.05, UpstreamBroken("late")]), commit_seconds=0.01)
    async with house.reply():
        await asyncio.sleep(0.1)
    gc.collect()
    await asyncio.sleep(0)
    assert reported == []


# --- Thinking of another account, compactions, a Codex client's headers ----------------------

RESPONSES = next(route.dialect for route in DIALECTS if route.name == "responses")
FOREIGN = UpstreamRefused("cannot be decrypted", code=FOREIGN_REASONING)


def with_reasoning(*, headers: Mapping[str, str] | None = None) -> Turn:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "foreign"}
    body = {"model": "gpt-5.5", "input": [thought, {"role": "user", "content": "hi"}], "stream": True}
    turn = RESPONSES.decode(Call(json.dumps(body).encode(), headers or {}), Terms(ModelCatalog(), Defaults()))
    assert isinstance(turn, Turn)
    return turn


@pytest.mark.parametrize(
    "refusal",
    [
        Script(error=FOREIGN),
        Script([sse({"type": "response.failed", "response": {"error": {"code": FOREIGN_REASONING, "message": "no"}}})]),
    ],
    ids=["status", "first event"],
)
async def test_foreign_thinking_is_left_out_and_tried_once_more(refusal: Script):
    house = House(refusal, Script([TEXT]))
    frames = await house.streamed(with_reasoning())
    assert b"event: response.completed" in frames
    assert [len(request.input) for request in house.upstream.requests] == [2, 1]
    assert (house.outcome.tries, house.outcome.reasoning_dropped) == (2, True)


async def test_a_second_refusal_of_thinking_is_the_end():
    house = House(Script(error=FOREIGN))
    with pytest.raises(UpstreamRefused):
        await house.streamed(with_reasoning())
    assert house.openings == 2


async def test_where_there_is_no_thinking_there_is_nothing_to_leave_out():
    house = House(Script(error=FOREIGN))
    with pytest.raises(UpstreamRefused):
        await house.streamed()
    assert house.openings == 1
    assert not house.outcome.reasoning_dropped


async def test_the_headers_of_a_codex_go_along_and_the_backends_come_back():
    house = House(Script([TEXT]))
    await house.streamed(with_reasoning(headers={"originator": "codex_exec"}))
    assert house.upstream.headers == {"originator": "codex_exec"}
    assert house.outcome.headers == {"x-codex-turn-state": "kept"}
    assert not house.outcome.pooled


async def test_a_compaction_is_tried_and_counted_as_a_turn_is():
    house = House(Script(error=CredentialRefused("old")), Script(error=FOREIGN), Script([b""]))
    await house.login(1)
    compacted = await house.gateway.compact(with_reasoning(), house.outcome)
    assert compacted.document["output"][0]["type"] == "compaction"
    assert house.outcome.tries == 3
    assert [name_of(one.access_token) for one in house.upstream.credentials] == ["access-1", "access-2", "access-2"]
    await house.ledger.settle()
    usage = await house.ledger.read(ACCOUNT.id)
    assert (usage.today, usage.in_flight) == ({"requests": 1, "input_tokens": 7}, 0)


async def test_a_compaction_that_fails_is_told():
    house = House(Script(error=UpstreamRefused("too long", code="context_length_exceeded")))
    await house.login(1)
    with pytest.raises(UpstreamRefused):
        await house.gateway.compact(with_reasoning(), house.outcome)
    assert house.openings == 1
