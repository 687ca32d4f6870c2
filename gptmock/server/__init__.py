"""The street: HTTP over Sanic. Knows bytes and frames, never a token."""
