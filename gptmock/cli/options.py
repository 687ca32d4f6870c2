"""The options of ``serve`` and ``demo``; each names its environment variable. Validates no value."""

from __future__ import annotations

import argparse
from typing import Any

_EFFORTS = "none, minimal, low, medium, high, xhigh, max, ultra"
_STYLES = "think-tags, o3, legacy (= current), reasoning-content (= standard, openai), hidden"


def add_serve_options(parser: argparse.ArgumentParser) -> None:
    """Add the options, all with default ``None``, so that environment variables apply."""
    add = parser.add_argument
    add("--host", help="address to bind (GPTMOCK_HOST, default 127.0.0.1)")
    add("--port", help="port to bind (GPTMOCK_PORT, default 8000)")
    add("--workers", help="worker processes, or 'auto' (GPTMOCK_WORKERS, default 1)")
    _switch(parser, "--verbose", "log requests and upstream payloads, credentials apart (GPTMOCK_VERBOSE)")
    add("--log-format", metavar="{text,json}", help="default: text on a terminal, else json (GPTMOCK_LOG_FORMAT)")
    add("--reasoning-effort", metavar="EFFORT", help=f"{_EFFORTS} (GPTMOCK_REASONING_EFFORT, default medium)")
    add("--reasoning-summary", metavar="SUMMARY", help="auto, concise, detailed, none (GPTMOCK_REASONING_SUMMARY)")
    add("--reasoning-compat", metavar="STYLE", help=f"how thinking is shown: {_STYLES} (GPTMOCK_REASONING_COMPAT)")
    _switch(parser, "--expose-reasoning-models", "list each effort as a model (GPTMOCK_EXPOSE_REASONING_MODELS)")
    parser.add_argument(
        "--enable-web-search",
        dest="default_web_search",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="offer web search to the model by default (GPTMOCK_DEFAULT_WEB_SEARCH)",
    )
    _switch(parser, "--fast-mode", "priority tier where the model has it (GPTMOCK_FAST_MODE)")
    add("--debug-model", metavar="MODEL", help="send this model upstream whatever was asked (GPTMOCK_DEBUG_MODEL)")
    add("--default-model", metavar="MODEL", help="for requests without a model (GPTMOCK_DEFAULT_MODEL)")
    add(
        "--cors-origins",
        metavar="ORIGINS",
        help="web pages that may use the server, as https://chat.example,app://obsidian.md; * for all "
        "(GPTMOCK_CORS_ORIGINS, default none)",
    )
    add("--redis-url", metavar="URL", help="shared store instead of the embedded one (GPTMOCK_REDIS_URL)")
    _switch(
        parser,
        "--allow-unauthenticated",
        "bind beyond loopback without an API key (GPTMOCK_ALLOW_UNAUTHENTICATED)",
    )


def serve_flags(options: argparse.Namespace) -> dict[str, Any]:
    """The options by the name of their setting; ``None`` for those that were not given."""
    names = (
        "host",
        "port",
        "workers",
        "verbose",
        "log_format",
        "reasoning_effort",
        "reasoning_summary",
        "reasoning_compat",
        "expose_reasoning_models",
        "default_web_search",
        "fast_mode",
        "debug_model",
        "default_model",
        "cors_origins",
        "allow_unauthenticated",
        "redis_url",
    )
    return {name: getattr(options, name) for name in names}


def _switch(parser: argparse.ArgumentParser, flag: str, text: str) -> None:
    parser.add_argument(flag, action="store_const", const=True, default=None, help=text)
