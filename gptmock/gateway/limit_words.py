"""What a client is told of the limits of its key: headers and refusals. Knows contracts."""

from __future__ import annotations

import math

from gptmock.clients import LimitState
from gptmock.errors import TooManyRequests
from gptmock.protocol.failures import spoken_duration

MAX_PATIENCE_SECONDS = 60.0
"""SDKs repeat a request by themselves if they need not wait for longer."""
_WORDS = {
    "turns": "{limit} concurrent requests",
    "requests": "{limit} requests per minute",
    "tokens_per_day": "{limit} tokens in 24 hours",
    "tokens_per_week": "{limit} tokens in 7 days",
}


def ratelimit_headers(states: tuple[LimitState, ...]) -> dict[str, str]:
    """OpenAI's headers for requests, and for the token limit of which the least is left."""
    requests = [one for one in states if one.kind == "requests"]
    tokens = sorted((one for one in states if one.kind.startswith("tokens")), key=lambda one: one.remaining)
    headers: dict[str, str] = {}
    for name, state in (*(("requests", one) for one in requests), *(("tokens", one) for one in tokens[:1])):
        headers[f"x-ratelimit-limit-{name}"] = str(state.limit)
        headers[f"x-ratelimit-remaining-{name}"] = str(state.remaining)
        headers[f"x-ratelimit-reset-{name}"] = _go_duration(state.reset_seconds)
    return headers


def refusal(states: tuple[LimitState, ...]) -> TooManyRequests:
    """The error for the reached limit that resets last."""
    reached = [one for one in states if not one.remaining] or list(states)
    state = max(reached, key=lambda one: one.reset_seconds)
    seconds = max(1.0, state.reset_seconds)
    what = _WORDS[state.kind].format(limit=state.limit)
    return TooManyRequests(
        f"The limit of your API key is reached: {what}. Try again in {_spoken(seconds)}.",
        retry_after_seconds=seconds,
        should_retry=None if seconds <= MAX_PATIENCE_SECONDS else False,
    )


def _spoken(seconds: float) -> str:
    return f"{math.ceil(seconds)} s" if seconds <= MAX_PATIENCE_SECONDS else spoken_duration(seconds)


def _go_duration(seconds: float) -> str:
    """As OpenAI writes it: ``120ms``, ``59s``, ``6m0s``, ``23h59m59s``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    hours, rest = divmod(math.ceil(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}h{minutes}m{left}s" if hours else f"{minutes}m{left}s" if minutes else f"{left}s"
