"""The upstream's Responses API: requests, events, errors, and SSE framing. Pure: no I/O, no clock, no log."""
