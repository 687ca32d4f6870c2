"""
The test language: upstream bytes in, frames out. Drives a route as the gateway does, and reads the reply as a client
would. A failure prints the script: each event that came in (``->``) and each frame that went out (``<-``).

A new dialect adds one row to ``CLIENTS``: how its clients ask, and how they read a stream and a document.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

from gptmock.accounts import Account, Credential, Secret
from gptmock.catalog import ModelCatalog
from gptmock.dialects.dialect import Call, Defaults, ReasoningStyle, ReplyHead, Terms, Turn
from gptmock.dialects.table import DialectRoute
from gptmock.errors import GptmockError, SealBroken
from gptmock.gateway.first_event import Opened
from gptmock.gateway.reply import Outcome, Reply
from gptmock.gateway.stored_responses import ConversationKeeper
from gptmock.protocol.events import ErrorEvent, ResponseCompleted, ResponseEvent, ResponseFailed, ResponseIncomplete
from gptmock.protocol.fold import FoldedResponse, ResponseFold
from gptmock.protocol.reader import Batch, EventReader, Received, received_of
from gptmock.upstream.bodies import Body
from gptmock.upstream.engine import Answer
from gptmock.upstream.event_stream import CodexEventStream
from gptmock.upstream.refusals import RefusalReader
from tests.messages_client import fold_messages, messages_body, messages_document, messages_text
from tests.ollama_client import (
    fold_ollama,
    ollama_chat_body,
    ollama_document,
    ollama_generate_body,
    ollama_tells,
    ollama_text,
)
from tests.responses_client import fold_responses, responses_body, responses_document, responses_text

HEAD = ReplyHead(id="0" * 29, created=1_790_000_000)
STYLES: tuple[ReasoningStyle, ...] = ("think-tags", "o3", "legacy", "reasoning-content", "hidden")
SEPARATORS = ("\u0085", "\u2028", "\u2029")
_SHOWN_CHARACTERS = 200


class Frames(list[bytes]):
    """The frames of a reply; they remember the script that led to them."""

    def __init__(self) -> None:
        super().__init__()
        self.script: list[str] = []
        self.failure: GptmockError | None = None
        """What the translator says of its own end."""

    def came(self, event: ResponseEvent) -> None:
        self.script.append(f"-> {event}"[:_SHOWN_CHARACTERS])

    def went(self, frames: Iterable[bytes]) -> None:
        for frame in frames:
            self.append(frame)
            self.script.append(f"<- {frame!r}"[:_SHOWN_CHARACTERS])

    @property
    def joined(self) -> bytes:
        return b"".join(self)

    def __repr__(self) -> str:
        return "\n".join(["Frames of this script:", *self.script])


def terms(**defaults: Any) -> Terms:
    """The built-in catalogue and these defaults."""
    return Terms(catalog=ModelCatalog(), defaults=Defaults(**defaults), sealing=RepeatableSealing())


@dataclass(frozen=True, slots=True)
class RepeatableSealing:
    """Seals the same record to the same bytes each time, so that replies can be compared; authenticated, not secret."""

    def seal(self, plain: bytes, *, kind: str, name: str, version: int) -> bytes:
        return hmac.digest(f"{kind}/{name}/{version}".encode(), plain, "sha256")[:8] + plain

    def open(self, sealed: bytes, *, kind: str, name: str, version: int) -> bytes:
        if self.seal(sealed[8:], kind=kind, name=name, version=version) != sealed:
            raise SealBroken("changed or moved")
        return sealed[8:]


def decode(route: DialectRoute, body: bytes, *, style: ReasoningStyle = "think-tags") -> Turn:
    turn = route.dialect.decode(Call(body), terms(reasoning_style=style))
    assert isinstance(turn, Turn), "the body asks for no model turn"
    return turn


def play(
    route: DialectRoute,
    upstream: bytes | Iterable[bytes],
    *,
    body: bytes | None = None,
    style: ReasoningStyle = "think-tags",
) -> Frames:
    """The streamed reply to these upstream bytes, driven as the gateway drives it."""
    turn = decode(route, client_of(route).body() if body is None else body, style=style)
    return translate(turn, upstream)


class ChunkedBody(Body):
    """A response body, one read after another."""

    complete = False

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)

    async def deliver(self, take: Callable[[bytes], bool]) -> bool:
        for chunk in self._chunks:
            if chunk and not take(chunk):
                return False
        self.complete = True
        return True


class CollectingSink:
    """A client that reads everything at once."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []

    def write(self, frames: bytes) -> bool:
        assert frames
        self.blocks.append(frames)
        return True

    async def ready(self) -> None:
        pass

    async def end(self, frames: bytes) -> None:
        self.blocks.append(frames)


