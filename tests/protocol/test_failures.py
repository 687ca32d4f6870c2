import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.errors import (
    AccountUnusable,
    CredentialRefused,
    GptmockError,
    UnknownModel,
    UpstreamBroken,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gptmock.protocol.events import ErrorEvent, ResponseFailed, decode_event
from gptmock.protocol.failures import (
    CODES,
    MAX_RESET_SECONDS,
    document_failure,
    failure_of,
    no_stream,
    refusal_of,
    truncated,
)
from gptmock.protocol.quotation import MAX_MESSAGE_CHARACTERS
from gptmock.simulator.scene_replies import FAILURES

NOW = 1_783_000_000.0


def error(**members):
    return json.dumps({"error": {"message": "M", **members}}).encode()


REFUSALS = [
    # status, body, kind, status to the client, code, part of the message, retry after, should retry
    (
        400,
        b'{"detail":"Unsupported parameter: temperature"}',
        UpstreamRefused,
        400,
        "invalid_request",
        "temperature",
        None,
        None,
    ),
    (
        400,
        b'{"detail":"The \'x\' model is not supported when using Codex with a ChatGPT account."}',
        UnknownModel,
        404,
        "model_not_found",
        "'x' model",
        None,
        None,
    ),
    (
        404,
        b'{"error":{"message":"Model not found x","param":"model","code":null}}',
        UnknownModel,
        404,
        "model_not_found",
        "not found x",
        None,
        None,
    ),
    (
        400,
        b'{"detail":"The \'x\' model requires a newer version of Codex."}',
        UpstreamRefused,
        400,
        "codex_version_too_old",
        "GPTMOCK_CODEX_VERSION",
        None,
        None,
    ),
    (400, error(code="context_length_exceeded"), UpstreamRefused, 400, "context_length_exceeded", "M", None, None),
    (
        400,
        error(code="unsupported_value", param="reasoning.effort"),
        UpstreamRefused,
        400,
        "unsupported_value",
        "M",
        None,
        None,
    ),
    (400, error(type="invalid_request_error"), UpstreamRefused, 400, "invalid_request_error", "M", None, None),
    (400, b'{"error":"a plain word"}', UpstreamRefused, 400, "invalid_request", "a plain word", None, None),
    (
        400,
        b'{"detail":[{"loc":["body"],"msg":"bad"}]}',
        UpstreamRefused,
        400,
        "invalid_request",
        '"msg":"bad"',
        None,
        None,
    ),
    (400, b'{"error":null,"detail":"D"}', UpstreamRefused, 400, "invalid_request", "D", None, None),
    (
        400,
        b'{"error":{"message":"bad \xff byte"}}',
        UpstreamRefused,
        400,
        "invalid_request",
        "bad \ufffd byte",
        None,
        None,
    ),
    (401, error(code="token_invalidated"), CredentialRefused, 503, "auth_unavailable", "gptmock login", 30.0, False),
    (401, b"<html>", CredentialRefused, 503, "auth_unavailable", "gptmock login", 30.0, False),
    (
        402,
        b'{"detail":{"code":"deactivated_workspace"}}',
        AccountUnusable,
        503,
        "account_unusable",
        "deactivated_workspace",
        None,
        False,
    ),
    (403, b'{"detail":"no entitlement"}', AccountUnusable, 503, "account_unusable", "no entitlement", None, False),
    (403, b"<html>Just a moment...</html>", UpstreamRefused, 502, "upstream_blocked", "Cloudflare", None, False),
    (
        429,
        error(type="usage_limit_reached", resets_in_seconds=13872),
        UpstreamRefused,
        429,
        "usage_limit_reached",
        "M",
        13872,
        False,
    ),
    (
        429,
        error(type="usage_limit_reached", resets_at=NOW + 60),
        UpstreamRefused,
        429,
        "usage_limit_reached",
        "M",
        60,
        False,
    ),
    (
        429,
        error(type="usage_limit_reached", resets_at=NOW - 60),
        UpstreamRefused,
        429,
        "usage_limit_reached",
        "M",
        1,
        False,
    ),
    (
        429,
        error(type="usage_limit_reached", resets_in_seconds=10**9),
        UpstreamRefused,
        429,
        "usage_limit_reached",
        "M",
        MAX_RESET_SECONDS,
        False,
    ),
    (429, error(type="usage_limit_reached"), UpstreamRefused, 429, "usage_limit_reached", "M", None, False),
    (429, error(type="usage_not_included"), UpstreamRefused, 429, "usage_not_included", "M", None, False),
    (
        429,
        b'{"error":{"message":"Please try again in 1.5s."}}',
        UpstreamRefused,
        429,
        "rate_limit_exceeded",
        "1.5s",
        1.5,
        None,
    ),
    (429, b'{"detail":"slow"}', UpstreamRefused, 429, "rate_limit_exceeded", "slow", None, None),
    (429, b"<html>", UpstreamRefused, 429, "rate_limit_exceeded", "too many", None, None),
    (500, error(), UpstreamUnavailable, 502, "upstream_error", "M", None, None),
    (502, b"<html>bad gateway</html>", UpstreamUnavailable, 502, "upstream_error", "502 without a reason", None, None),
    (503, error(code="server_is_overloaded"), UpstreamUnavailable, 503, "server_is_overloaded", "M", 5, None),
    (503, error(code="slow_down"), UpstreamUnavailable, 503, "slow_down", "M", 5, None),
    (504, b"upstream request timeout", UpstreamTimeout, 504, "upstream_timeout", "504", None, None),
    (408, b"", UpstreamTimeout, 504, "upstream_timeout", "408", None, None),
    (400, b"", UpstreamUnavailable, 502, "upstream_error", "400 without a reason", None, None),
    (
        500,
        b'{"error":' + b"[" * 5000 + b"]" * 5000 + b"}",
        UpstreamUnavailable,
        502,
        "upstream_error",
        "500",
        None,
        None,
    ),
]


@pytest.mark.parametrize(
    ("status", "body", "kind", "to_client", "code", "says", "retry_after", "should_retry"),
    REFUSALS,
    ids=[f"{row[0]}-{row[4]}-{number}" for number, row in enumerate(REFUSALS)],
)
def test_a_refusal_becomes_an_error_with_an_owner(  # noqa: PLR0917 - one row of the table
    status, body, kind, to_client, code, says, retry_after, should_retry
):
    refusal = refusal_of(status, body, now=NOW)
    assert type(refusal) is kind
    assert (refusal.status_hint, refusal.code) == (to_client, code)
    assert says in refusal.message
    assert refusal.retry_after_seconds == retry_after
    assert refusal.should_retry is should_retry
    assert "<html" not in refusal.message


def test_the_field_at_fault_is_passed_on():
    assert refusal_of(400, error(param="input[0]"), now=NOW).param == "input[0]"
    assert refusal_of(400, b'{"detail":"The \'x\' model is not supported when using Codex."}', now=NOW).param == "model"


def test_a_long_message_is_cut():
    assert len(refusal_of(400, error(message="x" * 9999), now=NOW).message) == MAX_MESSAGE_CHARACTERS


@given(st.sampled_from([400, 401, 402, 403, 404, 408, 413, 429, 500, 502, 503, 504, 529]), st.binary(max_size=80))
def test_any_body_is_an_error_of_ours(status, body):
    for one in (body, b'{"error":{"message":"' + body + b'"}}', b'{"detail":' + body + b"}"):
        refusal = refusal_of(status, one, now=NOW)
        assert isinstance(refusal, GptmockError)
        assert refusal.message
        assert refusal.status_hint not in (401, 403)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda some: st.lists(some) | st.dictionaries(st.text(max_size=5), some),
    max_leaves=5,
)


