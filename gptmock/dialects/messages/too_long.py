"""The words for a prompt that is too long: clients compact by the two numbers in them."""

from __future__ import annotations

from gptmock.dialects.messages.wire import MessagesOptions, is_too_long
from gptmock.dialects.token_estimate import estimated_tokens
from gptmock.errors import GptmockError, UpstreamRefused

_UNKNOWN_WINDOW = 272_000


class _PromptTooLong(UpstreamRefused):
    """Has its words already."""


def reworded(error: GptmockError, options: MessagesOptions) -> GptmockError:
    """``prompt is too long: N tokens > M maximum``; any other error as it is."""
    if isinstance(error, _PromptTooLong) or not is_too_long(error):
        return error
    window = options.context_window or _UNKNOWN_WINDOW
    tokens = max(estimated_tokens(options.request), window + 1)
    return _PromptTooLong(
        f"prompt is too long: {tokens} tokens > {window} maximum", code=error.code, param=error.param, status=400
    )
