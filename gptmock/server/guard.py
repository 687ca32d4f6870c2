"""
The browser guard: refuses requests that a web page makes a browser send, before any handler or body is read.

    Host            a page may be loaded from a name that resolves to this machine (DNS rebinding): a loopback bind
                    answers to loopback names and configured ones only, else 421. Such a page may also set the
                    headers of a trusted proxy on its machine: the host that a proxy replaces is checked too
    Origin          a page of another origin may neither read nor spend: 403, unless the origin is configured
    Sec-Fetch-Site  the same for requests without an origin, such as images
    Content-Type    what a page may send without a preflight (forms, plain text) is not read from browsers: 415

A client is taken for a browser if it sends ``Origin``, ``Sec-Fetch-Site`` or ``Referer``; other clients notice nothing.
``Sec-Fetch-Mode`` alone is no sign of one: Node's ``fetch`` sends it. Sources: the Fetch standard, "CORS protocol" and
"Origin header"; W3C Fetch Metadata; ollama/ollama ``server/routes.go`` for the origins of desktop apps.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Protocol

from sanic import Request

from gptmock.errors import ForeignOrigin, HostNotAllowed, UnsafeContentType
from gptmock.server.context import ServerOptions
from gptmock.server.cors import CorsPolicy
from gptmock.server.forwarding import ClientView, RepeatedHeaders, TrustedProxies
from gptmock.server.hosts import authority_of

PROBES = frozenset({"/health", "/readyz"})
"""Answered under any host name: load balancers ask by address. They hold no data."""
_OWN_SITES = frozenset({"same-origin", "none"})
"""Of ``Sec-Fetch-Site``: our own page, and an address that the user typed."""
_APP_SCHEMES = frozenset({"app", "file", "tauri", "vscode-file", "vscode-webview"})
"""Origins of desktop apps, as Ollama lets them in: no web page has one, and a page from a file has ``null``."""
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})
_JSON = re.compile(r"application/(?:json|x-ndjson|[a-z0-9.-]+\+json)\Z")
_STANDARD_PORTS = {"http": 80, "https": 443}
_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[A-Za-z0-9._~\[\]:-]{0,255})\Z")


class AskedHeaders(RepeatedHeaders, Protocol):
    """The headers of a request, by lower-case name."""

    def get(self, name: str, /) -> str | None:
        """The first value."""

    def __contains__(self, name: object, /) -> bool: ...


class Guard:
    """
    Checks each request once, before it is routed.

    Args:
        options: where the server listens, and whom it trusts.
        cors: the origins that the operator lets in.
    """

    def __init__(self, options: ServerOptions, cors: CorsPolicy) -> None:
        self._cors = cors
        self._proxies = TrustedProxies(options.trusted_proxies)
        known = (authority_of(_bracketed(name)) for name in (*options.allowed_hosts, options.bound_host) if name)
        self._names = frozenset(authority.name for authority in known if authority is not None)
        self._is_exposed = options.is_exposed
        self._checks_all_hosts = not options.is_exposed or bool(options.allowed_hosts)
        # Beyond loopback any name may be right. A page from a name that is rebound has no key, unless none is needed.
        self._checks_hosts_of_browsers = self._checks_all_hosts or not options.requires_key
        self._checks_replaced_hosts = self._checks_all_hosts and not (options.is_exposed and options.requires_key)

    def admit(self, request: Request) -> None:
        """
        Check a request, and note its client's address for ``client_address``.

        Raises:
            HostNotAllowed: it is for a foreign host name.
            ForeignOrigin: a web page of another origin sent it.
            UnsafeContentType: a page of our own sent something other than JSON.
        """
        connection = request.conn_info
        seen = ClientView(
            connection.client_ip if connection is not None else "",
            "https" if connection is not None and connection.ssl else "http",
            _host(request),
        )
        view = self._proxies.view(request.headers, seen)
        request.ctx.client_address, request.ctx.client_scheme = view.address, view.scheme
        request.ctx.client_host = view.host
        if view.host != seen.host:
            self.check_replaced_host(request.path, seen)
        self.check(request.method, request.path, request.headers, view)

    def check_replaced_host(self, path: str, seen: ClientView) -> None:
        """
        Check the host of a request for which a proxy tells another one. An address and a name without a dot, which
        proxies send for their upstream, are no names that a foreign name server can make mean this machine.

        Args:
            path: the path below the base path.
            seen: the request as it came.

        Raises:
            HostNotAllowed: it is a foreign host name.
        """
        authority = authority_of(seen.host) if seen.host else None
        is_rebindable = authority is None or (not authority.is_address and "." in authority.name)
        # No browser connects to a Unix socket, whose peers have no address.
        if self._checks_replaced_hosts and seen.address and is_rebindable:
            self._check_host(path, seen.host, is_page=False)

    def check(self, method: str, path: str, headers: AskedHeaders, view: ClientView) -> None:
        """
        Check a request whose client sees it as ``view``.

        Args:
            method: the method.
            path: the path below the base path.
            headers: by lower-case name.
            view: what the client used.

        Raises:
            As ``admit``.
        """
        origins, site = headers.getall("origin", []), headers.get("sec-fetch-site")
        is_page = bool(origins) or site is not None
        if self._checks_all_hosts or (is_page and self._checks_hosts_of_browsers):
            self._check_host(path, view.host, is_page=is_page)
        if origins:
            if not _is_administration(path) and self._lets_in(", ".join(origins), method, headers):
                return
            if not _is_own(origins, view):
                raise _foreign_origin(origins[0] if len(origins) == 1 else "")
        elif site is not None and site not in _OWN_SITES:
            raise ForeignOrigin(
                "A web page of another site may not use this server. If you trust the page, add its origin to "
                "GPTMOCK_CORS_ORIGINS, and let it send its requests with CORS.",
                should_retry=False,
            )
        if (is_page or "referer" in headers) and method not in _BODILESS:
            _check_content_type(headers)

    def _check_host(self, path: str, host: str | None, *, is_page: bool) -> None:
        # Browsers always send a host. HTTP/1.0 clients may have none.
        if path.rstrip("/") in PROBES or (host == "" and not is_page):
            return
        authority = authority_of(host) if host else None
        if authority is None:
            raise HostNotAllowed("The host name of this request is missing or invalid.", should_retry=False)
        if authority.is_loopback or authority.name in self._names:
            return
        if authority.is_address and self._is_exposed:
            # An address cannot be rebound, and a Prometheus or a kubelet has no name for one of several servers.
            return
        raise HostNotAllowed(
            f"This server does not answer to the name {authority.name}. If that is a name of this server, add it to "
            f"GPTMOCK_ALLOWED_HOSTS: GPTMOCK_ALLOWED_HOSTS={authority.name}",
            should_retry=False,
        )

    def _lets_in(self, origin: str, method: str, headers: AskedHeaders) -> bool:
        if self._cors.allows(origin):
            return True
        # A preflight asks for CORS headers, which only configured origins get.
        is_preflight = method == "OPTIONS" and "access-control-request-method" in headers
        found = _ORIGIN.match(origin)
        return found is not None and found["scheme"] in _APP_SCHEMES and not is_preflight


def guard_of_scrapes(options: ServerOptions) -> Guard | None:
    """Of the listener for scrapes, if it is on a loopback address; elsewhere scrapers ask by any name."""
    host = options.metrics_address[0] if options.metrics_address is not None else ""
    bound = authority_of(_bracketed(host))
    if bound is None or not bound.is_loopback:
        return None
    return Guard(replace(options, bound_host=host, is_exposed=False), CorsPolicy(()))


def _is_administration(path: str) -> bool:
    """Whether a path is for the server's own page alone: no other page may administrate, however it is trusted."""
    return path.lower().startswith("/admin")


