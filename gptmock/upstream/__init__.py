"""The other side of the street: the Codex backend and its OAuth issuer, over httpx."""
