"""Builds the events of a reply, in their order and with all members. Pure; knows no scene.

Sources: the recording of July 2026 for created, in_progress, output_item, content_part, output_text,
function_call_arguments, reasoning_summary and completed; openai/openai-openapi for the rest.
"""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gptmock.simulator.call import Call
from gptmock.simulator.pictures import PIXEL, made_size, picture
from gptmock.simulator.replied import response_document, usage_document
from gptmock.simulator.steps import Event, Json


def event(kind: str, /, **fields: Any) -> Event:
    """An event whose type is ``response.`` and ``kind``."""
    return Event({"type": f"response.{kind}", **fields})


def words(text: str) -> list[str]:
    """``text`` split like a model's deltas: a word with the space before it, at most 24 characters."""
    found = re.findall(r"\s*\S{1,24}|\s+", text)
    return [str(piece) for piece in found]


def slices(text: str, size: int = 6) -> list[str]:
    """``text`` split every ``size`` characters."""
    return [text[start : start + size] for start in range(0, len(text), size)]


def text_part(text: str, annotations: Sequence[Json] = ()) -> Json:
    """A content part of type ``output_text``."""
    return {"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": []}


class Composer:
    """Builds the events of one reply in order; keeps the next ``output_index`` and the counts for ``usage``."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._index = -1
        self._deltas = 0
        self._written = 0
        self._thought = 0
        self._searches = 0
        self._images = 0
        self._output: list[Json] = []

    # -- status events ------------------------------------------------------------------------------------------------

    def start(self) -> Iterator[Event]:
        """``response.created`` and ``response.in_progress``."""
        yield self.status("created")
        yield self.status("in_progress")

    def status(self, kind: str, *, status: str = "in_progress") -> Event:
        """A ``response.<kind>`` event before the terminal one."""
        return event(kind, response=response_document(self._call, status=status))

    def completed(self) -> Event:
        """``response.completed``, with usage; ``output`` is empty unless ``Call.filled_output``."""
        return event("completed", response=self._ended("completed"))

    def incomplete(self, reason: str) -> Event:
        """``response.incomplete`` for ``max_output_tokens`` or ``content_filter``."""
        return event("incomplete", response=self._ended("incomplete", incomplete_details={"reason": reason}))

    def failed(self, code: str, message: str) -> Event:
        """``response.failed`` in its short form, as the backend sends it."""
        short: Json = {
            "id": self._call.identify("resp", 0),
            "object": "response",
            "created_at": self._call.created_at,
            "status": "failed",
            "background": False,
            "error": {"code": code, "message": message},
            "usage": None,
            "user": None,
            "metadata": {},
        }
        return event("failed", response=short)

    def _ended(self, status: str, **changes: Any) -> Json:
        changes["usage"] = usage_document(self._call, written=self._written, thought=self._thought)
        changes["output"] = self._output if self._call.filled_output else []
        return response_document(self._call, status=status, searches=self._searches, images=self._images, **changes)

    # -- items --------------------------------------------------------------------------------------------------------

    def message(
        self, text: str, *, phase: str = "final_answer", citations: Sequence[Json] = (), pieces: Sequence[str] = ()
    ) -> Iterator[Event]:
        """A message item with one text part; its deltas are ``pieces``, by default words."""
        item, spot = self._open("msg", {"type": "message", "role": "assistant", "phase": phase, "content": []})
        spot["content_index"] = 0
        yield self._added(item)
        yield event("content_part.added", **spot, part=text_part(""))
        for piece in pieces or words(text):
            yield self._delta("output_text.delta", spot, piece, logprobs=[])
        for number, note in enumerate(citations):
            yield event("output_text.annotation.added", **spot, annotation_index=number, annotation=note)
        part = text_part(text, citations)
        yield event("output_text.done", **spot, text=text, logprobs=[])
        yield event("content_part.done", **spot, part=part)
        yield self._done(item, content=[part])

    def refusal(self, text: str) -> Iterator[Event]:
        """A message item whose only part is a refusal."""
        item, spot = self._open("msg", {"type": "message", "role": "assistant", "phase": "final_answer", "content": []})
        spot["content_index"] = 0
        part = {"type": "refusal", "refusal": text}
        yield self._added(item)
        yield event("content_part.added", **spot, part={"type": "refusal", "refusal": ""})
        for piece in words(text):
            yield self._delta("refusal.delta", spot, piece)
        yield event("refusal.done", **spot, refusal=text)
        yield event("content_part.done", **spot, part=part)
        yield self._done(item, content=[part])

    def reasoning(self, parts: Sequence[str], *, raw: str = "") -> Iterator[Event]:
        """A reasoning item with summary parts, ``raw`` reasoning text, or neither."""
        item, spot = self._open("rs", {"type": "reasoning", "summary": [], "content": []})
        del item["status"]
        item["encrypted_content"] = self._sealed(item["id"])
        yield self._added(item)
        for number, text in enumerate(parts):
            yield from self._summary_part({**spot, "summary_index": number}, text)
        if raw:
            yield from self._raw_thought({**spot, "content_index": 0}, raw)
        content = [{"type": "reasoning_text", "text": raw}] if raw else []
        yield self._done(item, summary=[{"type": "summary_text", "text": text} for text in parts], content=content)

    def function_call(
        self, name: str, arguments: str, *, namespace: str | None = None, pieces: Sequence[str] = ()
    ) -> Iterator[Event]:
        """A function call; its deltas are ``pieces``, by default of six characters."""
        begun: Json = {"type": "function_call", "call_id": self._call_id(), "name": name, "arguments": ""}
        if namespace:
            begun["namespace"] = namespace
        item, spot = self._open("fc", begun)
        yield self._added(item)
        for piece in pieces or slices(arguments):
            yield self._delta("function_call_arguments.delta", spot, piece)
        yield event("function_call_arguments.done", **spot, arguments=arguments)
        yield self._done(item, arguments=arguments)

    def custom_call(self, name: str, text: str, *, namespace: str | None = None) -> Iterator[Event]:
        """A custom tool call with free-form input."""
        begun: Json = {"type": "custom_tool_call", "call_id": self._call_id(), "name": name, "input": ""}
        if namespace:
            begun["namespace"] = namespace
        item, spot = self._open("ctc", begun)
        yield self._added(item)
        for piece in slices(text, 10):
            yield self._delta("custom_tool_call_input.delta", spot, piece)
        yield event("custom_tool_call_input.done", **spot, input=text)
        yield self._done(item, input=text)

    def web_search(self, query: str) -> Iterator[Event]:
        """A web search call with its status events."""
        item, spot = self._open("ws", {"type": "web_search_call"})
        self._searches += 1
        yield self._added(item)
        for phase in ("in_progress", "searching", "completed"):
            yield event(f"web_search_call.{phase}", **spot)
        action: Json = {"type": "search", "query": query, "queries": [query]}
        if "web_search_call.action.sources" in (self._call.body.get("include") or []):
            action["sources"] = [{"type": "url", "url": "https://example.test/source"}]
        yield self._done(item, action=action)

    def image(self, prompt: str) -> Iterator[Event]:
        """An image generation call, by the options of the tool; one pixel if the tool was not offered."""
        options = next((spec for spec in self._call.tool_specs if spec.get("type") == "image_generation"), None)
        self._images += 1
        shape = {"output_format": "png", "size": "1024x1024", "background": "opaque"}
        result, partials = PIXEL, 1
        if options is not None:
            wanted = {name: options.get(name) for name in shape}
            shape |= {name: value for name, value in wanted.items() if value not in (None, "auto")}
            width, height = made_size(shape["size"])
            shape["size"] = f"{width}x{height}"
            noise = self._call.image_noise_bytes
            result = picture(shape["size"], shape["output_format"], seed=self._call.seed, noise_bytes=noise)
            partials = options.get("partial_images", 1)
        item, spot = self._open("ig", {"type": "image_generation_call"})
        yield self._added(item)
        yield event("image_generation_call.in_progress", **spot)
        yield event("image_generation_call.generating", **spot)
        for number in range(partials):
            yield event(
                "image_generation_call.partial_image", **spot, partial_image_index=number, partial_image_b64=PIXEL
            )
        yield event("image_generation_call.completed", **spot)
        yield self._done(item, revised_prompt=prompt, result=result, **shape)

    def compaction(self) -> Iterator[Event]:
        """A compaction item, the reply to a ``compaction_trigger`` at the end of the input."""
        item, _ = self._open("cmp", {"type": "compaction"})
        item["encrypted_content"] = self._sealed(item["id"])
        yield self._added(item)
        yield self._done(item)

    # -- pieces of items ----------------------------------------------------------------------------------------------

    def _summary_part(self, spot: Json, text: str) -> Iterator[Event]:
        yield event("reasoning_summary_part.added", **spot, part={"type": "summary_text", "text": ""})
        for piece in words(text):
            yield self._delta("reasoning_summary_text.delta", spot, piece, thought=True)
        yield event("reasoning_summary_text.done", **spot, text=text)
        yield event("reasoning_summary_part.done", **spot, part={"type": "summary_text", "text": text})

    def _raw_thought(self, spot: Json, text: str) -> Iterator[Event]:
        for piece in words(text):
            yield self._delta("reasoning_text.delta", spot, piece, thought=True)
        yield event("reasoning_text.done", **spot, text=text)

    def _open(self, prefix: str, fields: Json) -> tuple[Json, Json]:
        self._index += 1
        item_id = self._call.identify(prefix, self._index)
        item = {"id": item_id, **fields, "status": "in_progress"}
        return item, {"item_id": item_id, "output_index": self._index}

    def _added(self, item: Json) -> Event:
        return event("output_item.added", output_index=self._index, item=item)

    def _done(self, item: Json, **changes: Any) -> Event:
        finished = {**item, **changes, **({"status": "completed"} if "status" in item else {})}
        self._output.append(finished)
        return event("output_item.done", output_index=self._index, item=finished)

    def _delta(self, kind: str, spot: Mapping[str, Any], piece: str, *, thought: bool = False, **more: Any) -> Event:
        self._deltas += 1
        self._written += len(piece)
        self._thought += len(piece) if thought else 0
        return event(kind, **spot, delta=piece, **more, obfuscation=self._padding(len(piece)))

    def _padding(self, length: int) -> str:
        """``obfuscation``: pads deltas to similar lengths, as the backend does against traffic analysis."""
        noise = base64.b64encode(bytes.fromhex(self._call.digest("pad", self._deltas))).decode()
        return noise[: max(1, 16 - length % 16)]

    def _call_id(self) -> str:
        return "call_" + self._call.digest("call", self._index + 1)[:24]

    def _sealed(self, item_id: str) -> str | None:
        if "reasoning.encrypted_content" not in (self._call.body.get("include") or []) and not item_id.startswith(
            "cmp"
        ):
            return None
        return seal(self._call.account_id, item_id)


def seal(account_id: str, item_id: str) -> str:
    """An ``encrypted_content`` that is valid for ``account_id`` only."""
    owner = base64.urlsafe_b64encode(account_id.encode()).decode().rstrip("=")
    return f"gAAAAAsim.{owner}.{item_id}"


def sealed_for_another(blob: str, account_id: str) -> bool:
    """Whether :func:`seal` made this blob for an account other than ``account_id``."""
    return blob.startswith("gAAAAAsim.") and not blob.startswith(seal(account_id, ""))
