"""What is measured: each cell is one load, put on several servers in turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tests.benchmarks.replies import MODEL, TOOL, Kind, marker

Dialect = Literal["chat", "responses", "ollama", "collected", "upstream"]
"""What the client speaks; ``collected`` is chat without a stream, ``upstream`` what nginx passes on."""

PACE = 50.0
"""Deltas a second of a paced stream; a fast model."""
HELD_SECONDS = 0.020
"""Streams count as held while the p99 of the delay of their deltas is below this."""

_PATHS: Mapping[Dialect, str] = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "ollama": "/api/chat",
    "collected": "/v1/chat/completions",
    "upstream": "/backend-api/codex/responses",
}
_FRAMES: Mapping[Dialect, str] = {"ollama": "{", "collected": "{"}
_ENDS: Mapping[Dialect, str] = {
    "chat": "data: [DONE]",
    "responses": '"response.completed"',
    "ollama": '"done":true',
    "collected": '"finish_reason"',
    "upstream": '"response.completed"',
}
_PROSE = "Explain in plain words what a reverse proxy does, and when one is needed. " * 4
_SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """
    One load.

    ``unit`` is what CPU time is divided by: a ``frame`` is a delta that was delivered, whichever way it is framed, so
    that the figures of a pass-through and of a translation can be compared.
    """

    name: str
    title: str
    dialect: Dialect = "chat"
    kind: Kind = "text"
    deltas: int = 200
    rate: float = 0
    """Deltas a second of each stream; 0 for as fast as they are read."""
    connections: int = 16
    seconds: float = 1.5
    """For so long new requests begin; 0 for ``requests``."""
    requests: int = 0
    unit: Literal["frame", "request"] = "frame"
    targets: tuple[str, ...] = ("nginx", "plain", "ours")
    pinned: bool = True
    """The servers have one core for themselves; else all processes share all cores."""
    wait_seconds: float = 0
    """Before the first delta."""
    gates: Mapping[str, float] | None = None
    """What ours may cost, as a multiple of another target's cost."""

    def path(self, dialect: Dialect) -> str:
        """Where the request goes."""
        return _PATHS[dialect]

    def spoken(self, dialects: frozenset[Dialect]) -> Dialect:
        """The dialect in which a server is asked that knows these."""
        return self.dialect if self.dialect in dialects else "upstream"

    def options(self, dialect: Dialect) -> dict[str, Any]:
        """Of the load generator."""
        options: dict[str, Any] = {"connections": self.connections, "end": _ENDS[dialect]}
        options["frame"] = _FRAMES.get(dialect, "data: {")
        options["deltas"] = 0 if dialect == "collected" else self.deltas
        options |= {"seconds": self.seconds} if self.seconds else {"requests": self.requests}
        if self.rate:
            # Spread over a second, so that the streams do not speak in step.
            options |= {"stamps": 1, "ramp": 1}
        return options

    def body(self, dialect: Dialect) -> dict[str, Any]:
        """The request. Eight '#' become its number: every request is a conversation of its own."""
        text = f"{marker(self.kind, self.deltas, rate=self.rate, wait_seconds=self.wait_seconds)} ######## {_PROSE}"
        streamed = dialect != "collected"
        if dialect == "upstream":
            return {"model": MODEL, "input": [{"role": "user", "content": text}], "stream": True}
        if dialect == "responses":
            tools = {"tools": [TOOL]} if self.kind == "tool" else {}
            return {"model": MODEL, "input": text, "stream": True, "store": False, **tools}
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
        body: dict[str, Any] = {"model": MODEL, "messages": messages, "stream": streamed}
        if self.kind == "tool":
            body["tools"] = [{"type": "function", "function": {k: v for k, v in TOOL.items() if k != "type"}}]
        if self.kind == "json":
            schema = {"name": "answer", "strict": True, "schema": _SCHEMA}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body


def paced(name: str, title: str, connections: int, **more: Any) -> Cell:
    """Streams that speak at the pace of a model; each is one request."""
    more = {"deltas": 150, **more}
    return Cell(name=name, title=title, rate=PACE, connections=connections, seconds=0, requests=connections, **more)


