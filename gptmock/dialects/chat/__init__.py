"""``POST /v1/chat/completions``: the OpenAI Chat Completions dialect."""
