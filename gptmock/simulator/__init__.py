"""A strict simulator of the Codex backend and its OAuth issuer. Nothing in the serving path imports it."""
