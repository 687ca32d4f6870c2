"""The replies that the compiled upstream plays, in the shapes of the simulator; written to a directory as files."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from gptmock.simulator.call import Call
from gptmock.simulator.catalogue import load_catalogue, weak_etag
from gptmock.simulator.events import Composer
from gptmock.simulator.limits import limit_headers, usage_report
from gptmock.simulator.steps import Event, Raw, framed

Kind = Literal["text", "reasoning", "tool", "json"]

MODEL = "gpt-5.5"
TOOL = {
    "type": "function",
    "name": "write_file",
    "description": "Write a text to a file.",
    "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
}
_HOLE = "@000000000000"
"""Where the upstream puts a send stamp; see ``native/upstream.c``."""
_INSTRUCTIONS = (
    "You are a coding agent. You write short and plain answers, and you say what you have not checked. " * 42
)
"""About 4 KB, which created, in_progress and completed repeat."""
_SPECIAL = {7: '"', 11: "\n", 13: "é", 17: "\\"}
"""Deltas with something to escape, in the frequency of prose and code."""


def name_of(kind: Kind, deltas: int, *, stamped: bool) -> str:
    """The file of a reply, without its suffix."""
    return f"{kind}-{deltas}{'-stamped' if stamped else ''}"


def marker(kind: Kind, deltas: int, *, rate: float = 0, wait_seconds: float = 0) -> str:
    """The word in a request that chooses its reply: fast for ``rate`` 0, else that many deltas a second."""
    return f"bench:{name_of(kind, deltas, stamped=rate > 0)}:{rate:g}:{round(wait_seconds * 1000)}:"


def write(directory: Path, wanted: Sequence[tuple[Kind, int, bool]]) -> None:
    """
    Write all that the upstream serves.

    Args:
        directory: exists.
        wanted: kind, number of deltas, and whether they are stamped, of each reply.
    """
    models = load_catalogue().listing((999,), "plus", "0.0.0")
    etag, now = weak_etag(models), int(time.time())
    limits = limit_headers(now=now, used_percent=12)
    head = {**limits, "x-models-etag": etag, "openai-model": MODEL, "x-oai-request-id": "0123456789abcdef"}
    (directory / "head").write_text("".join(f"{name}: {value}\r\n" for name, value in head.items()))
    (directory / "models.json").write_bytes(models)
    (directory / "models.etag").write_text(etag)
    usage = usage_report(now=now, used_percent=12, plan="plus")
    (directory / "usage.json").write_bytes(msgspec.json.encode(usage))
    for kind, deltas, stamped in wanted:
        blocks = (step.data for step in framed(_events(kind, deltas, stamped=stamped)) if isinstance(step, Raw))
        (directory / f"{name_of(kind, deltas, stamped=stamped)}.sse").write_bytes(b"".join(blocks))


def _events(kind: Kind, deltas: int, *, stamped: bool) -> Iterator[Event]:
    body: dict[str, Any] = {"instructions": _INSTRUCTIONS, "tools": [TOOL] if kind == "tool" else []}
    composer = Composer(Call(body=body, model=MODEL, seed=f"{kind}{deltas}"))
    pieces = _pieces(deltas, stamped=stamped, plain=kind != "text")
    yield from composer.start()
    if kind == "reasoning":
        yield from composer.reasoning(["".join(pieces)])
        yield from composer.message("Done.")
    elif kind == "tool":
        pieces = _enclosed('{"text":"', pieces)
        yield from composer.function_call("write_file", "".join(pieces), pieces=pieces)
    else:
        pieces = _enclosed('{"answer":"', pieces) if kind == "json" else pieces
        yield from composer.reasoning([])
        yield from composer.message("".join(pieces), pieces=pieces)
    yield composer.completed()


def _pieces(deltas: int, *, stamped: bool, plain: bool) -> list[str]:
    """Words with the space before them, 4 to 20 bytes; the same for the same arguments."""
    chance = random.Random(deltas)
    words = []
    for number in range(deltas):
        letters = chance.choices("etaoinshrdlucmfw", k=2 if stamped else min(19, 3 + int(chance.expovariate(0.3))))
        special = "" if plain else _SPECIAL.get(number % 23, "")
        words.append(" " + "".join(letters) + special + (_HOLE if stamped else ""))
    return words


def _enclosed(begin: str, pieces: list[str]) -> list[str]:
    """The first and the last piece carry the JSON around the text, so that the number of deltas stays."""
    if not pieces:
        return []
    pieces = [begin + pieces[0], *pieces[1:]]
    return [*pieces[:-1], pieces[-1] + '"}']
