"""HTTP/1.1 on one client connection: Sanic's parser with the checks that it lacks."""

from __future__ import annotations

from sanic.http import Http


class ClientHttp(Http):
    """Reads the requests of one connection and writes their responses."""
