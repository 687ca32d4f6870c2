"""
The members common to the bodies of ``/api/chat`` and ``/api/generate``. Unknown keys and options are ignored and named.

Source: ollama/ollama ``api/types.go``, and the extensions of ChatMock and GPTMock.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from gptmock.dialects.bodies import ListOf, ParameterBody

JsonObject: TypeAlias = dict[str, Any]


class Options(ParameterBody):
    """``options``: what Ollama's runners take. Of these only ``stop`` has an effect."""

    stop: str | ListOf[str] | None = None
    num_predict: Any = None
    temperature: Any = None
    top_k: Any = None
    top_p: Any = None
    min_p: Any = None
    typical_p: Any = None
    tfs_z: Any = None
    seed: Any = None
    repeat_last_n: Any = None
    repeat_penalty: Any = None
    presence_penalty: Any = None
    frequency_penalty: Any = None
    penalize_newline: Any = None
    mirostat: Any = None
    mirostat_eta: Any = None
    mirostat_tau: Any = None
    num_ctx: Any = None
    num_keep: Any = None


class OllamaBody(ParameterBody):
    """The members that both routes read."""

    model: str | None = None
    stream: bool | None = None
    think: bool | str | None = None
    format: Any = None
    options: Options | None = None
    keep_alive: Any = None
    """Seconds, or a duration such as ``"5m"``. Only 0 has an effect: it makes a load request an unload request."""
    responses_tools: ListOf[JsonObject] | None = None
    responses_tool_choice: str | None = None
    truncate: bool | None = None
    shift: bool | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
