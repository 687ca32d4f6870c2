"""
The parameters that the upstream does not support (client contracts 1.4). Those that are mapped or emulated are in
``request.py``. Token limits and sampling parameters are ignored, since most clients send them with every call.
"""

from __future__ import annotations

from gptmock.dialects.parameters import Fate, Rule


def _only_text(modalities: list[str]) -> bool:
    return set(modalities) <= {"text"}


RULES: tuple[Rule, ...] = (
    Rule("n", Fate.REJECT, "one answer for each request is all there is", lambda n: n == 1),
    Rule("modalities", Fate.REJECT, "only text is available", _only_text),
    Rule("max_tokens", Fate.IGNORE, "the upstream takes no token limit"),
    Rule("max_completion_tokens", Fate.IGNORE, "the upstream takes no token limit"),
    Rule("temperature", Fate.IGNORE, "the upstream takes no sampling parameters"),
    Rule("top_p", Fate.IGNORE, "the upstream takes no sampling parameters"),
    Rule("presence_penalty", Fate.IGNORE, "the upstream takes no sampling parameters"),
    Rule("frequency_penalty", Fate.IGNORE, "the upstream takes no sampling parameters"),
    Rule("seed", Fate.IGNORE, "the upstream takes no sampling parameters"),
    Rule("logit_bias", Fate.IGNORE, "the upstream takes no sampling parameters", lambda bias: not bias),
    Rule("logprobs", Fate.IGNORE, "the upstream gives no log probabilities", lambda wanted: not wanted),
    Rule("top_logprobs", Fate.IGNORE, "the upstream gives no log probabilities", lambda count: not count),
    Rule("audio", Fate.IGNORE, "only text is available"),
    Rule("prediction", Fate.IGNORE, "a hint for speed that the upstream does not take"),
    Rule("metadata", Fate.IGNORE, "nothing is stored for chat completions", lambda data: not data),
    Rule("store", Fate.IGNORE, "nothing is stored for chat completions", lambda wanted: not wanted),
    Rule("moderation", Fate.IGNORE, "the upstream moderates as it sees fit"),
    Rule("user", Fate.IGNORE, "the upstream knows the account, and nobody else"),
    Rule("safety_identifier", Fate.IGNORE, "the upstream knows the account, and nobody else"),
    Rule("prompt_cache_retention", Fate.IGNORE, "the upstream decides"),
    Rule("prompt_cache_options", Fate.IGNORE, "the upstream decides"),
)
