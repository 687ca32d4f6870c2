"""The HTML pages that the callback server answers a browser with. No script, no external resources."""

from __future__ import annotations

import html
from dataclasses import dataclass

_FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>gptmock: {title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1.05rem/1.5 system-ui, sans-serif; margin: 18vh auto 0; max-width: 34rem; padding: 0 1.5rem; }}
h1 {{ font-size: 1.5rem; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{text}</p>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Page:
    """An HTTP response with an HTML page."""

    status: int
    title: str
    text: str
    allowed: str | None = None
    """The ``Allow`` header of a 405."""

    def response(self, *, with_body: bool = True) -> bytes:
        """The whole HTTP/1.1 response, with ``Connection: close``."""
        body = _FRAME.format(title=html.escape(self.title), text=html.escape(self.text)).encode()
        head = [
            f"HTTP/1.1 {self.status} {_REASONS[self.status]}",
            "Content-Type: text/html; charset=utf-8",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Referrer-Policy: no-referrer",
            "X-Content-Type-Options: nosniff",
            "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
            "Connection: close",
        ]
        if self.allowed is not None:
            head.append(f"Allow: {self.allowed}")
        return "\r\n".join(head).encode() + b"\r\n\r\n" + (body if with_body else b"")


_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
}

NOT_FOUND = Page(404, "Not found", "A gptmock sign-in waits here for its redirect, which has another path.")
BAD_REQUEST = Page(400, "Bad request", "That is not a valid HTTP/1.1 request.")
TOO_LARGE = Page(431, "Too long", "That request is longer than any redirect.")
NOT_ALLOWED = Page(405, "Not allowed", "The redirect is a GET request.", allowed="GET")
USED = Page(409, "Already used", "This sign-in has ended already. The terminal shows how.")
CANCELLED = Page(200, "Login cancelled", "Another gptmock took over this sign-in.")


def signed_in(who: str) -> Page:
    """The login has succeeded; ``who`` names the account."""
    return Page(200, "Signed in", f"gptmock is signed in as {who}. You can close this tab.")


def failed(reason: str) -> Page:
    """The login has failed, with the reason."""
    return Page(400, "Sign-in failed", f"{reason} Go back to the terminal and start again.")


def unrelated(reason: str) -> Page:
    """A redirect that does not belong to this login, which goes on."""
    return Page(400, "Not this sign-in", f"{reason} It was ignored.")
