"""Which deferred tools the messages of a request have loaded or taken away (next doors A.3). Knows no tool's shape."""

from __future__ import annotations

from dataclasses import dataclass, field

from gptmock.dialects.bodies import missing
from gptmock.dialects.messages.types import Block
from gptmock.protocol.request import JsonObject


@dataclass(slots=True)
class ToolChanges:
    """The changes in the order of the messages; the last one about a name decides."""

    loaded: dict[str, None] = field(default_factory=dict)
    """Names that a ``tool_reference`` or ``tool_addition`` has loaded, in order of their first mention."""
    removed: set[str] = field(default_factory=set)
    defined: dict[str, JsonObject] = field(default_factory=dict)
    """Tools whose definition stands in a message."""

    def load(self, name: str) -> None:
        """A tool is offered from here on."""
        self.loaded.setdefault(name)
        self.removed.discard(name)

    def change(self, block: Block, within: str) -> None:
        """
        Take a ``tool_addition`` or a ``tool_removal``; references to toolsets of servers have no effect.

        Raises:
            BadRequest: it names no tool.
        """
        tool = block.tool
        if tool is None:
            raise missing(f"{within}.tool")
        if str(tool.get("type")).startswith("mcp_"):
            return
        definition = tool.get("definition")
        name = (definition if isinstance(definition, dict) else tool).get("name")
        if not isinstance(name, str) or not name:
            raise missing(f"{within}.tool.name")
        if block.type == "tool_removal":
            self.removed.add(name)
            return
        if isinstance(definition, dict):
            self.defined[name] = definition
        self.load(name)
