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

    def close_if_idle(self) -> bool:
        """
        Close the connection, or let it end with the response that it is busy with; says whether it is closed already.

        A server that stops asks each connection once. Sanic leaves a busy one open for further requests, and a proxy
        that keeps it would then hold up the stop for the whole grace.
        """
        if super().close_if_idle():
            return True
        if self.http is not None:
            self.http.keep_alive = False
        return False
