"""
What an HTTP engine of ours does: httpx's API for those who ask now and then, and ``exchange`` for model calls, without
httpx's request and response (0.1 ms for each call). Knows no engine and no endpoint.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import httpx

from gptmock.upstream.bodies import Body, Header, decoded_body, text_name
from gptmock.upstream.dialer import Origin

_LOCATION = "location"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes, taken apart once."""

    url: str
    origin: Origin
    path: bytes
    """With the query."""
    authority: bytes
    """For the ``Host`` header."""

    @classmethod
    def of(cls, url: httpx.URL) -> Target:
        """
        Take a URL apart.

        Raises:
            httpx.UnsupportedProtocol: it is none of http or https.
        """
        if url.scheme not in ("http", "https") or not url.host:
            raise httpx.UnsupportedProtocol(f"no http or https URL: {url.scheme!r}")
        tls = url.scheme == "https"
        host = url.raw_host.decode("ascii")
        return cls(str(url), (tls, host, url.port or (443 if tls else 80)), url.raw_path, url.netloc)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request, whole."""

    method: str
    target: Target
    headers: list[Header]
    """All of them, ``Host`` and ``Content-Length`` too."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of a response, and the body that is still to come, without its content coding."""

    status: int
    raw_headers: list[Header]
    body: Body

    def headers(self) -> dict[str, str]:
        """As a plain mapping, names in lower case; of several with one name the last."""
        return {text_name(name): value.decode("utf-8", "replace") for name, value in self.raw_headers}

    @property
    def location(self) -> str | None:
        """Where a redirect points to, as the server wrote it."""
        found = [value for name, value in self.raw_headers if name.lower() == b"location"]
        return found[-1].decode("utf-8", "replace") if found else None


def answer_of(status: int, headers: list[Header], body: Body) -> Answer:
    """The answer with a body that is decoded as it is handed over."""
    return Answer(status, *decoded_body(headers, body))


class Engine(httpx.AsyncBaseTransport):
    """A connection pool that sends requests."""

    @abstractmethod
    async def exchange(self, outgoing: Outgoing) -> Answer:
        """
        Send a request; returns when the head of its answer is there. ``Answer.body`` has to be closed.

        Raises:
            httpx.TransportError: there was no answer.
        """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx. Request bodies are sent whole."""
        body = await request.aread()
        outgoing = Outgoing(request.method, Target.of(request.url), request.headers.raw, body)
        return _response(request, await self.exchange(outgoing))


def _response(request: httpx.Request, answer: Answer) -> httpx.Response:
    # ``Location`` is no header of it: httpx would make the next request of it, though nobody asks it to, and fail on
    # many. See ``location_of``.
    headers = [one for one in answer.raw_headers if one[0].lower() != b"location"]
    return httpx.Response(
        answer.status,
        headers=headers,
        stream=answer.body,
        request=request,
        extensions={"http_version": b"HTTP/1.1", _LOCATION: answer.location},
    )


def location_of(response: httpx.Response) -> str | None:
    """``Answer.location`` of a response that came through one of our engines."""
    location: str | None = response.extensions.get(_LOCATION)
    return location
