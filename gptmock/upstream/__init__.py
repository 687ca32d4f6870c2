"""Clients of the Codex backend and of its OAuth issuer, over httpx."""
