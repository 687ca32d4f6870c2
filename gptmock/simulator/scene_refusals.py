"""Scenes that refuse the call with an error status, with the bodies of the real backend. Pure."""

from collections.abc import Callable
from dataclasses import replace

from gptmock.simulator.call import Call
from gptmock.simulator.limits import limit_headers
from gptmock.simulator.refusals import (
    HTML_TYPE,
    Refusal,
    api_error,
    detail,
    document,
    model_not_found,
    token_error,
    unsupported_effort,
)
from gptmock.simulator.steps import Json

RESET_SECONDS = 13872

_CHALLENGE = b"""<!DOCTYPE html><html lang="en-US"><head><title>Just a moment...</title></head><body>
<h1>Sorry, you have been blocked</h1><p>Enable JavaScript and cookies to continue</p>
<script src="/cdn-cgi/challenge-platform/h/b/orchestrate/chl_page/v1"></script>
<p>Performance &amp; security by Cloudflare</p></body></html>"""
_BAD_GATEWAY = b"""<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center>
<hr><center>cloudflare</center></body></html>"""


def fixed(answer: Refusal) -> Callable[[Call], Refusal]:
    """A scene whose refusal does not depend on the call."""
    return lambda _call: answer


def effort(call: Call) -> Refusal:
    """The effort is not supported."""
    return unsupported_effort(call.effort, call.model, ("low", "medium", "high"))


def gate(call: Call) -> Refusal:
    """The 404 of a model gated by client identity."""
    return model_not_found(str(call.body.get("model")))


def usage_limit(call: Call) -> Refusal:
    """The account's usage limit is reached; the body has both reset fields, and the rate-limit headers are set."""
    return usage_limit_for(call, RESET_SECONDS)


def usage_limit_for(call: Call, seconds: int) -> Refusal:
    """The account's usage limit is reached; it resets in ``seconds``."""
    times = {"resets_at": call.created_at + seconds, "eligible_promo": None, "resets_in_seconds": seconds}
    return _limited(call, times, seconds)


def usage_limit_without_reset(call: Call) -> Refusal:
    """The account's usage limit is reached; the body has no reset fields."""
    return _limited(call, {}, 900)


def burst(call: Call) -> Refusal:
    """Too many requests in a short while."""
    message = f"Rate limit reached for {call.model} on requests per min. Please try again in 1.5s."
    return api_error(message, status=429, code="rate_limit_exceeded")


def burst_in_ok(call: Call) -> Refusal:
    """The body of ``burst`` with status 200 and without a content type."""
    return replace(burst(call), status=200, content_type="")


def not_included(_call: Call) -> Refusal:
    """The plan does not include Codex."""
    message = "To use Codex with your ChatGPT plan, upgrade to Plus: https://example.test/explore/plus"
    return document(429, {"error": {"type": "usage_not_included", "message": message, "plan_type": "free"}})


def _limited(call: Call, times: Json, reset_seconds: int) -> Refusal:
    error = {"type": "usage_limit_reached", "message": "The usage limit has been reached", "plan_type": "plus", **times}
    headers = limit_headers(now=call.created_at, used_percent=100.0, reset_seconds=reset_seconds)
    headers["x-codex-rate-limit-reached-type"] = "rate_limit_reached"
    return document(429, {"error": error}, headers=headers)


IMAGE_POLICY = api_error(
    "Your request was rejected by the safety system. If you believe this is an error, contact us at help.example.test.",
    code="moderation_blocked",
)
UNSUPPORTED = detail("Unsupported parameter: temperature")
INVALIDATED = token_error("token_invalidated")
DEACTIVATED = detail({"code": "deactivated_workspace"}, status=402)
CLOUDFLARE = Refusal(
    status=403, body=_CHALLENGE, content_type=HTML_TYPE, headers={"cf-mitigated": "challenge", "server": "cloudflare"}
)
SERVER_ERROR = api_error("The server had an error while processing your request.", status=500, code="server_error")
BAD_GATEWAY = Refusal(status=502, body=_BAD_GATEWAY, content_type=HTML_TYPE, headers={"server": "cloudflare"})
OVERLOADED = api_error(
    "Our servers are currently overloaded. Please try again later.", status=503, code="server_is_overloaded"
)
GATEWAY_TIMEOUT = Refusal(
    status=504, body=b"upstream request timeout", content_type="text/plain", headers={"server": "cloudflare"}
)
CLOSED = detail("The model gateway is closed for maintenance.", status=200)
INVALIDATED_IN_OK = replace(INVALIDATED, status=200)
SIGN_IN_PAGE = Refusal(
    status=200,
    body=b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Sign in to the network</h1></body></html>",
    content_type=HTML_TYPE,
)
REDIRECT_HOST = "sign-in.example.test"
REDIRECT = Refusal(
    status=302,
    body=b"<html><body>Found</body></html>",
    content_type=HTML_TYPE,
    headers={"location": f"https://user:secret@{REDIRECT_HOST}:8443/planted/path?planted=query#planted"},
)
