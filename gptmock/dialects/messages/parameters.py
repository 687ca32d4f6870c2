"""
The parameters that the upstream does not support (next doors A.3), and those that decide effort and thinking. Named as
ignored is only what the request would work differently for, and never what Claude Code sends with every request.
"""

from __future__ import annotations

from typing import Any

from gptmock.catalog import ResolvedModel
from gptmock.dialects.dialect import Defaults
from gptmock.dialects.messages.content import FILES
from gptmock.dialects.messages.types import ContextManagement, CountBody, Thinking
from gptmock.dialects.model_options import known_effort, reasoning_options
from gptmock.dialects.parameters import Fate, Rule
from gptmock.protocol.request import ReasoningOptions

_SAMPLING = "the upstream takes no sampling parameters"
_LOW_BUDGET_TOKENS = 4_096
_MEDIUM_BUDGET_TOKENS = 16_384


def _only_user_id(metadata: dict[str, Any]) -> bool:
    return set(metadata) <= {"user_id"}


def _keeps_thinking(management: ContextManagement) -> bool:
    return all(str(one.get("type")).startswith("clear_thinking_") for one in management.edits or ())


PROMPT_RULES: tuple[Rule, ...] = (
    Rule("mcp_servers", Fate.REJECT, "servers of tools cannot be called from here", lambda servers: not servers),
    Rule("thread", Fate.REJECT, "conversations are not kept here: send all messages"),
    Rule("compaction", Fate.REJECT, "conversations are not compacted here: the client does that"),
    Rule("context_management", Fate.IGNORE, "the upstream edits no context", _keeps_thinking),
)
RULES: tuple[Rule, ...] = (
    *PROMPT_RULES,
    Rule("cache_control", Fate.IGNORE, "the upstream caches by itself"),
    Rule("temperature", Fate.IGNORE, _SAMPLING),
    Rule("top_p", Fate.IGNORE, _SAMPLING),
    Rule("top_k", Fate.IGNORE, _SAMPLING),
    Rule("service_tier", Fate.IGNORE, "tiers are chosen by 'speed'"),
    Rule("metadata", Fate.IGNORE, "the upstream takes no metadata", _only_user_id),
    Rule("container", Fate.IGNORE, FILES),
    Rule("inference_geo", Fate.IGNORE, "the upstream decides"),
    Rule("diagnostics", Fate.IGNORE, "the upstream gives none"),
    Rule("fallbacks", Fate.IGNORE, "there is one model for each request"),
    Rule("billing_policy", Fate.IGNORE, "the account's plan decides"),
    Rule("workspace_id", Fate.IGNORE, "the upstream knows the account, and nobody else"),
    Rule("user_profile_id", Fate.IGNORE, "the upstream knows the account, and nobody else"),
    Rule("task_budget", Fate.IGNORE, "the upstream takes no budget"),
)


def shows_thinking(thinking: Thinking | None) -> bool:
    """Whether the reply has thinking blocks."""
    return thinking is not None and thinking.type != "disabled"


def reasoning(
    body: CountBody, message_effort: tuple[str, str | None], resolved: ResolvedModel, defaults: Defaults
) -> ReasoningOptions:
    """
    ``reasoning`` to send upstream.

    Args:
        body: its ``output_config`` and ``thinking``.
        message_effort: where a message asks for an effort, and which; it takes precedence.
        resolved: the model; its name may have an effort.
        defaults: the operator's.

    Raises:
        BadRequest: an effort that does not exist.
    """
    param, wanted = message_effort
    if wanted is None and body.output_config is not None:
        param, wanted = "output_config.effort", body.output_config.effort
    spec = resolved.spec
    usual = spec.default_effort if spec is not None else defaults.reasoning_effort
    effort = known_effort(param, wanted) or resolved.effort or _by_thinking(body.thinking) or usual
    summary = "auto" if defaults.reasoning_summary == "none" else defaults.reasoning_summary
    return reasoning_options(effort, summary, spec, shown=_has_summary(body.thinking, defaults))


def _has_summary(thinking: Thinking | None, defaults: Defaults) -> bool:
    shown = thinking is not None and shows_thinking(thinking) and thinking.display != "omitted"
    return shown and defaults.reasoning_style != "hidden" and defaults.reasoning_summary != "none"


def _by_thinking(thinking: Thinking | None) -> str | None:
    if thinking is None or thinking.type in ("adaptive", "between_tools"):
        return None
    if thinking.type == "disabled":
        return "none"
    budget = thinking.budget_tokens or 0
    if budget <= _LOW_BUDGET_TOKENS:
        return "low"
    return "medium" if budget <= _MEDIUM_BUDGET_TOKENS else "high"