def translate_fast(turn: Turn, upstream: bytes | Iterable[bytes]) -> bytes:
    """As ``translate``, but as it is driven: by the upstream's stream and the gateway's reply, deltas copied."""

    async def opened(stream: CodexEventStream) -> Opened:
        return Opened(stream)

    async def run() -> bytes:
        loop, sink = asyncio.get_running_loop(), CollectingSink()
        body = ChunkedBody([upstream] if isinstance(upstream, bytes) else upstream)
        stream = CodexEventStream(
            Answer(200, [], body),
            refusals=RefusalReader(Credential(Account("w"), Secret("t"), 1), lambda: 0.0),
            idle_seconds=60,
            ends_at=loop.time() + 3600,
            finds_runs=True,
        )
        accepting = loop.create_task(opened(stream))
        await Reply(turn, HEAD, accepting, Outcome(), conversations=ConversationKeeper(None)).stream(sink)
        return b"".join(sink.blocks)

    return asyncio.run(run())


def translate(turn: Turn, upstream: bytes | Iterable[bytes]) -> Frames:
    reader, translator, frames = EventReader(), turn.reply.translator(HEAD), Frames()

    def take(batch: Batch) -> None:
        for received in events_in(batch):
            frames.came(received.event)
            frames.went(translator.feed(received))

    try:
        for chunk in [upstream] if isinstance(upstream, bytes) else upstream:
            take(reader.feed(chunk))
        take(reader.finish())
    except GptmockError as cause:
        frames.went(translator.finish(cause))
    else:
        frames.went(translator.finish())
    frames.failure = translator.failure
    return frames


def collect(
    route: DialectRoute, upstream: bytes, *, body: bytes | None = None, style: ReasoningStyle = "think-tags"
) -> bytes | GptmockError:
    """The reply of ``stream: false`` to these upstream bytes, or why there is none."""
    turn = decode(route, client_of(route).body() if body is None else body, style=style)
    reader, fold = EventReader(), turn.reply.fold()
    try:
        batch = reader.feed(upstream)
        if not any(ends(received.event) for received in events_in(batch)):
            # Nobody reads on after the end of a turn.
            batch += reader.finish()
        for received in events_in(batch):
            fold.feed(received)
        return turn.reply.document(HEAD, fold.finish())
    except GptmockError as error:
        return error


def tells(route: DialectRoute, upstream: bytes) -> bool:
    """Whether these upstream bytes end well, and this route has a form for what they say."""
    fold = ResponseFold()
    try:
        for received in events_of(upstream):
            fold.feed(received)
        return client_of(route).tells(fold.finish())
    except GptmockError:
        return False


