"""
The cookie of the page. ``SameSite=Strict`` and the browser guard keep foreign pages from using it, ``HttpOnly`` keeps
it from scripts. Over TLS its name has the prefix ``__Host-`` (RFC 6265bis 4.1.3.2): no other host can have set it.
"""

from __future__ import annotations

from sanic import HTTPResponse, Request

from gptmock.gateway.page_sessions import SESSION_SECONDS
from gptmock.server.guard import is_https

SECURE_NAME = "__Host-gptmock"
PLAIN_NAME = "gptmock_session"
"""Over plain HTTP, which browsers take for secure on loopback only, the prefix is not allowed."""
_MAX_CHARACTERS = 128


def session_value(request: Request) -> str | None:
    """The value of the session's cookie, if the request has a plausible one."""
    if "cookie" not in request.headers:
        return None
    value: str | None = request.cookies.get(SECURE_NAME if is_https(request) else PLAIN_NAME)
    return value if value and len(value) <= _MAX_CHARACTERS and value.isascii() else None


def set_session(request: Request, response: HTTPResponse, value: str) -> None:
    """Give the browser the cookie."""
    _set(request, response, value, int(SESSION_SECONDS))


def clear_session(request: Request, response: HTTPResponse) -> None:
    """Take the cookie away."""
    _set(request, response, "", 0)


def _set(request: Request, response: HTTPResponse, value: str, seconds: int) -> None:
    secure = is_https(request)
    name, more = (SECURE_NAME, "; Secure") if secure else (PLAIN_NAME, "")
    response.headers.add("set-cookie", f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{more}")
