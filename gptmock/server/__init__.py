"""The HTTP layer, over Sanic. Knows bytes and frames, never a token."""
