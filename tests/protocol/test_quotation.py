from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.protocol.quotation import (
    MAX_MESSAGE_CHARACTERS,
    MAX_NAME_CHARACTERS,
    destination,
    quoted,
    quoted_name,
)
from tests.timing import generous

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.planted"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("The model is overloaded.", "The model is overloaded."),
        (" a\nb\x1b[31m\u2028\x00c ", "a b [31m  c"),
        ("über 🙂", "über 🙂"),
        (f"bad token {JWT}!", "bad token [redacted]!"),
        ("Incorrect API key: sk-planted0123456789abcd.", "Incorrect API key: [redacted]."),
        ("Bearer planted-opaque-token", "Bearer [redacted]"),
        (
            "Rate limit reached in organization org-Ab12planted on requests",
            "Rate limit reached in organization [redacted] on requests",
        ),
        ("for user-0f1e2d3c4b5a6978", "for [redacted]"),
        ("someone.planted+x@mail.example.com has no plan", "[redacted] has no plan"),
        ("user-friendly account-level limits, user-interface", "user-friendly account-level limits, user-interface"),
        ("", ""),
        ("\n\x00", ""),
    ],
)
def test_a_message_is_shown_without_what_is_nobodys_business(text: str, shown: str):
    assert quoted(text) == shown


@given(st.text())
def test_any_message_is_printable_and_bounded(text: str):
    assert quoted(text).isprintable()
    assert len(quoted(text * 99)) <= MAX_MESSAGE_CHARACTERS


@pytest.mark.alone
@pytest.mark.parametrize("part", ["a", "@", "a@", "a.", "user-", "eyJ", ".a@b"])
def test_no_message_takes_long(part: str):
    began = time.perf_counter()
    quoted(part * 1_000_000)
    assert time.perf_counter() - began < generous(1.0)


@pytest.mark.parametrize("name", ["server_error", "429", "insufficient-quota", "a.b:c", "x" * MAX_NAME_CHARACTERS])
def test_a_name_is_shown(name: str):
    assert quoted_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "two words", "a\n", "x" * (MAX_NAME_CHARACTERS + 1), "é", JWT, "sk-planted0123456789abcd"]
)
def test_what_is_no_name_is_not_shown(name: str):
    assert quoted_name(name) == ""


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("https://login.example.com/path?token=planted#planted", "login.example.com"),
        ("https://user:planted@Login.Example.com:8443/", "login.example.com"),
        ("//cdn.example.com/x", "cdn.example.com"),
        ("http://[::1]:80/x", "::1"),
        ("/login?planted", "another path of the same host"),
        ("login", "another path of the same host"),
        ("?planted", "another path of the same host"),
        ("", "a place that it does not name"),
        (None, "a place that it does not name"),
        ("https:///planted", "a place that cannot be read"),
        ("mailto:planted@example.com", "a place that cannot be read"),
        ("http://[planted", "a place that cannot be read"),
        ("https://planted planted/", "a place that cannot be read"),
        ("https://\u0430.example.com/", "a place that cannot be read"),
        (f"https://{'x' * 300}/", "a place that cannot be read"),
    ],
)
def test_of_a_redirect_the_host_is_named_and_no_more(location: str | None, place: str):
    assert destination(location) == place
