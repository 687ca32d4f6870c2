"""The table of scenes: the named replies that the simulator can play, and their bytes. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from gptmock.simulator import scene_faults as faults
from gptmock.simulator import scene_refusals as refuse
from gptmock.simulator import scene_replies as replies
from gptmock.simulator.call import Call
from gptmock.simulator.encodings import ENCODERS
from gptmock.simulator.refusals import Refusal, detail
from gptmock.simulator.smart import smart
from gptmock.simulator.steps import Json, Step

Ending = Literal["completed", "incomplete", "failed", "error", "cut"]
MARKER = re.compile(r"scene:([a-z0-9+-]+)(?::([A-Za-z0-9_.]+))?")

DEFAULT_REQUEST: Mapping[str, Any] = MappingProxyType(
    {
        "model": "gpt-5.5",
        "instructions": "",
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}],
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "stream": True,
    }
)
"""The default request of :func:`render_scene`."""


@dataclass(frozen=True, slots=True)
class StreamScene:
    """A scene that answers 200 with a stream."""

    name: str
    summary: str
    play: Callable[[Call], Iterable[Step]]
    ending: Ending = "completed"
    """The terminal event that a conforming SSE parser sees; ``cut`` for none."""
    parameter: Literal["", "code", "seconds", "codings"] = ""
    """The parameter that its name may have, behind a colon."""

    def codings(self, parameter: str) -> tuple[str, ...]:
        """The codings of the body in the order in which they are applied; mostly none."""
        return tuple((parameter or "gzip").split(".")) if self.parameter == "codings" else ()


@dataclass(frozen=True, slots=True)
class RefusalScene:
    """A scene that answers with no stream: an error status, a redirect, or a 200 with a document."""

    name: str
    summary: str
    refuse: Callable[[Call], Refusal]


Scene = StreamScene | RefusalScene
_S, _R, _whole = StreamScene, RefusalScene, replies.whole

_TABLE: tuple[Scene, ...] = (
    _S("auto", "what a model would do with the request: the mode without a scene", smart),
    _S("text", "a short text in several deltas", _whole(replies.text)),
    _S("long", "a text in 200 deltas", _whole(replies.long)),
    _S("reasoning", "two summary parts of reasoning, then a text", _whole(replies.reasoning)),
    _S("reasoning-raw", "the raw thought (reasoning_text), then a text", _whole(replies.reasoning_raw)),
    _S("sealed", "reasoning without a summary, then as auto", _whole(replies.sealed)),
    _S("interleaved", "reasoning, text, reasoning, text", _whole(replies.interleaved)),
    _S("tool", "one function call", _whole(replies.tool)),
    _S("tools2", "reasoning, then two function calls", _whole(replies.two_tools)),
    _S("text+tool", "a text, then a function call", _whole(replies.text_and_tool)),
    _S("custom", "a custom tool call", _whole(replies.custom)),
    _S("oneshot-arguments", "a function call whose arguments come in one delta", _whole(replies.one_shot_arguments)),
    _S("search", "a web search and a text with url citations", _whole(replies.search)),
    _S("refusal", "the model refuses in a refusal part", _whole(replies.refusal)),
    _S("two-messages", "a commentary message, then the final answer", _whole(replies.two_messages)),
    _S("image", "an image generation call", _whole(replies.image)),
    _S("done-only", "no deltas: everything stands in the finished items", replies.done_only),
    _S("noids", "items without id, deltas without item_id", replies.without_ids),
    _S("vendor-first", "codex.rate_limits and response.metadata come first", replies.vendor_first),
    _S("unknown", "unknown events, items and fields", replies.unknown),
    _S("filled", "completed carries the output, as before April 2026", replies.filled),
    _S("substitute", "another model answers", replies.substitute),
    _S("queued", "the reply is queued first", replies.queued),
    _S("separators", "U+0085, U+2028, U+2029 inside the text", _whole(replies.separators)),
    _S("incomplete", "stopped at max_output_tokens", replies.incomplete, "incomplete"),
    _S("filter", "stopped by the content filter", replies.filtered, "incomplete"),
    _S("failed-first", "response.failed right after the start", replies.failed_first, "failed", "code"),
    _S("failed-mid", "response.failed after some text", replies.failed_mid, "failed", "code"),
    _S("overload", "server_is_overloaded inside a 200, right after the start", replies.overload, "failed"),
    _S("error-event", "a flat error event after some text", replies.error_event, "error", "code"),
    _S("error-event-nested", "a wrapped error event after some text", replies.error_event_nested, "error", "code"),
    _S("eof-mid", "the body ends after some text, without an ending", faults.eof_mid, "cut"),
    _S("eof-first", "the body is empty", faults.eof_first, "cut"),
    _S("abort-mid", "the connection is reset after some text", faults.abort_mid, "cut"),
    _S("truncated-chunk", "the connection closes inside a chunk", faults.truncated_chunk, "cut"),
    _S("stall", "silence after some text, 60 seconds or the parameter", faults.stall, "completed", "seconds"),
    _S(
        "silent", "silence before the first content, 60 seconds or the parameter", faults.silent, "completed", "seconds"
    ),
    _S("slow-head", "the response head is late, 5 seconds or the parameter", faults.slow_head, "completed", "seconds"),
    _S("garbage", "no JSON, no object, no type, undecodable bytes between good events", faults.garbage),
    _S("odd-splits", "writes end inside lines, JSON and UTF-8 sequences", faults.odd_splits),
    _S("crlf", "lines end with CRLF", faults.line_ends(b"\r\n")),
    _S("cr", "lines end with CR", faults.line_ends(b"\r")),
    _S("bom", "a byte order mark comes first", faults.bom),
    _S("comments", "comments, id and retry fields everywhere", faults.comments),
    _S("multiline", "the JSON of an event in several data lines", faults.multiline),
    _S("nobreak", "the last event lacks its empty line, so it never happened", faults.no_break, "cut"),
    _S("giant", "one delta is over 16 MiB", faults.giant),
    _S(
        "encoded",
        f"an encoded stream: gzip, or the parameter ({', '.join(ENCODERS)}; several as gzip.zstd)",
        faults.encoded,
        "completed",
        "codings",
    ),
    _R("200-detail", "a 200 with the gateway's error instead of a stream", refuse.fixed(refuse.CLOSED)),
    _R("200-error", "a 200 with the model API's error, and no content type", refuse.burst_in_ok),
    _R("200-401", "a 200 with the refusal of every access token", refuse.fixed(refuse.INVALIDATED_IN_OK)),
    _R("200-html", "a 200 with a web page", refuse.fixed(refuse.SIGN_IN_PAGE)),
    _R("302", "a redirect to a sign-in page on another host", refuse.fixed(refuse.REDIRECT)),
    _R("400-detail", "an unsupported parameter", refuse.fixed(refuse.UNSUPPORTED)),
    _R("400-policy", "the safety system rejects the prompt of an image", refuse.fixed(refuse.IMAGE_POLICY)),
    _R("400-effort", "an unsupported effort", refuse.effort),
    _R("401", "this access token is refused from now on; a refreshed one is served", refuse.fixed(refuse.INVALIDATED)),
    _R("401-always", "every access token is refused", refuse.fixed(refuse.INVALIDATED)),
    _R("402", "the workspace is deactivated", refuse.fixed(refuse.DEACTIVATED)),
    _R("403-html", "a Cloudflare challenge page", refuse.fixed(refuse.CLOUDFLARE)),
    _R("404-gate", "the model is gated by client identity", refuse.gate),
    _R("429-usage", "the usage limit is reached, with reset times", refuse.usage_limit),
    _R("429-usage-noreset", "the usage limit is reached, without reset times", refuse.usage_limit_without_reset),
    _R("429-burst", "too many requests, try again in 1.5 s", refuse.burst),
    _R("429-not-included", "the plan lacks Codex", refuse.not_included),
    _R("500", "a server error", refuse.fixed(refuse.SERVER_ERROR)),
    _R("502-html", "a gateway's HTML page", refuse.fixed(refuse.BAD_GATEWAY)),
    _R("503-overload", "the servers are overloaded", refuse.fixed(refuse.OVERLOADED)),
    _R("504", "a gateway's timeout in plain text", refuse.fixed(refuse.GATEWAY_TIMEOUT)),
)

SCENES: Mapping[str, Scene] = MappingProxyType({scene.name: scene for scene in _TABLE})
"""Every scene by name."""

SCENE_NAMES: tuple[str, ...] = tuple(SCENES)
STREAM_SCENES: Mapping[str, StreamScene] = MappingProxyType(
    {scene.name: scene for scene in _TABLE if isinstance(scene, StreamScene)}
)
"""The scenes that answer 200 with a stream, which :func:`render_scene` can render."""
STREAM_SCENE_NAMES: tuple[str, ...] = tuple(STREAM_SCENES)


class UnknownSceneError(ValueError):
    """There is no scene of this name, or it does not take this parameter; the message lists the valid ones."""


@dataclass(frozen=True, slots=True)
class ChosenScene:
    """A scene and its parameter."""

    scene: Scene
    parameter: str = ""


def find_scene(name: str) -> ChosenScene:
    """
    The scene called ``name``, a parameter behind a colon included.

    Raises:
        UnknownSceneError: the name is not in the table, or the parameter does not fit it.
    """
    base, _, parameter = name.partition(":")
    scene = SCENES.get(base)
    if scene is None:
        raise UnknownSceneError(f"no scene is called {base!r}; known are: {', '.join(SCENE_NAMES)}")
    if parameter and not _fits(scene, parameter):
        raise UnknownSceneError(f"scene {base!r} does not take {parameter!r}; codes are: {', '.join(replies.FAILURES)}")
    return ChosenScene(scene, parameter)


def marked_scene(call: Call) -> str | None:
    """The scene named by a marker in the last user message; ``None`` if tool outputs follow that message."""
    found = MARKER.search(call.last_user_text) if call.ends_with_user else None
    if found is None:
        return None
    parameter = (found[2] or "").rstrip(".")
    return f"{found[1]}:{parameter}" if parameter else found[1]


def unknown_scene(error: UnknownSceneError) -> Refusal:
    """The response to a call for an unknown scene."""
    return detail(str(error))


def scene_steps(name: str, call: Call) -> Iterable[Step]:
    """
    The steps of a stream scene for ``call``.

    Raises:
        UnknownSceneError: ``name`` is unknown or is no stream.
    """
    chosen = find_scene(name)
    if not isinstance(chosen.scene, StreamScene):
        raise UnknownSceneError(f"scene {name!r} is not a stream; streams are: {', '.join(STREAM_SCENE_NAMES)}")
    return chosen.scene.play(replace(call, parameter=chosen.parameter))


def render_scene(name: str, *, request: Json | None = None) -> bytes:
    """
    The complete byte stream of a stream scene, without its pauses and codings; deterministic for a given request.

    Raises:
        UnknownSceneError: ``name`` is unknown or is no stream.
    """
    body = dict(DEFAULT_REQUEST) if request is None else request
    seed = msgspec.json.encode(body, order="deterministic").decode()
    call = Call(body=body, model=str(body.get("model", DEFAULT_REQUEST["model"])), seed=seed)
    return faults.rendered(iter(scene_steps(name, call)))


def _fits(scene: Scene, parameter: str) -> bool:
    if isinstance(scene, RefusalScene) or not scene.parameter:
        return False
    if scene.parameter == "code":
        return parameter in replies.FAILURES
    if scene.parameter == "codings":
        return all(name in ENCODERS for name in parameter.split("."))
    return re.fullmatch(r"\d+(\.\d+)?", parameter) is not None
