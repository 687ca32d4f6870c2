"""Shared code of ``/api/chat`` and ``/api/generate``; no dialect. Source: client contracts 5; ollama/ollama."""
