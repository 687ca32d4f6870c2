"""gptmock: the APIs that every tool speaks, answered by the ChatGPT account that you pay for."""

__version__ = "2026.11.0"