@given(st.sampled_from([400, 403, 429, 503]), json_values, st.sampled_from(["error", "detail", "other"]))
def test_any_json_is_an_error_of_ours(status, value, member):
    assert refusal_of(status, json.dumps({member: value}).encode(), now=NOW).message


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("body", [b"", b"<html>Found</html>", b'{"detail":"planted"}'])
def test_a_redirect_names_the_host_and_no_more(status, body):
    location = "https://user:planted@sign-in.example.com:8443/planted?planted#planted"
    refusal = refusal_of(status, body, now=NOW, location=location)
    assert type(refusal) is UpstreamRefused
    assert (refusal.code, refusal.status_hint, refusal.should_retry) == ("upstream_redirected", 502, False)
    assert f"redirects ({status}) to sign-in.example.com," in refusal.message
    assert "planted" not in refusal.message


def test_a_redirect_without_a_place_is_one_all_the_same():
    assert "redirects (302) to a place that it does not name" in refusal_of(302, b"", now=NOW).message
    assert "redirects (300) to example.com" in refusal_of(300, b"", now=NOW, location="//example.com/").message


@pytest.mark.parametrize("status", [300, 304, 399])
def test_another_3xx_that_points_nowhere_is_no_redirect(status):
    assert refusal_of(status, b"", now=NOW).message == f"The upstream answered {status} without a reason."


