"""
What a call has used whose client left before the upstream had told its usage: an estimate, for the limits of the key. A
client cannot use a model without end by cancelling every call just before it is complete.

    input     the estimate of ``dialects.token_estimate`` for each turn that the upstream had accepted
    output    a token for every four bytes of the answer that has come by then

The output of a turn in progress is estimated in the same way, to be shown.

A turn that failed costs nothing, as before: that was not the client's doing. Usage reports know only what the upstream
has told.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from gptmock.dialects.dialect import Turn
from gptmock.dialects.token_estimate import estimated_tokens
from gptmock.gateway.reply import Outcome

BYTES_PER_TOKEN = 4


def written_tokens(outcome: Outcome) -> int | None:
    """Estimates the output of a turn in progress; ``None`` if its bytes are not counted, as without a limited key."""
    if not outcome.counts_output:
        return None
    return ceil(sum(one.output_bytes for one in (outcome, *outcome.further)) / BYTES_PER_TOKEN)


def untold_tokens(turn: Turn | None, outcome: Outcome) -> Callable[[], int] | None:
    """Estimates the tokens of turns without usage, in some milliseconds; ``None`` if there are none."""
    untold = [one for one in (outcome, *outcome.further) if one.opened and one.response is None and one.error is None]
    if turn is None or not untold:
        return None
    request, output_bytes = turn.request, sum(one.output_bytes for one in untold)
    return lambda: len(untold) * estimated_tokens(request) + ceil(output_bytes / BYTES_PER_TOKEN)