FAST = Cell(
    name="fast",
    title="fast: 200 deltas, 16 connections",
    targets=("direct", "nginx", "plain", "ours"),
    gates={"plain": 0.10, "nginx": 9},
)
PACED = paced(
    "paced-200",
    "paced: 200 streams at 50/s",
    200,
    targets=("direct", "nginx", "plain", "ours"),
    gates={"plain": 0.36, "nginx": 2.3},
)
QUICK = (
    Cell(name="fast", title=FAST.title, seconds=0.8, gates=FAST.gates),
    paced("paced-100", "paced: 100 streams at 50/s", 100, deltas=80),
)
FULL = (
    FAST,
    PACED,
    paced("paced-80", "paced: 80 streams at 50/s", 80),
    Cell(name="fast-1000", title="fast: 1,000 deltas, 16 connections", deltas=1000),
    Cell(
        name="request",
        title="request without deltas, 4 connections",
        deltas=0,
        connections=4,
        unit="request",
        gates={"plain": 1},
    ),
    Cell(
        name="bulk",
        title="bulk: 1,000 collected json_schema requests of 40 deltas, 200 at a time",
        dialect="collected",
        kind="json",
        deltas=40,
        connections=200,
        seconds=0,
        requests=1000,
        unit="request",
        targets=("plain", "ours"),
        gates={"plain": 0.25},
    ),
    Cell(
        name="keys",
        title="request without deltas: no key, a key, a key with limits",
        deltas=0,
        connections=4,
        unit="request",
        targets=("ours, no key", "ours", "ours, limits"),
    ),
    Cell(name="fast-reasoning", title="fast: 200 reasoning deltas", kind="reasoning"),
    Cell(name="fast-tools", title="fast: 200 deltas of tool arguments", kind="tool"),
    Cell(name="fast-responses", title="fast: Responses", dialect="responses", targets=("nginx", "ours")),
    Cell(name="fast-ollama", title="fast: Ollama", dialect="ollama", targets=("nginx", "ours")),
    paced("paced-reasoning", "paced: 200 streams of reasoning", 200, kind="reasoning", targets=("nginx", "ours")),
    paced("paced-tools", "paced: 200 streams of tool arguments", 200, kind="tool", targets=("nginx", "ours")),
    paced("paced-responses", "paced: 200 streams, Responses", 200, dialect="responses", targets=("nginx", "ours")),
    paced("paced-ollama", "paced: 200 streams, Ollama", 200, dialect="ollama", targets=("nginx", "ours")),
    Cell(
        name="workers", title="fast, all cores: one worker and two", targets=("ours", "ours, 2 workers"), pinned=False
    ),
)
"""The targets beside ``ours`` are left out where they do not run."""

WAITING = Cell(
    name="waiting",
    title="streams that wait for their first delta",
    deltas=1,
    connections=400,
    seconds=0,
    requests=400,
    wait_seconds=6,
    targets=("ours",),
)
ACTIVE = paced("active", "streams at 50/s", 400, targets=("ours",))
BESIDE = paced("beside", "20 streams at 50/s beside a large request", 20, targets=("ours",))
"""What a large request must not hold up."""
HELD_LEVELS = (50, 100, 150, 200, 300, 400, 500, 600, 800, 1000, 1200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Large:
    """A request with a large body; ``size_bytes`` of an image or of text."""

    name: str
    dialect: Dialect
    size_bytes: int
    image: bool

    def body(self) -> dict[str, Any]:
        """A request for a short reply."""
        text = marker("text", 1)
        if not self.image:
            text = f"{text} {'All work and no play. ' * (self.size_bytes // 22)}"
        image = "iVBORw0KGgoAAAAN" * (self.size_bytes // 16)
        url = f"data:image/png;base64,{image}"
        if self.dialect == "ollama":
            return {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": text, "images": [image]}]}
        if self.dialect == "responses":
            parts: list[dict[str, Any]] = [{"type": "input_text", "text": text}]
            parts += [{"type": "input_image", "image_url": url}] if self.image else []
            content = {"input": [{"role": "user", "content": parts}], "store": False}
        else:
            parts = [{"type": "text", "text": text}]
            parts += [{"type": "image_url", "image_url": {"url": url}}] if self.image else []
            content = {"messages": [{"role": "user", "content": parts}]}
        return {"model": MODEL, "stream": True, **content}

    def options(self) -> dict[str, Any]:
        """Of the load generator."""
        frame = _FRAMES.get(self.dialect, "data: {")
        return {"connections": 1, "requests": 1, "end": _ENDS[self.dialect], "frame": frame, "deltas": 1}

    @property
    def path(self) -> str:
        """Where the request goes."""
        return _PATHS[self.dialect]


LARGE = (
    Large(name="20 MB with an image, chat", dialect="chat", size_bytes=20_000_000, image=True),
    Large(name="20 MB with an image, Responses", dialect="responses", size_bytes=20_000_000, image=True),
    Large(name="20 MB with an image, Ollama", dialect="ollama", size_bytes=20_000_000, image=True),
    Large(name="24 MB of text, chat", dialect="chat", size_bytes=24_000_000, image=False),
    Large(name="5 MB with an image, chat", dialect="chat", size_bytes=5_000_000, image=True),
)


def held(streams: int) -> Cell:
    """A step of the ladder."""
    return paced(f"held-{streams}", f"{streams} streams at 50/s", streams)