@pytest.mark.parametrize("status", [400, 402, 403, 404, 429, 500, 503])
def test_no_error_shows_secrets_control_characters_or_novels(status):
    words = f"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.planted org-planted12345\x1b[31m\n{'x' * 9999}"
    for body in ({"error": {"message": words, "code": words, "param": words}}, {"detail": words}, {"message": words}):
        refusal = refusal_of(status, json.dumps(body).encode(), now=NOW)
        for text in (refusal.message, refusal.code, refusal.param or ""):
            assert "planted" not in text
            assert text.isprintable()
            assert len(text) < MAX_MESSAGE_CHARACTERS + 100


def test_no_failure_inside_a_stream_shows_them_either():
    failure = failed(code="\x1b[31m", message="for org-planted12345\n", param="a\x00b")
    assert (failure.code, failure.message, failure.param) == ("upstream_error", "for [redacted]", "a b")


# --- A 200 with a document instead of a stream ---------------------------------------------------

DOCUMENTS = [
    # document, kind, status to the client, code, part of the message, should retry
    ({"detail": "Closed."}, UpstreamFailed, 502, "upstream_error", "Closed.", None),
    ({"detail": "Unauthorized"}, CredentialRefused, 503, "auth_unavailable", "gptmock login", False),
    ({"detail": "Too Many Requests"}, UpstreamRefused, 429, "rate_limit_exceeded", "Too Many", None),
    ({"detail": "Service Unavailable"}, UpstreamUnavailable, 502, "upstream_error", "Service", None),
    ({"detail": "The 'x' model is not supported when using Codex."}, UnknownModel, 404, "model_not_found", "'x'", None),
    ({"detail": "It requires a newer version of Codex."}, UpstreamRefused, 400, "codex_version_too_old", "newer", None),
    ({"detail": {"code": "deactivated_workspace"}}, UpstreamFailed, 502, "deactivated_workspace", "deactivated", None),
    ({"error": "a plain word"}, UpstreamFailed, 502, "upstream_error", "a plain word", None),
    ({"error": {"message": "M"}}, UpstreamFailed, 502, "upstream_error", "M", None),
    ({"error": {"message": "M", "code": "new_word"}}, UpstreamFailed, 502, "new_word", "M", None),
    ({"error": {"message": "M", "code": "invalid_prompt"}}, UpstreamRefused, 400, "invalid_prompt", "M", None),
    (
        {"error": {"message": "M", "type": "usage_limit_reached", "resets_in_seconds": 99}},
        UpstreamRefused,
        429,
        "usage_limit_reached",
        "resets in",
        False,
    ),
    (
        {"error": {"message": "M", "code": "server_is_overloaded"}},
        UpstreamUnavailable,
        503,
        "server_is_overloaded",
        "M",
        None,
    ),
    ({"error": {"message": "M", "type": "server_error"}}, UpstreamUnavailable, 502, "server_error", "M", None),
    (
        {"error": {"message": "M", "type": "invalid_request_error", "param": "input"}},
        UpstreamRefused,
        400,
        "invalid_request_error",
        "M",
        None,
    ),
    (
        {"error": {"message": "M", "type": "invalid_request_error", "code": "unsupported_thing"}},
        UpstreamRefused,
        400,
        "unsupported_thing",
        "M",
        None,
    ),
    (
        {"error": {"message": "M", "type": "invalid_request_error", "code": "token_expired"}},
        CredentialRefused,
        503,
        "auth_unavailable",
        "gptmock login",
        False,
    ),
    (
        {"error": {"message": "M", "code": "token_invalidated"}, "status": 401},
        CredentialRefused,
        503,
        "auth_unavailable",
        "gptmock login",
        False,
    ),
    ({"error": {"message": "M", "code": 429}}, UpstreamRefused, 429, "429", "M", None),
    ({"error": {"message": "M"}, "status": 404}, UpstreamRefused, 404, "invalid_request", "M", None),
    ({"error": {"message": "M", "status": 503}}, UpstreamUnavailable, 502, "upstream_error", "M", None),
    (
        {"type": "error", "error": {"message": "M", "code": "x"}, "status_code": 400},
        UpstreamRefused,
        400,
        "x",
        "M",
        None,
    ),
    ({"message": "no Route matched"}, UpstreamFailed, 502, "upstream_error", "no Route", None),
    ({"message": "M", "code": "rate_limit_exceeded"}, UpstreamRefused, 429, "rate_limit_exceeded", "M", None),
    ({"detail": "M", "status": "failed"}, UpstreamFailed, 502, "upstream_error", "M", None),
    ({"detail": "M", "status": 200}, UpstreamFailed, 502, "upstream_error", "M", None),
]


