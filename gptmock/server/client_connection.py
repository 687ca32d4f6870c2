"""One client connection: Sanic's protocol with the deadlines and bounds that it lacks."""

from __future__ import annotations

from sanic.server.protocols.http_protocol import HttpProtocol

from gptmock.server.client_http import ClientHttp


class ClientConnection(HttpProtocol):
    """
    The protocol of one client connection, given to Sanic's server.

    Defines no ``__touchup__``: Sanic recompiles the methods of the classes that do, in their module's namespace.
    """

    HTTP_CLASS = ClientHttp
