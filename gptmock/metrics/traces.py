"""
OpenTelemetry traces of model calls, with the extra ``gptmock[otel]`` and ``GPTMOCK_OTEL``: made when a turn has ended,
of what its log line tells. Nothing of OpenTelemetry is imported before ``open_traces``.

    turn    SERVER    "chat MODEL", the child of the client's ``traceparent`` if it sent one
    try     CLIENT    "chat MODEL", a child of the turn for each request to the upstream

The attributes are those of the GenAI semantic conventions, and ``gptmock.*``. Prompts and answers are in none. Where
spans are sent, and which, the ``OTEL_*`` variables of the SDK say (``OTEL_EXPORTER_OTLP_ENDPOINT``,
``OTEL_TRACES_SAMPLER``).
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from gptmock import __version__
from gptmock.live import UpstreamTry

NAME = "gptmock"
_OPERATIONS = {"completions": "text_completion", "ollama_generate": "text_completion"}
"""GenAI operations of dialects; the others are ``chat``."""
_MODULES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")


def lacks_extra() -> bool:
    """Whether ``gptmock[otel]`` is not installed."""
    try:
        return any(importlib.util.find_spec(name) is None for name in _MODULES)
    except ModuleNotFoundError:
        return True


class Traces:
    """
    Makes spans.

    Args:
        provider: a ``TracerProvider`` of the SDK.
        upstream_url: the base URL of the backend.
    """

    def __init__(self, provider: Any, upstream_url: str) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(NAME, __version__)
        self._api = importlib.import_module("opentelemetry.trace")
        propagation = importlib.import_module("opentelemetry.trace.propagation.tracecontext")
        self._propagator = propagation.TraceContextTextMapPropagator()
        url = urlsplit(upstream_url)
        port = url.port or {"http": 80, "https": 443}.get(url.scheme)
        self._upstream = {"server.address": url.hostname, "server.port": port}

    def turn(
        self,
        fields: Mapping[str, Any],
        headers: Mapping[str, str],
        tries: Sequence[UpstreamTry],
        *,
        started_ns: int,
        response: Mapping[str, str | None],
    ) -> None:
        """
        Make the spans of a turn that has ended just now.

        Args:
            fields: of its log line.
            headers: of the client's request, names in lower case; ``traceparent`` and ``tracestate`` are used.
            tries: the requests to the upstream, the first one first.
            started_ns: when the request was begun, in nanoseconds since the epoch.
            response: ``id`` and ``model`` as the upstream has told them.
        """
        ended_ns = max(started_ns, time.time_ns())
        model, operation = fields["model"], _OPERATIONS.get(fields["dialect"], "chat")
        name = f"{operation} {model}" if model is not None else operation
        common = {"gen_ai.operation.name": operation, "gen_ai.provider.name": "openai", "gen_ai.request.model": model}
        span = self._tracer.start_span(
            name,
            context=self._propagator.extract(headers),
            kind=self._api.SpanKind.SERVER,
            start_time=started_ns,
            attributes=_known({**common, **_of_turn(fields), **_of_response(response)}),
        )
        if fields["ended"] not in ("ok", "client_gone"):
            self._fail(span, fields["ended"])
        within = self._api.set_span_in_context(span)
        for number, one in enumerate(tries, start=1):
            facts = {**common, **self._upstream, "gptmock.account": one.account_id, "gptmock.try": number}
            self._try(name, one, within, facts, ended_ns)
        span.end(end_time=ended_ns)

    def _try(self, name: str, one: UpstreamTry, within: Any, facts: Mapping[str, Any], ended_ns: int) -> None:
        kind = self._api.SpanKind.CLIENT
        span = self._tracer.start_span(
            name, context=within, kind=kind, start_time=one.started_ns, attributes=_known(facts)
        )
        if one.failed is not None:
            self._fail(span, one.failed)
        span.end(end_time=one.ended_ns or ended_ns)

    def close(self) -> None:
        """Send what waits; takes some seconds at most."""
        self._provider.shutdown()

    def _fail(self, span: Any, code: str) -> None:
        span.set_attribute("error.type", code)
        span.set_status(self._api.Status(self._api.StatusCode.ERROR, code))


def open_traces(upstream_url: str) -> Traces:
    """
    Traces that are sent by OTLP over HTTP, in a thread.

    Raises:
        ImportError: the extra is not installed.
    """
    sdk, exporter = (importlib.import_module(name) for name in _MODULES)
    export = importlib.import_module("opentelemetry.sdk.trace.export")
    resources = importlib.import_module("opentelemetry.sdk.resources")
    found = resources.Resource.create()
    if str(found.attributes.get("service.name", "unknown")).startswith("unknown"):
        found = found.merge(resources.Resource({"service.name": NAME}))
    provider = sdk.TracerProvider(resource=found.merge(resources.Resource({"service.version": __version__})))
    provider.add_span_processor(export.BatchSpanProcessor(exporter.OTLPSpanExporter()))
    return Traces(provider, upstream_url)


def _of_turn(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "gen_ai.usage.input_tokens": fields["input_tokens"],
        "gen_ai.usage.output_tokens": fields["output_tokens"],
        "gen_ai.usage.cache_read.input_tokens": fields["cached_tokens"],
        "http.response.status_code": fields["status"],
        "gptmock.usage.reasoning_tokens": fields["reasoning_tokens"],
        "gptmock.request_id": fields["request_id"],
        "gptmock.dialect": fields["dialect"],
        "gptmock.key": fields["key"],
        "gptmock.account": fields["account"],
        "gptmock.stream": fields["stream"],
        "gptmock.ended": fields["ended"],
        "gptmock.tries": fields["tries"],
        "gptmock.first_event_seconds": fields["first_event_seconds"],
    }


def _of_response(response: Mapping[str, str | None]) -> dict[str, Any]:
    return {"gen_ai.response.id": response.get("id"), "gen_ai.response.model": response.get("model")}


def _known(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}
