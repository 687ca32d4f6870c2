from __future__ import annotations

import base64
import hashlib
import re

import pytest

from gptmock.errors import LoginRefused
from gptmock.login.attempt import Attempt, UnrelatedRedirect

REDIRECT = "http://localhost:1455/auth/callback"


def query(attempt: Attempt, **fields: str) -> str:
    return "&".join(f"{name}={value}" for name, value in {"state": attempt.state.reveal(), **fields}.items())


def test_each_attempt_has_secrets_of_its_own():
    attempts = [Attempt(REDIRECT) for _ in range(100)]
    assert len({one.state.reveal() for one in attempts} | {one.verifier.reveal() for one in attempts}) == 200
    assert all(re.fullmatch(r"[\w-]{43}", one.state.reveal()) for one in attempts)
    # RFC 7636 asks for 43 to 128.
    assert all(re.fullmatch(r"[\w-]{86}", one.verifier.reveal()) for one in attempts)


def test_the_challenge_is_the_digest_of_the_verifier():
    attempt = Attempt(REDIRECT)
    digest = hashlib.sha256(attempt.verifier.reveal().encode()).digest()
    assert base64.urlsafe_b64decode(attempt.challenge + "=") == digest


def test_an_attempt_shows_no_secret():
    attempt = Attempt(REDIRECT)
    assert attempt.state.reveal() not in repr(attempt)
    assert attempt.verifier.reveal() not in repr(attempt)


def test_the_right_way_back_is_a_grant():
    attempt = Attempt(REDIRECT)
    grant = attempt.parse_redirect(query(attempt, code="ac_1", scope="openid%20email"))
    assert (grant.code.reveal(), grant.verifier, grant.redirect_uri) == ("ac_1", attempt.verifier, REDIRECT)
    assert "ac_1" not in repr(grant)


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "code=ac_1",
        "code=ac_1&state=",
        "code=ac_1&state=other",
        "code=ac_1&state=%00",
        "code=ac_1&state=\udcff",
        "error=access_denied",
        "error=access_denied&state=other",
    ],
)
def test_without_the_state_nothing_ends_a_login(asked: str):
    with pytest.raises(UnrelatedRedirect):
        Attempt(REDIRECT).parse_redirect(asked)


def test_half_of_a_state_is_none():
    attempt = Attempt(REDIRECT)
    for state in (attempt.state.reveal()[:-1], attempt.state.reveal() + "x", attempt.state.reveal().swapcase()):
        with pytest.raises(UnrelatedRedirect):
            attempt.parse_redirect(f"code=ac_1&state={state}")


def test_a_thing_said_twice_is_not_taken():
    attempt = Attempt(REDIRECT)
    for twice in ("&code=ac_2", "&state=other", f"&state={attempt.state.reveal()}"):
        with pytest.raises(UnrelatedRedirect):
            attempt.parse_redirect(query(attempt, code="ac_1") + twice)


def test_a_thousand_fields_are_not_read():
    attempt = Attempt(REDIRECT)
    with pytest.raises(UnrelatedRedirect):
        attempt.parse_redirect(query(attempt, code="ac_1") + "".join(f"&f{number}=" for number in range(1000)))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"error": "access_denied"}, "declined in the browser"),
        ({"error": "access_denied", "error_description": "missing_codex_entitlement"}, "no Codex"),
        ({"error": "server_error", "error_description": "Broken%1b[31m%0d%0ahere"}, "Broken [31m  here"),
        ({"error": "server_error"}, "server_error"),
        ({}, "without a code"),
        ({"code": ""}, "without a code"),
    ],
)
def test_the_issuers_no_is_told_in_words(fields: dict[str, str], words: str):
    attempt = Attempt(REDIRECT)
    with pytest.raises(LoginRefused) as caught:
        attempt.parse_redirect(query(attempt, **fields))
    assert words in caught.value.message
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "shape", ["{url}?{query}", "  {url}?{query}\t", "'{url}?{query}'", "?{query}", "{query}", "<{url}?{query}>"]
)
def test_what_a_person_pastes(shape: str):
    attempt = Attempt(REDIRECT)
    pasted = shape.format(url=REDIRECT, query=query(attempt, code="ac_1"))
    assert attempt.parse_pasted(pasted).code.reveal() == "ac_1"


@pytest.mark.parametrize(
    "line",
    [
        "yes",
        "ac_1",
        "https://chatgpt.com/",
        "https://auth.openai.com/oauth/authorize?state=x",
        "http://localhost:1455/auth/callback",
        "http://localhost:1455/auth/callback?code=ac_1",
        "http://localhost:1455/auth/callback?code=ac_1&state=of-another-attempt",
        "http://[::1",
        "x" * 10_000,
    ],
)
def test_what_is_no_way_back_is_said_and_not_shown(line: str):
    with pytest.raises(UnrelatedRedirect) as caught:
        Attempt(REDIRECT).parse_pasted(line)
    assert "ac_1" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_the_url_of_the_issuer_itself_is_not_the_way_back():
    attempt = Attempt(REDIRECT)
    with pytest.raises(UnrelatedRedirect):
        attempt.parse_pasted(f"https://auth.openai.com/oauth/authorize?{query(attempt, code='ac_1')}")