def split(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The same bytes in chunks, cut at these places."""
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


def events_of(data: bytes) -> list[Received]:
    """All events of a whole stream."""
    reader = EventReader()
    return events_in([*reader.feed(data), *reader.finish()])


def events_in(batch: Batch) -> list[Received]:
    """All events of a batch, one by one."""
    return [event for one in batch for event in ([one] if isinstance(one, Received) else received_of(one))]


def ends_well(event: ResponseEvent) -> bool:
    return isinstance(event, ResponseCompleted | ResponseIncomplete)


def ends(event: ResponseEvent) -> bool:
    return ends_well(event) or isinstance(event, ResponseFailed | ErrorEvent)


def sse(*events: Mapping[str, Any], line_end: bytes = b"\n") -> bytes:
    """Upstream bytes of these events, as the backend frames them."""
    return b"".join(
        b"event: "
        + str(event.get("type")).encode()
        + line_end
        + b"data: "
        + json.dumps(event, ensure_ascii=False).encode()
        + line_end * 2
        for event in events
    )


# --- Clients --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Read:
    """What a client has understood: a reply, or a failure and what stood before it."""

    reply: Mapping[str, Any]
    error: Mapping[str, Any] | None = None

    @property
    def succeeded(self) -> bool:
        return self.error is None


@dataclass(frozen=True, slots=True)
class Client:
    """How clients of one dialect ask and read; ``fold`` checks the grammar of the stream strictly."""

    body: Callable[..., bytes]
    fold: Callable[[Sequence[bytes]], Read]
    document: Callable[[bytes], Mapping[str, Any]]
    text: Callable[[Mapping[str, Any]], str]
    """The answer text of a reply."""
    tells: Callable[[FoldedResponse], bool] = lambda _: True
    """Whether the dialect has an honest form for a turn that ended well; where not, it ends with an error."""
    refuses_in_text: bool = False
    """A refusal is part of the answer text."""
    notes_images_in_text: bool = False
    """A note stands in the place of an image that cannot be shown."""


def client_of(route: DialectRoute) -> Client:
    assert route.name in CLIENTS, (
        f"The dialect '{route.name}' has no client in tests/playbook.py. Add a row to CLIENTS that says how its "
        "clients ask, and how they fold a stream and read a document; the laws then hold for it too."
    )
    return CLIENTS[route.name]


def as_client(route: DialectRoute, frames: Sequence[bytes]) -> Read:
    """Read a stream as a client of this route would, and hold it to its grammar."""
    try:
        return client_of(route).fold(frames)
    except AssertionError as error:
        error.add_note(repr(frames))
        raise


# --- Chat -----------------------------------------------------------------------------


def chat_body(*, stop: Sequence[str] = (), stream: bool = True, **more: Any) -> bytes:
    body: dict[str, Any] = {
        "model": "gpt-5.5",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": stream,
        "stream_options": {"include_usage": True},
        **more,
    }
    return json.dumps(body | ({"stop": list(stop)} if stop else {})).encode()


@dataclass(slots=True)
class _ChatFold:
    """Adds up chunks as the SDKs do, and checks client contracts 1.7 on the way."""

    fixed: Mapping[str, Any] | None = None
    has_usage_key: bool | None = None
    message: dict[str, Any] = field(default_factory=dict)
    calls: list[dict[str, Any]] = field(default_factory=list)
    finish: str | None = None
    annotated: bool = False
    reply: dict[str, Any] = field(default_factory=dict)

    def chunk(self, chunk: dict[str, Any]) -> None:
        assert "error" not in chunk, "a normal chunk has no key 'error'"
        assert set(chunk) <= {"id", "object", "created", "model", "choices", "usage", "service_tier"}, chunk.keys()
        fixed = {name: chunk[name] for name in ("id", "object", "created", "model")}
        if self.fixed is None:
            self.fixed, self.has_usage_key = fixed, "usage" in chunk
            assert fixed["object"] == "chat.completion.chunk"
            assert fixed["id"].startswith("chatcmpl-")
            assert isinstance(fixed["created"], int)
            assert fixed["model"]
        assert fixed == self.fixed, "id, object, created and model are the same in every chunk"
        if not chunk["choices"]:
            self.usage(chunk)
            return
        assert ("usage" in chunk) is self.has_usage_key, "usage stands in every chunk or in none"
        assert chunk.get("usage") is None, "usage comes only with empty choices"
        (choice,) = chunk["choices"]
        assert set(choice) == {"index", "delta", "logprobs", "finish_reason"}
        assert choice["index"] == 0
        assert choice["logprobs"] is None
        assert self.finish is None, "nothing but usage follows the finish chunk"
        assert "usage" not in self.reply, "nothing follows the usage chunk"
        if choice["finish_reason"] is None:
            assert "service_tier" not in chunk
            self.delta(choice["delta"])
        else:
            assert choice["delta"] == {}, "the finish chunk adds nothing"
            assert self.message, "the role chunk is first"
            self.finish = choice["finish_reason"]
            if "service_tier" in chunk:
                self.reply["service_tier"] = chunk["service_tier"]

    def usage(self, chunk: dict[str, Any]) -> None:
        assert self.finish is not None, "the usage chunk follows the finish chunk"
        assert self.has_usage_key, "usage was not asked for"
        assert "usage" not in self.reply, "usage is sent once"
        assert all(isinstance(chunk["usage"][name], int) for name in ("prompt_tokens", "completion_tokens"))
        self.reply["usage"] = chunk["usage"]

    def delta(self, delta: dict[str, Any]) -> None:
        if not self.message:
            assert delta == {"role": "assistant", "content": "", "refusal": None}, "the role chunk is first"
            self.message = dict(delta)
            return
        assert not self.annotated, "annotations stand just before the finish"
        assert len(delta) == 1, f"one thing for each chunk: {delta}"
        ((name, value),) = delta.items()
        assert name != "role", "the role is sent once"
        match name:
            case "content" | "refusal" | "reasoning_content" | "reasoning_summary":
                self._add(name, value)
            case "reasoning" if isinstance(value, str):
                self._add(name, value)
            case "reasoning":
                ((part,),) = value.values()
                assert part["type"] == "text"
                before = self.message.setdefault("reasoning", {"content": [{"type": "text", "text": ""}]})
                before["content"][0]["text"] += part["text"]
            case "annotations":
                assert value, "no empty annotations"
                self.annotated = True
                self.message["annotations"] = value
            case "images":
                assert value, "no empty images"
                self.message.setdefault("images", []).extend(value)
            case "tool_calls":
                self._call(value)
            case "function_call":
                self._legacy_call(value)
            case _:
                raise AssertionError(f"an unknown member of delta: {name}")

    def _add(self, name: str, value: str) -> None:
        assert isinstance(value, str)
        assert value, f"no empty {name}"
        self.message[name] = (self.message.get(name) or "") + value

    def _call(self, entries: list[dict[str, Any]]) -> None:
        (entry,) = entries
        index = entry["index"]
        if index == len(self.calls):
            kind, text = ("custom", "input") if "custom" in entry else ("function", "arguments")
            assert set(entry) == {"index", "id", "type", kind}
            assert entry["type"] == kind
            assert entry["id"]
            assert set(entry[kind]) == {"name", text}
            assert entry[kind][text] == ""
            self.calls.append({"id": entry["id"], "type": kind, kind: dict(entry[kind])})
            return
        assert index < len(self.calls), "indexes are contiguous from 0"
        call = self.calls[index]
        kind, text = ("custom", "input") if call["type"] == "custom" else ("function", "arguments")
        assert set(entry) == {"index", kind}, "id, type and name are sent once"
        assert set(entry[kind]) == {text}
        assert entry[kind][text], "no empty arguments"
        call[kind][text] += entry[kind][text]

    def _legacy_call(self, call: dict[str, str]) -> None:
        if "name" in call:
            assert "function_call" not in self.message, "the name is sent once"
            assert call["arguments"] == ""
            self.message["function_call"] = dict(call)
            return
        assert set(call) == {"arguments"}
        self.message["function_call"]["arguments"] += call["arguments"]

    def result(self) -> dict[str, Any]:
        message = dict(self.message)
        if self.calls:
            message["tool_calls"] = self.calls
        if not message["content"] and (self.calls or message["refusal"] or "function_call" in message):
            message["content"] = None
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish}
        fixed = {name: value for name, value in (self.fixed or {}).items() if name != "object"}
        return {**fixed, "choices": [choice], **self.reply}


def fold_chat(frames: Sequence[bytes]) -> Read:
    """A chat stream as an SDK adds it up; any breach of client contracts 1.7 is an ``AssertionError``."""
    state, done = _ChatFold(), False
    error: Mapping[str, Any] | None = None
    for frame in b"".join(frames).decode().split("\n\n")[:-1]:
        assert not done, "nothing follows [DONE]"
        assert error is None, "nothing follows an error"
        assert frame.startswith("data: ")
        data = frame.removeprefix("data: ")
        assert data, "no empty data"
        assert len(data.splitlines()) == 1, "one line, whatever one takes for a line end"
        if data == "[DONE]":
            done = True
            continue
        value = json.loads(data)
        if "error" in value and "choices" not in value:
            assert state.finish is None, "an error never follows a finish"
            assert set(value) == {"error"}
            assert set(value["error"]) == {"message", "type", "param", "code"}
            assert value["error"]["message"]
            error = value["error"]
        else:
            state.chunk(value)
    assert all(frame.endswith(b"\n\n") for frame in frames)
    assert done is (error is None), "[DONE] ends a reply, and never a failed one"
    if error is not None:
        return Read({}, error)
    assert state.finish is not None, "a reply has a finish reason"
    return Read(state.result())


def chat_document(document: bytes) -> Mapping[str, Any]:
    """A ``chat.completion``, without what only a document has."""
    assert not any(separator in document.decode() for separator in SEPARATORS)
    value: dict[str, Any] = json.loads(document)
    assert value.pop("object") == "chat.completion"
    assert value.pop("system_fingerprint") is None
    return value


def chat_text(reply: Mapping[str, Any]) -> str:
    return reply["choices"][0]["message"]["content"] or ""


def _ollama_client(body: Callable[..., bytes], *, chat: bool) -> Client:
    return Client(
        body,
        lambda frames: Read(*fold_ollama(frames, chat=chat)),
        partial(ollama_document, chat=chat),
        ollama_text,
        ollama_tells,
        refuses_in_text=True,
    )


# --- Text completions -----------------------------------------------------------------


def completion_body(*, stop: Sequence[str] = (), stream: bool = True, **more: Any) -> bytes:
    body: dict[str, Any] = {
        "model": "gpt-5.5",
        "prompt": "Hello",
        "stream": stream,
        "stream_options": {"include_usage": True},
        **more,
    }
    return json.dumps(body | ({"stop": list(stop)} if stop else {})).encode()


def fold_completion(frames: Sequence[bytes]) -> Read:
    """A text completion stream as an SDK adds it up; a breach of client contracts 2 is an ``AssertionError``."""
    assert all(frame.endswith(b"\n\n") for frame in frames)
    fixed: dict[str, Any] = {}
    choices: list[dict[str, Any]] = []
    usage: dict[str, Any] = {}
    error: Mapping[str, Any] | None = None
    done = False
    for frame in b"".join(frames).decode().split("\n\n")[:-1]:
        assert not done, "nothing follows [DONE]"
        assert error is None, "nothing follows an error"
        assert frame.startswith("data: ")
        data = frame.removeprefix("data: ")
        assert len(data.splitlines()) == 1, "one line, whatever one takes for a line end"
        if data == "[DONE]":
            done = True
            continue
        chunk = json.loads(data)
        if "choices" not in chunk:
            assert set(chunk) == {"error"}
            assert set(chunk["error"]) == {"message", "type", "param", "code"}
            error = chunk["error"]
            continue
        assert not usage, "nothing follows the usage chunk"
        head = {name: chunk[name] for name in ("id", "object", "created", "model")}
        assert head["object"] == "text_completion", "streamed and collected alike"
        assert head["id"].startswith("cmpl-")
        assert head == (fixed or head), "id, object, created and model are the same in every chunk"
        fixed = head
        if chunk["choices"]:
            assert chunk.get("usage") is None, "usage comes only with empty choices"
            _add_choice(choices, *chunk["choices"])
        else:
            usage = {"usage": chunk["usage"]}
    assert done is (error is None), "[DONE] ends a reply, and never a failed one"
    if error is not None:
        return Read({}, error)
    assert all(choice["finish_reason"] for choice in choices), "every choice has a finish reason"
    return Read({**{name: value for name, value in fixed.items() if name != "object"}, "choices": choices, **usage})


def _add_choice(choices: list[dict[str, Any]], choice: dict[str, Any]) -> None:
    assert set(choice) == {"text", "index", "logprobs", "finish_reason"}
    assert choice["logprobs"] is None
    if choice["index"] == len(choices):
        assert not choices or choices[-1]["finish_reason"], "one choice after another"
        choices.append({"text": "", "index": choice["index"], "logprobs": None, "finish_reason": None})
    open_now = choices[-1]
    assert choice["index"] == open_now["index"]
    assert open_now["finish_reason"] is None, "nothing follows the finish of a choice"
    assert bool(choice["text"]) is (choice["finish_reason"] is None), "text, or else the finish"
    assert choice["finish_reason"] in (None, "stop", "length", "content_filter")
    open_now["text"] += choice["text"]
    open_now["finish_reason"] = choice["finish_reason"]


def completion_document(document: bytes) -> Mapping[str, Any]:
    """A ``text_completion``, without what only a document has."""
    assert not any(separator in document.decode() for separator in SEPARATORS)
    value: dict[str, Any] = json.loads(document)
    assert value.pop("object") == "text_completion"
    return value


def completion_text(reply: Mapping[str, Any]) -> str:
    return str(reply["choices"][0]["text"])


CLIENTS: Mapping[str, Client] = {
    "chat": Client(chat_body, fold_chat, chat_document, chat_text),
    "completions": Client(completion_body, fold_completion, completion_document, completion_text, refuses_in_text=True),
    "messages": Client(
        messages_body,
        lambda frames: Read(*fold_messages(frames)),
        messages_document,
        messages_text,
        refuses_in_text=True,
        notes_images_in_text=True,
    ),
    "responses": Client(
        responses_body, lambda frames: Read(*fold_responses(frames)), responses_document, responses_text
    ),
    "ollama_chat": _ollama_client(ollama_chat_body, chat=True),
    "ollama_generate": _ollama_client(ollama_generate_body, chat=False),
}
