"""Sends bytes to a server and takes its answers apart, strictly."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import h11
import httpx

from tests.harness import NO_TLS

_SECONDS = 60.0
REFUSED = {"bad_request", "uri_too_long", "headers_too_large"}
"""The codes of answers to what was not read as a request."""


@dataclass(frozen=True)
class Answer:
    """One answer of a server."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> Any:
        """What its body says under ``error``; ``None`` if there is no such thing."""
        try:
            return json.loads(self.body).get("error")
        except (ValueError, AttributeError):
            return None

    @property
    def code(self) -> str | None:
        """The code of an error in OpenAI's shape."""
        return self.error.get("code") if isinstance(self.error, dict) else None

    def has_shape(self, shape: str) -> bool:
        """Whether it is an error of this family: ``openai`` or ``ollama``."""
        if set(json.loads(self.body)) != {"error"} or self.headers["content-type"].partition(";")[0] != _JSON:
            return False
        if shape == "ollama":
            return isinstance(self.error, str) and bool(self.error)
        return set(self.error) == {"message", "type", "param", "code"} and bool(self.error["message"])


_JSON = "application/json"


def exchange(base_url: str, *pieces: bytes) -> list[Answer]:
    """
    Send bytes, each piece by itself, and read until the server closes.

    Raises:
        TimeoutError: it did not close.
        ValueError: what came is not a sequence of whole answers.
    """
    host, _, port = base_url.removeprefix("http://").partition(":")
    received = bytearray()
    with socket.create_connection((host, int(port)), timeout=_SECONDS) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            sock.sendall(piece)
        while part := sock.recv(65536):
            received += part
    answers = []
    while received:
        answers.append(_next_answer(received))
    return [answer for answer in answers if answer.status >= 200]


def post(base_url: str, path: str, body: bytes, **headers: str) -> Answer:
    """POST a body on a connection of its own."""
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {_JSON}\r\n"
        f"{more}Content-Length: {len(body)}\r\n\r\n"
    )
    (answer,) = exchange(base_url, head.encode() + body)
    return answer


def _next_answer(received: bytearray) -> Answer:
    head, ended, rest = bytes(received).partition(b"\r\n\r\n")
    if not ended:
        raise ValueError(f"no answer: {head!r}")
    line, *fields = head.decode("latin-1").split("\r\n")
    version, status = line.split(" ")[:2]
    if version != "HTTP/1.1":
        raise ValueError(line)
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in fields)}
    if headers.get("transfer-encoding") == "chunked":
        whole = rest
        rest = rest[rest.index(b"0\r\n\r\n") + 5 :]
        body = b"".join(whole[: len(whole) - len(rest)].split(b"\r\n")[1::2])
    else:
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            raise ValueError(f"{length - len(rest)} bytes are missing")
        body, rest = rest[:length], rest[length:]
    received[:] = rest
    return Answer(int(status), headers, body)


def heads_of_h11(data: bytes) -> int:
    """How many request heads h11 accepts in these bytes, as a server that answers each whole request."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1024 * 1024)
    connection.receive_data(data)
    heads = 0
    try:
        while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                heads += 1
            elif isinstance(event, h11.EndOfMessage):
                connection.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is h11.MUST_CLOSE:
                    break
                connection.start_next_cycle()
    except h11.RemoteProtocolError:
        pass
    return heads


@dataclass
class Pings:
    """How long a worker takes to answer ``/health`` while something else goes on."""

    slowest_seconds: float = 0.0
    _stopped: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self, base_url: str) -> Iterator[Pings]:
        """Ask again and again while the context lasts."""
        thread = threading.Thread(target=self._run, args=(base_url,))
        thread.start()
        try:
            yield self
        finally:
            self._stopped.set()
            thread.join()

    def _run(self, base_url: str) -> None:
        with httpx.Client(base_url=base_url, trust_env=False, verify=NO_TLS, timeout=_SECONDS) as client:
            while not self._stopped.wait(0.01):
                began = time.monotonic()
                client.get("/health")
                self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
