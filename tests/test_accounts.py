import base64
import json

import pytest

from gptmock.accounts import AUTH_CLAIM, PROFILE_CLAIM, Account, IssuedTokens, Secret, account_of, expiry_of


def token(payload):
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Secret("e30." + base64.urlsafe_b64encode(data).rstrip(b"=").decode() + ".sig")


def issued(*, id_token=None, access_token=None):
    return IssuedTokens(access_token=access_token, refresh_token=None, id_token=id_token)


def test_a_secret_shows_nothing():
    secret = Secret("swordfish")
    shown = f"{secret} {secret!r} {[secret]} {issued(access_token=secret)}"
    assert "swordfish" not in shown
    assert secret.reveal() == "swordfish"


def test_secrets_are_compared_by_what_they_hide():
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_a_fingerprint_names_a_secret_without_telling_it():
    assert Secret("a").fingerprint() == Secret("a").fingerprint() == "ca978112ca1bbdca"
    assert Secret("b").fingerprint() != Secret("a").fingerprint()


@pytest.mark.parametrize(
    ("payload", "expected"), [({"exp": 1783000000}, 1783000000.0), ({"exp": 1.5}, 1.5), ({}, None)]
)
def test_the_expiry_of_a_token(payload, expected):
    assert expiry_of(token(payload)) == expected


@pytest.mark.parametrize(
    "secret",
    [
        Secret(""),
        Secret("opaque"),
        Secret("a.b"),
        Secret("..."),
        Secret("a..c"),
        Secret("a.!!!.c"),
        Secret("a.é.c"),
        token(b"not json"),
        token(b"\xff"),
        token([1]),
        token({"exp": "soon"}),
    ],
    ids=range(11),
)
def test_what_is_no_jwt_has_no_expiry(secret):
    assert expiry_of(secret) is None
    assert account_of(issued(access_token=secret)) is None


def test_an_account_is_read_from_the_claims_of_the_id_token_first():
    id_token = token(
        {
            "email": "a@example.test",
            AUTH_CLAIM: {"chatgpt_account_id": "w", "chatgpt_user_id": "u", "chatgpt_plan_type": "plus"},
        }
    )
    access = token({AUTH_CLAIM: {"chatgpt_account_id": "other", "chatgpt_plan_type": "free"}})
    assert account_of(issued(id_token=id_token, access_token=access)) == Account("w", "u", "a@example.test", "plus")


def test_the_access_token_fills_in_what_the_id_token_lacks():
    access = token(
        {
            PROFILE_CLAIM: {"email": "b@example.test"},
            AUTH_CLAIM: {"chatgpt_account_id": "w", "user_id": "u", "chatgpt_account_is_fedramp": True},
        }
    )
    account = account_of(issued(id_token=token({}), access_token=access))
    assert account == Account("w", "u", "b@example.test", None, is_fedramp=True)


def test_a_known_workspace_wins():
    access = token({AUTH_CLAIM: {"chatgpt_account_id": "w"}})
    account = account_of(issued(access_token=access), known_workspace="k")
    assert account is not None
    assert account.workspace_id == "k"


def test_tokens_that_name_no_workspace_are_nobodys():
    assert account_of(issued(access_token=token({"exp": 1}))) is None
    assert account_of(issued()) is None
