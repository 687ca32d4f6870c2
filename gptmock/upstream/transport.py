"""Opens the HTTP transport and the client over it: our own engine, or aiohttp's. Knows no endpoint."""

from __future__ import annotations

from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from gptmock.upstream.direct import DirectTransport
from gptmock.upstream.engine import Engine


def open_transport(*, proxy: str | None = None, direct: bool = True) -> Engine:
    """Our own engine; aiohttp's where there is a proxy, and where ours is switched off."""
    if direct and proxy is None:
        return DirectTransport()
    # Only here: to import aiohttp takes a command 0.2 s, and a worker 10 MB.
    from gptmock.upstream.aiohttp_transport import AiohttpTransport  # noqa: PLC0415

    return AiohttpTransport(proxy=proxy)


def open_client(transport: httpx.AsyncBaseTransport | None = None, *, proxy: str | None = None) -> httpx.AsyncClient:
    """
    An HTTP client without timeouts, redirects, proxies from the environment, or cookies.

    Cookies are off because httpx would send those of one account with another account's request.
    """
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    return httpx.AsyncClient(
        transport=transport or open_transport(proxy=proxy),
        cookies=no_cookies,
        timeout=None,  # noqa: S113 - callers set their own deadlines
        trust_env=False,
        follow_redirects=False,
    )
