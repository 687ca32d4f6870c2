"""A strict stand-in for the Codex backend and its OAuth issuer. Nothing in the serving path imports it."""
