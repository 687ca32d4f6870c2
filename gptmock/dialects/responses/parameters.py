"""
The parameters that the upstream does not support (client contracts 3.2). Those that are mapped or emulated are in
``request.py``. ``metadata`` is only repeated in the reply.
"""

from __future__ import annotations

from gptmock.dialects.parameters import Fate, Rule

RULES: tuple[Rule, ...] = (
    Rule("background", Fate.REJECT, "a response is made while the client waits", lambda wanted: not wanted),
    Rule("conversation", Fate.REJECT, "conversations are not kept here"),
    Rule("prompt", Fate.REJECT, "prompt templates are not kept here"),
    Rule("max_output_tokens", Fate.IGNORE, "the upstream takes no token limit"),
    Rule("max_tool_calls", Fate.IGNORE, "the upstream takes no limit of tool calls"),
    Rule("top_logprobs", Fate.IGNORE, "the upstream gives no log probabilities", lambda count: not count),
    Rule("temperature", Fate.IGNORE, "the upstream takes no sampling parameters"),
    Rule("top_p", Fate.IGNORE, "the upstream takes no sampling parameters"),
    Rule("truncation", Fate.IGNORE, "the upstream does not truncate", lambda wanted: wanted == "disabled"),
    Rule("user", Fate.IGNORE, "the upstream knows the account, and nobody else"),
    Rule("safety_identifier", Fate.IGNORE, "the upstream knows the account, and nobody else"),
    Rule("prompt_cache_retention", Fate.IGNORE, "the upstream decides"),
    Rule("prompt_cache_options", Fate.IGNORE, "the upstream decides"),
    Rule("context_management", Fate.IGNORE, "the upstream decides"),
    Rule("moderation", Fate.IGNORE, "the upstream moderates as it sees fit"),
    Rule("background_options", Fate.IGNORE, "a response is made while the client waits"),
    Rule("access_programs", Fate.IGNORE, "the upstream knows the programs of the account"),
    Rule("image", Fate.IGNORE, "the upstream takes images as they are"),
    Rule("personality", Fate.IGNORE, "the instructions of the request decide"),
    Rule("generate", Fate.IGNORE, "every request is answered", lambda wanted: wanted is True),
)
REFUSED: tuple[Rule, ...] = tuple(rule for rule in RULES if rule.fate is Fate.REJECT)
"""The rules that apply to Codex clients too."""
