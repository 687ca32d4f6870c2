"""An upstream that plays the bytes of a case, whatever is asked."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class Reply:
    """What is sent."""

    stream: bytes = b""
    is_cut: bool = False
    """Closed without the last chunk."""


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        while line := self.rfile.readline():
            length = 0
            while field := self.rfile.readline().strip().lower():
                if field.startswith(b"content-length:"):
                    length = int(field.partition(b":")[2])
            self.rfile.read(length)
            if not line.startswith(b"POST ") or b"/responses " not in line:
                self.wfile.write(_NOT_FOUND)
                continue
            reply = self.server.reply
            chunk = b"%x\r\n%b\r\n" % (len(reply.stream), reply.stream) if reply.stream else b""
            self.wfile.write(_HEAD + chunk + (b"" if reply.is_cut else b"0\r\n\r\n"))
            if reply.is_cut:
                self.request.shutdown(socket.SHUT_RDWR)
                return


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    reply = Reply()

    def handle_error(self, *_: object) -> None:
        """The gateway may leave at any time."""


class PlayedUpstream:
    """Listens while the context of ``playing`` lasts; set ``reply`` before each request."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self.url = f"http://127.0.0.1:{server.server_address[1]}/backend-api"

    def play(self, reply: Reply) -> None:
        """What is answered from now on."""
        self._server.reply = reply


@contextmanager
def played_upstream() -> Iterator[PlayedUpstream]:
    """A server in threads of this process."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield PlayedUpstream(server)
        finally:
            server.shutdown()
            thread.join()
