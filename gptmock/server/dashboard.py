"""
The page at ``/dashboard`` and its two files, from our own origin. The page holds no data: its script asks the admin API
with the rights of its reader.
"""

from __future__ import annotations

import hashlib
from html import escape
from importlib.resources import files
from types import MappingProxyType

from sanic import HTTPResponse, Request

from gptmock.errors import UnknownRoute
from gptmock.server.context import App, ServerOptions

PATH = "/dashboard"
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
    """Add the page and its files, whose names change with their content."""
    texts = {kind: (files("gptmock.server") / "pages" / f"dashboard.{kind}").read_bytes() for kind in _KINDS}
    names = {kind: f"dashboard.{hashlib.sha256(texts[kind]).hexdigest()[:16]}.{kind}" for kind in ("css", "js")}
    kinds = {name: kind for kind, name in names.items()}
    base = escape(options.base_path)
    page = (
        texts["html"]
        .replace(b"{{base}}", base.encode())
        .replace(b"{{style}}", f"{base}{PATH}/{names['css']}".encode())
        .replace(b"{{script}}", f"{base}{PATH}/{names['js']}".encode())
    )

    async def show(_: Request) -> HTTPResponse:
        headers = {**SECURITY_HEADERS, "cache-control": "no-cache"}
        return HTTPResponse(page, headers=headers, content_type=_KINDS["html"])

    async def asset(_: Request, name: str) -> HTTPResponse:
        kind = kinds.get(name)
        if kind is None:
            raise UnknownRoute("The page has no such file; load it again.", code="file_not_found")
        headers = {**SECURITY_HEADERS, "cache-control": _ONE_YEAR}
        return HTTPResponse(texts[kind], headers=headers, content_type=_KINDS[kind])

    app.add_route(show, PATH, methods=["GET", "HEAD"], name="dashboard")
    app.add_route(asset, f"{PATH}/<name>", methods=["GET", "HEAD"], name="dashboard_file")


def wants_page(request: Request) -> bool:
    """Whether a browser asks for a page, by address or link."""
    return "text/html" in request.headers.get("accept", "")
