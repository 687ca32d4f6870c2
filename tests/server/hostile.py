"""
Hostile strings, wherever a client or the upstream chooses one, and hostile requests of web pages: the table of cases
that ``test_hostile_text.py`` runs. Each case names who chooses the string and where it comes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PAYLOADS = (
    "<b id=xss-N>",
    '"><img id=xss-N src=x onerror=alert(N)>',
    "'><svg id=xss-N onload=alert(N)>",
    "</script><script id=xss-N>alert(N)</script>",
    "javascript:alert(N)//<a id=xss-N href=x>",
    "<!--N--><iframe id=xss-N srcdoc=x>",
    "&lt;i id=xss-N&gt;&#60;u id=xss-N>",
    "{{base}}${alert(N)}<u id=xss-N>",
)
"""``N`` is the number of the case: an element of this id exists if the string was taken for HTML."""
PLACES = (
    "key.name",
    "key.owner",
    "key.models",
    "account.label",
    "account.plan",
    "catalogue.model",
    "request.model",
    "upstream.error_code",
    "model.answer",
)
"""What the page shows: a client chooses a part of a key and a model, the upstream the rest."""
LINES = (
    "a\r\nset-cookie: planted=1",
    "a\nx-planted: 1",
    "a\r\n\r\nHTTP/1.1 200 OK",
    "a\x00b",
    "a\x85x-planted: 1",
    "a\u2028b",
)
"""What would end a header, or begin another one."""


@dataclass(frozen=True)
class Shown:
    """A string that the page shows."""

    number: int
    place: str
    text: str


def shown_cases() -> list[Shown]:
    """Every payload at every place."""
    pairs = [(place, payload) for place in PLACES for payload in PAYLOADS]
    return [
        Shown(number, place, payload.replace("N", str(number))) for number, (place, payload) in enumerate(pairs, 100)
    ]


@dataclass(frozen=True)
class Reflected:
    """A request that puts a string into the answer, which must stay JSON."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    """With the string in the place of ``TEXT``."""


_MESSAGE = {"role": "user", "content": "x"}
REFLECTED = (
    Reflected("GET", "/v1/models/TEXT"),
    Reflected("GET", "/v1/responses/TEXT"),
    Reflected("DELETE", "/v1/responses/TEXT"),
    Reflected("GET", "/TEXT"),
    Reflected("GET", "/admin/keys/TEXT"),
    Reflected("POST", "/admin/accounts/TEXT/pause", {}),
    Reflected("GET", "/dashboard/TEXT"),
    Reflected("POST", "/v1/chat/completions", {"model": "TEXT", "messages": [_MESSAGE]}),
    Reflected(
        "POST", "/v1/messages", {"model": "TEXT", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    ),
    Reflected("POST", "/v1/responses", {"model": "gpt-5.5", "input": "x", "previous_response_id": "TEXT"}),
    Reflected("POST", "/v1/responses", {"model": "gpt-5.5", "input": "x", "reasoning": {"effort": "TEXT"}}),
    Reflected("POST", "/v1/chat/completions", {"model": "gpt-5.5", "messages": [{"role": "TEXT", "content": "x"}]}),
    Reflected("POST", "/api/show", {"model": "TEXT"}),
    Reflected("POST", "/api/pull", {"model": "TEXT"}),
)

HEADER_CASES = (
    ("a parameter of a chat request", "/v1/chat/completions", {"TEXT": 1}),
    ("a parameter of a completion", "/v1/completions", {"TEXT": 1}),
    ("a parameter of Anthropic's API", "/v1/messages", {"TEXT": 1}),
    ("a model", "/v1/chat/completions", {"model": "TEXT"}),
    ("the user of a request", "/v1/chat/completions", {"user": "TEXT"}),
    ("the cache key of a request", "/v1/responses", {"prompt_cache_key": "TEXT"}),
)
"""Strings of a request that come near a header, of the answer or of the upstream's request."""

FOREIGN = (
    ("another site", {"origin": "http://evil.test"}),
    ("no origin of its own", {"origin": "null"}),
    ("another port", {"origin": "http://127.0.0.1:1"}),
    ("TLS in the place of none", {"origin": "https://127.0.0.1"}),
    ("a desktop app", {"origin": "app://obsidian.md"}),
    ("a request without an origin", {"origin": "", "sec-fetch-site": "cross-site"}),
    ("a sibling of the site", {"origin": "", "sec-fetch-site": "same-site"}),
    ("a form", {"content-type": "application/x-www-form-urlencoded"}),
    ("a form with files", {"content-type": "multipart/form-data; boundary=x"}),
    ("plain text", {"content-type": "text/plain"}),
    ("a name that was rebound", {"host": "evil.test"}),
)
"""What a page of another origin can make a browser send, with the reader's cookie."""
CHANGES = (
    ("POST", "/admin/keys"),
    ("PATCH", "/admin/keys/ada"),
    ("POST", "/admin/keys/ada/rotate"),
    ("POST", "/admin/accounts/demo@example.test/pause"),
    ("POST", "/admin/try"),
    ("POST", "/admin/session"),
)

FIXED = (
    ("a value that the attacker chose", "gptmock_session=planted-by-the-attacker-0123456789abcdefghi"),
    ("the attacker's own session", "gptmock_session=OWN"),
    ("the attacker's beside another", "gptmock_session=OWN; gptmock_session=planted"),
    ("the name of the other scheme", "__Host-gptmock=OWN"),
    ("quoted", 'gptmock_session="OWN"'),
    ("an empty one", "gptmock_session="),
)
"""Cookies that a browser has before its reader signs in."""

TOTAL = len(shown_cases()) + len(REFLECTED) + len(HEADER_CASES) * len(LINES) + len(FOREIGN) * len(CHANGES) + len(FIXED)
