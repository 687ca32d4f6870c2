"""
The pages at ``/dashboard`` and ``/join``, the page of an invitation, and their files, from our own origin. The pages
hold no data: their scripts ask the admin API, with the rights of the reader or with the invitation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine, Mapping
from html import escape
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from sanic import HTTPResponse, Request

from gptmock.errors import UnknownRoute
from gptmock.server.context import App, ServerOptions

PATH = "/dashboard"
JOIN_PATH = "/join"
_KINDS = MappingProxyType(
    {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "html": "text/html; charset=utf-8"}
)
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
"""Content Security Policy Level 3; with Trusted Types no script can be made of text."""
SECURITY_HEADERS = MappingProxyType(
    {
        "content-security-policy": _POLICY,
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
    }
)
_ONE_YEAR = "public, max-age=31536000, immutable"


def add_dashboard_routes(app: App, options: ServerOptions) -> None:
    """Add the pages and their files, whose names change with their content."""
    folder = files("gptmock.server") / "pages"
    assets: dict[str, tuple[bytes, str]] = {}
    addresses: dict[str, str] = {}
    base = escape(options.base_path)
    # What the others import comes first.
    for file in ("dashboard.css", "answers.js", "dashboard.js", "join.js"):
        text, (stem, kind) = (folder / file).read_bytes(), file.split(".")
        text = text.replace(b"{{answers.js}}", addresses.get("answers.js", "").encode())
        name = f"{stem}.{hashlib.sha256(text).hexdigest()[:16]}.{kind}"
        assets[name], addresses[file] = (text, _KINDS[kind]), f"{base}{PATH}/{name}"

    def page(stem: str, more_headers: Mapping[str, str]) -> Callable[[Request], Coroutine[Any, Any, HTTPResponse]]:
        text = (folder / f"{stem}.html").read_bytes().replace(b"{{base}}", base.encode())
        text = text.replace(b"{{style}}", addresses["dashboard.css"].encode())
        text = text.replace(b"{{script}}", addresses[f"{stem}.js"].encode())
        headers = {**SECURITY_HEADERS, **more_headers}

        async def show(_: Request) -> HTTPResponse:
            return HTTPResponse(text, headers=headers, content_type=_KINDS["html"])

        return show

    async def asset(_: Request, name: str) -> HTTPResponse:
        if name not in assets:
            raise UnknownRoute("The page has no such file; load it again.", code="file_not_found")
        text, kind = assets[name]
        return HTTPResponse(text, headers={**SECURITY_HEADERS, "cache-control": _ONE_YEAR}, content_type=kind)

    app.add_route(page("dashboard", {"cache-control": "no-cache"}), PATH, methods=["GET", "HEAD"], name="dashboard")
    private = {"cache-control": "no-store", "referrer-policy": "no-referrer", "x-robots-tag": "noindex"}
    app.add_route(page("join", private), JOIN_PATH, methods=["GET", "HEAD"], name="join")
    app.add_route(asset, f"{PATH}/<name>", methods=["GET", "HEAD"], name="dashboard_file")


def wants_page(request: Request) -> bool:
    """Whether a browser asks for a page, by address or link."""
    return "text/html" in request.headers.get("accept", "")
