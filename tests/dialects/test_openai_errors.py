import json

import pytest

from gptmock.dialects.openai_errors import error_body, error_frame, error_reply, retry_headers
from gptmock.errors import (
    AccountUnusable,
    BadRequest,
    InternalError,
    LockBusy,
    MethodNotAllowed,
    NotLoggedIn,
    RefreshRejected,
    RefreshUnavailable,
    TooManyRequests,
    Unauthorized,
    UnknownModel,
    UnknownRoute,
    UpstreamBroken,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (BadRequest("M", param="n"), 400, "invalid_request_error", "invalid_value"),
        (Unauthorized("M"), 401, "invalid_request_error", "invalid_api_key"),
        (UnknownModel("M", param="model"), 404, "invalid_request_error", "model_not_found"),
        (UnknownRoute("M"), 404, "invalid_request_error", "unknown_url"),
        (MethodNotAllowed("M", allowed=("POST",)), 405, "invalid_request_error", "method_not_allowed"),
        (TooManyRequests("M"), 429, "rate_limit_error", "rate_limit_exceeded"),
        (
            UpstreamRefused("M", code="usage_limit_reached", status=429),
            429,
            "usage_limit_reached",
            "usage_limit_reached",
        ),
        (UpstreamRefused("M", code="usage_not_included", status=429), 429, "insufficient_quota", "usage_not_included"),
        (UpstreamUnavailable("M", code="slow_down", status=503), 503, "server_error", "slow_down"),
        (NotLoggedIn("M"), 503, "server_error", "login_required"),
        (UpstreamBroken("M"), 502, "server_error", "upstream_stream_truncated"),
        (UpstreamTimeout("M"), 504, "server_error", "upstream_timeout"),
        (InternalError("M"), 500, "server_error", "internal_error"),
    ],
)
def test_the_envelope_has_all_four_keys(error, status, kind, code):
    reply = error_reply(error)
    assert reply.status == status
    assert reply.content_type == "application/json"
    assert json.loads(reply.body) == {"error": {"message": "M", "type": kind, "param": error.param, "code": code}}


def test_a_frame_is_the_same_envelope():
    error = BadRequest("M", param="n")
    assert error_frame(error) == b"data: " + error_body(error) + b"\n\n"


def test_line_separators_in_a_message_are_escaped():
    assert b"a\\u2028b\\u0085" in error_body(BadRequest("a\u2028b\u0085"))


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (BadRequest("M"), {}),
        (Unauthorized("M"), {"www-authenticate": "Bearer"}),
        (MethodNotAllowed("M", allowed=("GET", "HEAD")), {"allow": "GET, HEAD"}),
        (TooManyRequests("M", retry_after_seconds=1.2), {"retry-after": "2", "retry-after-ms": "1200"}),
        (TooManyRequests("M", retry_after_seconds=0), {"retry-after": "1", "retry-after-ms": "1"}),
        # Hours: v1 of the SDK would obey the milliseconds and hammer.
        (
            UpstreamRefused("M", code="usage_limit_reached", status=429, retry_after_seconds=3600, should_retry=False),
            {"retry-after": "3600", "x-should-retry": "false"},
        ),
        (UpstreamUnavailable("M", should_retry=True), {"x-should-retry": "true"}),
        (NotLoggedIn("M"), {"x-should-retry": "false"}),
        (RefreshRejected("M"), {"x-should-retry": "false"}),
        (AccountUnusable("M"), {"x-should-retry": "false"}),
        (UnknownRoute("M"), {"x-should-retry": "false"}),
        (RefreshUnavailable("M"), {}),
        (LockBusy("M"), {}),
        (NotLoggedIn("M", should_retry=True), {"x-should-retry": "true"}),
    ],
)
def test_the_headers_that_sdks_obey(error, headers):
    assert retry_headers(error) == headers
