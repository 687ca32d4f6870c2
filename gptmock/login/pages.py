"""The pages that a person's browser shows at the end of a login. No script, nothing loaded from elsewhere."""

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
    """An answer to a browser."""

    status: int
    title: str
    text: str
    allowed: str | None = None
    """The methods that the path knows, with a 405."""

    def response(self, *, with_body: bool = True) -> bytes:
        """The whole HTTP/1.1 response; the connection ends with it."""
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

NOT_FOUND = Page(404, "Nothing here", "A gptmock sign-in waits here for your browser to come back; this is not it.")
BAD_REQUEST = Page(400, "Not understood", "That was not a request that a browser sends.")
TOO_LARGE = Page(431, "Too long", "That request is longer than any redirect.")
NOT_ALLOWED = Page(405, "Not allowed", "A browser comes back with GET.", allowed="GET")
USED = Page(409, "Already used", "This sign-in has had its answer. Look at the terminal for how it ended.")
CANCELLED = Page(200, "Login cancelled", "Another gptmock took over this sign-in.")


def signed_in(who: str) -> Page:
    """All went well; ``who`` names the account."""
    return Page(200, "Signed in", f"gptmock is signed in as {who}. You can close this tab.")


def failed(reason: str) -> Page:
    """The login came to nothing, and why."""
    return Page(400, "Sign-in failed", f"{reason} Go back to the terminal and start again.")


def stray(reason: str) -> Page:
    """Somebody came back who was not sent from here; the login goes on."""
    return Page(400, "Not this sign-in", f"{reason} It was ignored.")
