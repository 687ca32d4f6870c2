"""One accepted model call, with accessors for its body that the scenes use. Knows no events and no HTTP."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gptmock.simulator.steps import Json

FIXED_TIME = 1783133648
"""Default ``created_at``, in Unix seconds: the time of the recording of July 2026."""

OUTPUT_TYPES = frozenset({"function_call_output", "custom_tool_call_output", "tool_search_output"})


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the client executes: ``function`` or ``custom``, with the namespace that contains it."""

    kind: str
    name: str
    parameters: Json
    namespace: str | None = None


@dataclass(frozen=True, kw_only=True)
class Call:
    """A model call and all inputs of its reply: equal calls yield equal bytes."""

    body: Mapping[str, Any]
    model: str
    """The model name in the reply; it may differ from the requested one."""
    parameter: str = ""
    """The scene's parameter, behind the colon of its name."""
    seed: str = ""
    """Ids are derived from it; it differs between calls with the same body."""
    account_id: str = "account"
    created_at: int = FIXED_TIME
    default_effort: str = "medium"
    filled_output: bool = False
    image_noise_bytes: int = 0
    """Added to each image."""

    def identify(self, prefix: str, number: int) -> str:
        """A deterministic id, derived from the call."""
        return f"{prefix}_{self.digest(prefix, number)[:48]}"

    def digest(self, *parts: object) -> str:
        """64 hexadecimal digits derived from the call and ``parts``."""
        text = "\x1f".join([self.seed, *(str(part) for part in parts)])
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def items(self) -> list[Json]:
        """The input items, oldest first."""
        given = self.body.get("input")
        return [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []

    @cached_property
    def last_user_text(self) -> str:
        """The text of the last user message, empty when there is none."""
        for item in reversed(self.items):
            if item.get("role") == "user":
                return message_text(item)
        return ""

    @cached_property
    def trailing_outputs(self) -> list[Json]:
        """The tool outputs at the end of the input; only instructions of the developer may follow them."""
        found: list[Json] = []
        for item in reversed(self.items):
            if item.get("role") == "developer":
                continue
            if item.get("type") not in OUTPUT_TYPES:
                break
            found.insert(0, item)
        return found

    @cached_property
    def follows_outputs(self) -> bool:
        """Whether tool outputs are the last that happened, with nothing but words of the user or developer since."""
        others = (item for item in reversed(self.items) if item.get("role") not in ("user", "developer"))
        return next(others, {}).get("type") in OUTPUT_TYPES

    @cached_property
    def ends_with_user(self) -> bool:
        """Whether no tool output follows the last user message; otherwise its scene marker was already obeyed."""
        for item in reversed(self.items):
            if item.get("role") == "user":
                return True
            if item.get("type") in OUTPUT_TYPES:
                return False
        return True

    @cached_property
    def tool_specs(self) -> list[Json]:
        """All tools as given, including those of ``additional_tools`` items (Responses Lite)."""
        specs = list(self.body.get("tools") or [])
        for item in self.items:
            if item.get("type") == "additional_tools":
                specs += item.get("tools") or []
        return specs

    @cached_property
    def tools(self) -> list[Tool]:
        """The tools that the client executes, including those in namespaces."""
        return list(_client_tools(self.tool_specs, None))

    def has_hosted(self, kind: str) -> bool:
        """Whether a hosted tool (``web_search``, ``image_generation``) was offered."""
        return any(spec.get("type") == kind for spec in self.tool_specs)

    @property
    def tool_choice(self) -> Any:
        """``auto`` when absent."""
        return self.body.get("tool_choice") or "auto"

    @property
    def effort(self) -> str:
        """The effort asked for, else the model's default."""
        return str((self.body.get("reasoning") or {}).get("effort") or self.default_effort)

    @property
    def summary(self) -> str | None:
        """``reasoning.summary``."""
        value = (self.body.get("reasoning") or {}).get("summary")
        return str(value) if value else None

    @property
    def text_format(self) -> Json:
        """``text.format``, by default plain text."""
        found = (self.body.get("text") or {}).get("format")
        return found if isinstance(found, dict) else {"type": "text"}


def message_text(item: Json) -> str:
    """The text parts of a message, joined by line ends."""
    content = item.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part)


def output_text(item: Json) -> str:
    """The text of a tool output item."""
    output = item.get("output")
    return output if isinstance(output, str) else message_text({"content": output})


def mentioned(tools: list[Tool], text: str) -> list[Tool]:
    """The tools whose names occur in ``text`` as whole words, in order of occurrence."""
    found = [(match.start(), tool) for tool in tools if (match := _word(tool.name).search(text))]
    return [tool for _, tool in sorted(found, key=lambda pair: pair[0])]


def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")


def _client_tools(specs: list[Any], namespace: str | None) -> Iterator[Tool]:
    for spec in specs:
        kind = spec.get("type")
        if kind == "namespace":
            yield from _client_tools(spec.get("tools") or [], spec.get("name"))
        elif kind in {"function", "custom"}:
            yield Tool(kind, spec["name"], spec.get("parameters") or {}, namespace)
