"""The client APIs (OpenAI and Ollama), one folder per dialect. Pure: no I/O, no clock, no log."""
