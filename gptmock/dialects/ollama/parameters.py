"""
The parameters and ``options`` that the upstream does not support (client contracts 5.3).

Options of the local runner (threads, GPUs, memory maps) are in neither: they do not change a reply, so they are named
as unknown members are, and never refused. ``keep_alive`` has no effect because models stay loaded; it is not named.
"""

from __future__ import annotations

from typing import Any

from gptmock.dialects.ollama.types import OllamaBody
from gptmock.dialects.parameters import Fate, Rule, judge, unknown_members
from gptmock.errors import BadRequest

MAX_TOP_LOGPROBS = 20
_SAMPLING = "the upstream takes no sampling parameters"

OPTION_RULES: tuple[Rule, ...] = (
    Rule("num_predict", Fate.IGNORE, "the upstream takes no token limit"),
    Rule("num_ctx", Fate.IGNORE, "the context is that of the model"),
    Rule("num_keep", Fate.IGNORE, "nothing of the context is thrown away"),
    *(
        Rule(name, Fate.IGNORE, _SAMPLING)
        for name in (
            "temperature",
            "top_k",
            "top_p",
            "min_p",
            "typical_p",
            "tfs_z",
            "seed",
            "repeat_last_n",
            "repeat_penalty",
            "presence_penalty",
            "frequency_penalty",
            "penalize_newline",
            "mirostat",
            "mirostat_eta",
            "mirostat_tau",
        )
    ),
)


def _is_off(wanted: Any) -> bool:
    return not wanted


RULES: tuple[Rule, ...] = (
    Rule("truncate", Fate.IGNORE, "the upstream refuses what is too long", _is_off),
    Rule("shift", Fate.IGNORE, "the upstream refuses what is too long", _is_off),
    Rule("logprobs", Fate.IGNORE, "the upstream gives no log probabilities", _is_off),
    Rule("top_logprobs", Fate.IGNORE, "the upstream gives no log probabilities", _is_off),
)


def ignored_parameters(body: OllamaBody, rules: tuple[Rule, ...], *, strict: bool) -> tuple[str, ...]:
    """
    The parameters of this body that have no effect, unknown ones last; ``rules`` are those of the route alone.

    Raises:
        BadRequest: ``top_logprobs`` out of bounds, as Ollama has it; with ``strict`` anything without effect.
    """
    if body.top_logprobs is not None and not 0 <= body.top_logprobs <= MAX_TOP_LOGPROBS:
        raise BadRequest("top_logprobs must be between 0 and 20", param="top_logprobs")
    ignored = judge(body, (*RULES, *rules), strict=strict)
    if body.options is not None:
        ignored += judge(body.options, OPTION_RULES, strict=strict, within="options")
    return (*ignored, *unknown_members(body))
