from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.clients import ALPHABET, Client, ClientKey, KeyTerms, key_id_of, key_text

letters = st.sampled_from(ALPHABET)
ids, halves = st.text(letters, min_size=8, max_size=8), st.text(letters, min_size=43, max_size=43)


@given(ids, halves)
def test_a_text_tells_its_id_and_is_not_shown(key_id: str, secret: str):
    text = key_text(key_id, secret)
    assert key_id_of(text.reveal()) == key_id
    assert text.reveal().startswith(f"gm_{key_id}_{secret}")
    assert secret not in repr(text)


@given(ids, halves, st.integers(0, 60), letters)
def test_a_typing_error_is_seen(key_id: str, secret: str, place: int, letter: str):
    text = key_text(key_id, secret).reveal()
    changed = text[:place] + letter + text[place + 1 :]
    assert (key_id_of(changed) is None) == (changed != text)


@pytest.mark.parametrize("text", ["", "gm_", "anything", "sk-proj-0123456789", "gm_" + "a" * 60, "ключ"])
def test_what_is_no_key(text: str):
    assert key_id_of(text) is None
    assert key_id_of(key_text("a" * 8, "b" * 43).reveal() + text + "\n") is None


@given(st.text())
def test_any_text_may_be_asked(text: str):
    assert key_id_of(text) is None


def test_a_key_lives_until_it_expires_or_is_revoked():
    key = ClientKey("a" * 8, "ada", 0.0, KeyTerms(expires_at=10.0))
    assert key.is_living(9.9)
    assert not key.is_living(10.0)
    assert not ClientKey("a" * 8, "ada", 0.0, KeyTerms(), revoked_at=5.0).is_living(1.0)
    assert ClientKey("a" * 8, "ada", 0.0, KeyTerms()).is_living(1e12)


def test_whom_a_client_is_bound_to():
    assert Client("").account_id is None
    assert Client("a", ClientKey("a", "ada", 0.0, KeyTerms())).account_id is None
    assert Client("a", ClientKey("a", "ada", 0.0, KeyTerms(account_id="7"))).account_id == "7"
