import json

import pytest

from gptmock.dialects.messages.errors import error_frame, error_reply
from gptmock.errors import (
    AccountsExhausted,
    AccountUnusable,
    BadRequest,
    BodyTooLarge,
    CredentialRefused,
    ForeignLogin,
    InternalError,
    KeyExpired,
    NotLoggedIn,
    RefreshUnavailable,
    StoreUnavailable,
    TooManyRequests,
    Unauthorized,
    UnknownModel,
    UnknownRoute,
    UpstreamBroken,
    UpstreamTimeout,
    UpstreamUnavailable,
)


@pytest.mark.check(119, 305)
@pytest.mark.parametrize(
    ("error", "status", "kind", "should_retry"),
    [
        (BadRequest("m"), 400, "invalid_request_error", None),
        (Unauthorized("m"), 401, "authentication_error", "false"),
        (ForeignLogin("m"), 403, "permission_error", "false"),
        (UnknownModel("m"), 404, "not_found_error", "false"),
        (UnknownRoute("m"), 404, "not_found_error", "false"),
        (BodyTooLarge("m"), 413, "request_too_large", None),
        (TooManyRequests("m", retry_after_seconds=5), 429, "rate_limit_error", None),
        (AccountsExhausted("m", retry_after_seconds=61), 429, "rate_limit_error", "false"),
        (NotLoggedIn("m"), 503, "api_error", "false"),
        (RefreshUnavailable("m", retry_after_seconds=1), 503, "api_error", "false"),
        (CredentialRefused("m"), 503, "api_error", "false"),
        (AccountUnusable("m"), 503, "api_error", "false"),
        (StoreUnavailable("m"), 503, "api_error", None),
        (UpstreamUnavailable("m", code="server_is_overloaded", status=503), 529, "overloaded_error", None),
        (UpstreamUnavailable("m"), 502, "api_error", None),
        (UpstreamBroken("m"), 502, "api_error", None),
        (UpstreamTimeout("m"), 504, "timeout_error", None),
        (InternalError("m"), 500, "api_error", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_error(error, status, kind, should_retry):
    reply = error_reply(error)
    assert (reply.status, reply.headers.get("x-should-retry")) == (status, should_retry)
    assert json.loads(reply.body) == {"type": "error", "error": {"type": kind, "message": "m"}, "request_id": None}
    assert reply.with_request_id is not None
    assert json.loads(reply.with_request_id("req-1"))["request_id"] == "req-1"
    wait = error.retry_after_seconds
    assert reply.headers.get("retry-after") == (None if wait is None else str(int(wait)))


def test_a_thread_is_refused_so_that_the_sdk_goes_on_without():
    said = json.loads(error_reply(BadRequest("m", param="thread")).body)["error"]
    assert said["details"]["error_code"] == "thread_unsupported_request"


def test_a_frame():
    frame = error_frame(BadRequest("a\u2028b"), request_id="r")
    assert frame.startswith(b"event: error\ndata: {")
    assert frame.endswith(b"}\n\n")
    assert b"\\u2028" in frame


@pytest.mark.check(305)
def test_an_expired_key_is_not_told_as_a_wrong_one():
    error = KeyExpired("Incorrect API key provided: ***abcd.")
    reply = error_reply(error)
    said = json.loads(reply.body)["error"]
    assert (reply.status, said["type"]) == (403, "permission_error")
    assert "has expired" in said["message"]
    assert (reply.headers.get("x-should-retry"), "www-authenticate" in reply.headers) == ("false", False)
    assert b"has expired" in error_frame(error, request_id="req-1")