@pytest.mark.parametrize(("document", "kind", "status", "code", "says", "should_retry"), DOCUMENTS)
def test_a_document_becomes_the_error_that_its_status_would_have_been(  # noqa: PLR0917 - one row of the table
    document, kind, status, code, says, should_retry
):
    body = json.dumps(document).encode()
    for failure in (document_failure(body, now=NOW), no_stream(body, now=NOW)):
        assert failure is not None
        assert type(failure) is kind
        assert (failure.status_hint, failure.code, failure.should_retry) == (status, code, should_retry)
        assert says in failure.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b'"text"',
        b"{}",
        b'{"error":null}',
        b'{"object":"response","status":"completed","error":null}',
    ],
)
def test_a_document_without_words_of_an_error_is_told_as_what_it_is(body):
    assert document_failure(body, now=NOW) is None
    failure = no_stream(body, now=NOW)
    assert type(failure) is UpstreamBroken
    assert (failure.code, failure.status_hint) == ("upstream_no_stream", 502)
    assert failure.message == "The upstream answered with a JSON document instead of an event stream."


def test_a_web_page_is_never_quoted():
    failure = no_stream(b"<html>planted</html>", now=NOW)
    assert (type(failure), failure.code) == (UpstreamBroken, "upstream_no_stream")
    assert "a web page instead of an event stream" in failure.message
    assert "planted" not in failure.message


@given(json_values, st.sampled_from(["error", "detail", "message", "status", "other"]))
def test_any_document_is_an_error_of_ours(value, member):
    for document in ({member: value}, {"error": {member: value}}, {member: value, "detail": "D"}):
        failure = no_stream(json.dumps(document).encode(), now=NOW)
        assert failure.message
        assert failure.status_hint not in (401, 403)


# --- Inside a 200 stream ------------------------------------------------------------------------


def failed(**members):
    event = decode_event(json.dumps({"type": "response.failed", "response": {"error": members}}).encode())
    assert isinstance(event, ResponseFailed)
    return failure_of(event)


@pytest.mark.parametrize("code", FAILURES)
def test_a_code_means_the_same_inside_a_stream_as_in_a_status(code):
    inside, outside = failed(code=code, message="M"), refusal_of(CODES[code].status, error(code=code), now=NOW)
    assert (inside.code, inside.status_hint) == (outside.code, outside.status_hint) == (code, CODES[code].status)
    assert inside.should_retry == outside.should_retry
    assert isinstance(inside, UpstreamUnavailable) is CODES[code].retryable


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Please try again in 11.054s.", 11.054),
        ("please TRY AGAIN IN 20ms", 1.0),
        ("try again in 2500 ms", 2.5),
        ("try again in 7 seconds", 7.0),
        ("try again in 1 second", 1.0),
        ("try again in 2m", 120.0),
        ("try again in 2 minutes", 120.0),
        ("try again in 3 moons", None),
        ("try again later", None),
    ],
)
def test_the_wait_is_read_from_the_message(text, seconds):
    assert failed(code="rate_limit_exceeded", message=text).retry_after_seconds == seconds


def test_an_unknown_code_is_an_upstream_error_under_its_own_name():
    failure = failed(code="token_invalid", message="M")
    assert (type(failure), failure.status_hint, failure.code) == (UpstreamFailed, 502, "token_invalid")


def test_a_failure_without_a_word_still_says_something():
    assert failed().message == "The upstream reported a failure without saying why."
    assert failed().code == "upstream_error"


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "code": "cyber_policy", "message": "M", "param": "input"},
        {"type": "error", "error": {"code": "cyber_policy", "message": "M", "param": "input"}, "status": 400},
        {"type": "error", "error": {"type": "cyber_policy", "message": "M", "param": "input"}},
    ],
)
def test_both_forms_of_the_error_event_mean_the_same(event):
    decoded = decode_event(json.dumps(event).encode())
    assert isinstance(decoded, ErrorEvent)
    failure = failure_of(decoded)
    assert (failure.code, failure.message, failure.param, failure.status_hint) == ("cyber_policy", "M", "input", 400)


def test_a_number_as_code_is_a_name():
    assert failed(code=500, message="M").code == "500"


def test_a_cut_stream_says_what_to_do():
    assert "try again" in truncated().message
    assert truncated().status_hint == 502