def client_address(request: Request) -> str | None:
    """The client's IP address, behind trusted proxies too; ``None`` if it was not read."""
    address: str | None = getattr(request.ctx, "client_address", None)
    return address or None


def client_source(request: Request) -> str:
    """Where a request comes from, to count wrong keys by (``gateway.guesses``)."""
    return client_address(request) or "unknown"


def own_origin(request: Request) -> str:
    """The origin of this server as the client of a request names it, behind trusted proxies too."""
    return f"{'https' if is_https(request) else 'http'}://{getattr(request.ctx, 'client_host', None) or request.host}"


def is_https(request: Request) -> bool:
    """Whether the client uses TLS, also if a trusted proxy ends it."""
    return getattr(request.ctx, "client_scheme", "http") == "https"


def _host(request: Request) -> str | None:
    """The one host that a request names; ``""`` if it names none, ``None`` if it names several or an empty one."""
    # A host in the target is the same: ``server.request_head`` has compared them.
    hosts = request.headers.getall("host", [])
    if not hosts:
        return ""
    return hosts[0] or None if len(hosts) == 1 else None


def _is_own(origins: list[str], view: ClientView) -> bool:
    """Whether the origin is the one under which the client sees this server."""
    found = _ORIGIN.match(origins[0]) if len(origins) == 1 else None
    theirs = authority_of(found["authority"]) if found is not None else None
    ours = authority_of(view.host) if view.host else None
    if found is None or theirs is None or ours is None or found["scheme"] != view.scheme:
        return False
    standard = _STANDARD_PORTS.get(found["scheme"])
    return (theirs.name, theirs.port or standard) == (ours.name, ours.port or standard)


def _foreign_origin(origin: str) -> ForeignOrigin:
    found = _ORIGIN.match(origin)
    if found is None:
        message = (
            "A web page without an origin of its own, such as a local file or a sandboxed frame, may not use this "
            "server. Serve the page from a web server, and add its origin to GPTMOCK_CORS_ORIGINS."
        )
    else:
        message = (
            f"Pages of {origin} may not use this server. If you trust them, add their origin to "
            f"GPTMOCK_CORS_ORIGINS: gptmock serve --cors-origins {origin}"
        )
    return ForeignOrigin(message, should_retry=False)


def _check_content_type(headers: AskedHeaders) -> None:
    kinds = headers.getall("content-type", [])
    if not kinds and "transfer-encoding" not in headers and headers.get("content-length") in (None, "0"):
        return
    if len(kinds) != 1 or not _JSON.match(kinds[0].partition(";")[0].strip().lower()):
        raise UnsafeContentType(
            "From a web page this server reads JSON only: send the header Content-Type: application/json.",
            should_retry=False,
        )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
