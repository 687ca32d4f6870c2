from __future__ import annotations

import pytest

from gptmock.accounts import Secret
from gptmock.errors import Unauthorized
from gptmock.gateway.admission import Admission

KEY = "sk-planted-0123456789abcd"


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer sk-made-up"}, {"x-api-key": "ollama"}])
def test_without_a_key_everybody_comes_in_with_whatever_key(headers: dict[str, str]):
    assert Admission(None).tenant(headers) == ""


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer   {KEY}  "},
        {"authorization": f"  BEARER {KEY}"},
        {"x-api-key": KEY},
        {"api-key": f" {KEY} "},
        {"authorization": "Basic abc", "x-api-key": KEY},
        {"authorization": "Bearer ", "api-key": KEY},
    ],
)
def test_the_key_is_taken_from_any_of_its_headers(headers: dict[str, str]):
    tenant = Admission(Secret(KEY)).tenant(headers)
    assert tenant
    assert KEY not in tenant


@pytest.mark.parametrize("headers", [{}, {"authorization": ""}, {"authorization": "Bearer"}, {"x-api-key": "  "}])
def test_no_key_is_told_where_one_goes(headers: dict[str, str]):
    with pytest.raises(Unauthorized, match="Authorization: Bearer") as caught:
        Admission(Secret(KEY)).tenant(headers)
    assert (caught.value.code, caught.value.status_hint) == ("invalid_api_key", 401)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (KEY + "x", "***bcdx"),
        (KEY[:-1], "***9abc"),
        ("short", "***."),
        ("ключ-ключ-ключ", "***ключ"),
        ("\udcff" * 20, "***"),
    ],
)
def test_a_wrong_key_is_refused_and_shown_by_its_end_only(given: str, shown: str):
    with pytest.raises(Unauthorized) as caught:
        Admission(Secret(KEY)).tenant({"authorization": f"Bearer {given}"})
    assert shown in caught.value.message
    assert given not in caught.value.message


def test_an_explicit_bearer_wins_over_other_headers():
    with pytest.raises(Unauthorized):
        Admission(Secret(KEY)).tenant({"authorization": "Bearer wrong", "x-api-key": KEY})
