"""``/v1/audio/transcriptions``: the form of OpenAI's API to the form of the backend, and its answer (next doors E)."""
