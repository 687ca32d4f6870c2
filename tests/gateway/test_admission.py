from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from gptmock.accounts import Secret
from gptmock.clients import ClientKey, KeyTerms, key_text
from gptmock.errors import ForeignLogin, KeyExpired, StoreUnavailable, Unauthorized
from gptmock.gateway.admission import Admission
from gptmock.stores.client_keys import StoreClientKeys
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.seal import Sealer
from tests.gateway.memory import KEY as SEALING_KEY
from tests.gateway.memory import Clock

KEY = "sk-planted-0123456789abcd"


class House:
    """An admission, and the keys that it knows."""

    def __init__(self, api_key: str | None) -> None:
        self.clock = Clock()
        self.place = MemoryPlace(self.clock)
        self.keys = StoreClientKeys(MemoryStore(self.place), Sealer([SEALING_KEY]), clock=self.clock)
        self.admission = Admission(None if api_key is None else Secret(api_key), self.keys)

    async def issued(self, **terms: Any) -> tuple[ClientKey, dict[str, str]]:
        """A key that was given out, and the headers that show it."""
        made = await self.keys.create("ada", KeyTerms(**terms))
        return made.key, {"authorization": f"Bearer {made.text.reveal()}"}


def admitting(api_key: str | None) -> Admission:
    return House(api_key).admission


JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {JWT}"},
        {"authorization": f"Bearer {JWT}", "chatgpt-account-id": "planted-account"},
        {"chatgpt-account-id": "planted-account"},
        {"authorization": f"Bearer {JWT}", "x-api-key": "sk-wrong-0123456789"},
        {"authorization": "Bearer sk-wrong-0123456789", "chatgpt-account-id": "planted-account"},
    ],
)
async def test_a_signed_in_codex_without_a_key_gets_no_401_but_the_lines_for_its_configuration(headers: dict[str, str]):
    with pytest.raises(ForeignLogin) as caught:
        await admitting(KEY).admit(headers)
    error = caught.value
    assert (error.status_hint, error.code, error.should_retry) == (403, "client_key_required", False)
    assert 'env_http_headers = { "x-api-key" = "GPTMOCK_API_KEY" }' in error.message
    assert "planted" not in error.message
    assert JWT not in error.message


async def test_a_signed_in_codex_shows_its_key_in_a_header_of_its_own():
    house = House(None)
    key, shown = await house.issued()
    headers = {"authorization": f"Bearer {JWT}", "chatgpt-account-id": "a", "x-api-key": shown["authorization"][7:]}
    assert (await house.admission.admit(headers)).tenant == key.id
    assert (await admitting(KEY).admit({"authorization": f"Bearer {JWT}", "x-api-key": KEY})).tenant


async def test_without_keys_a_signed_in_codex_is_served():
    assert (await admitting(None).admit({"authorization": f"Bearer {JWT}", "chatgpt-account-id": "a"})).tenant == ""


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer sk-made-up"}, {"x-api-key": "ollama"}])
async def test_without_a_key_everybody_comes_in_with_whatever_key(headers: dict[str, str]):
    assert (await admitting(None).admit(headers)).tenant == ""


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
async def test_the_key_is_taken_from_any_of_its_headers(headers: dict[str, str]):
    tenant = (await admitting(KEY).admit(headers)).tenant
    assert tenant
    assert KEY not in tenant


@pytest.mark.parametrize("headers", [{}, {"authorization": ""}, {"authorization": "Bearer"}, {"x-api-key": "  "}])
async def test_no_key_is_told_where_one_goes(headers: dict[str, str]):
    with pytest.raises(Unauthorized, match="Authorization: Bearer") as caught:
        await admitting(KEY).admit(headers)
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
async def test_a_wrong_key_is_refused_and_shown_by_its_end_only(given: str, shown: str):
    with pytest.raises(Unauthorized) as caught:
        await admitting(KEY).admit({"authorization": f"Bearer {given}"})
    assert shown in caught.value.message
    assert given not in caught.value.message


@pytest.mark.check(233)
@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": KEY},
        {"authorization": f"Bearer {KEY}"},
        {"authorization": "Bearer wrong", "x-api-key": KEY},
        {"authorization": f"Bearer {KEY}", "x-api-key": "wrong"},
    ],
)
async def test_of_several_keys_the_first_valid_one_counts(headers):
    assert (await admitting(KEY).admit(headers)).tenant


@pytest.mark.check(233)
async def test_several_keys_of_which_none_is_valid_are_refused():
    with pytest.raises(Unauthorized, match="Incorrect API key"):
        await admitting(KEY).admit({"authorization": "Bearer wrong", "x-api-key": "wrong too"})
    revoked = key_text("A" * 8, "x" * 43).reveal()
    with pytest.raises(Unauthorized):
        await admitting(None).admit({"authorization": "Bearer made-up", "x-api-key": revoked})


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer sk-made-up"}, {"x-api-key": "ollama"}])
async def test_where_a_key_is_required_only_one_that_was_given_out_comes_in(headers: dict[str, str]):
    house = House(None)
    admission = Admission(None, house.keys, required=True)
    with pytest.raises(Unauthorized):
        await admission.admit(headers)
    key, shown = await house.issued()
    assert (await admission.admit(shown)).key == key
    with pytest.raises(Unauthorized):
        await admission.admit(headers)


# --- Keys that were given out ------------------------------------------------------------


@pytest.mark.parametrize("api_key", [KEY, None])
async def test_a_key_that_was_given_out_comes_in_as_itself(api_key: str | None):
    house = House(api_key)
    key, headers = await house.issued(account_id="0123456789abcdef")
    client = await house.admission.admit(headers)
    assert client.key == key
    assert (client.tenant, client.account_id) == (key.id, "0123456789abcdef")
    other = await house.admission.admit({"authorization": f"Bearer {KEY}"})
    assert other.tenant != client.tenant
    assert (other.key, other.account_id) == (None, None)


@pytest.mark.parametrize("api_key", [KEY, None])
@pytest.mark.parametrize("why", ["revoked", "expired", "rotated", "invented", "of another's id"])
async def test_one_that_does_not_let_in_is_refused_alike_whatever_the_reason(api_key: str | None, why: str):
    house = House(api_key)
    key, headers = await house.issued(expires_at=house.clock.now + 60)
    await house.admission.admit(headers)
    if why == "revoked":
        await house.keys.revoke("ada")
    elif why == "expired":
        house.clock.now += 60
    elif why == "rotated":
        await house.keys.rotate("ada")
    else:
        key_id = "A" * 8 if why == "invented" else key.id
        headers = {"authorization": f"Bearer {key_text(key_id, 'x' * 43).reveal()}"}
    with pytest.raises(Unauthorized, match=r"^Incorrect API key provided: \*\*\*.{4}\.$") as caught:
        await house.admission.admit(headers)
    assert isinstance(caught.value, KeyExpired) == (why == "expired")


async def test_a_valid_key_beside_an_expired_one_counts_and_a_wrong_one_does_not():
    house = House(KEY)
    key, expired = await house.issued(expires_at=house.clock.now + 60)
    house.clock.now += 60
    assert (await house.admission.admit({**expired, "x-api-key": KEY})).key is None
    with pytest.raises(KeyExpired):
        await house.admission.admit({**expired, "x-api-key": key_text(key.id, "x" * 43).reveal()})


async def test_the_static_key_needs_no_store_and_others_are_not_refused_for_its_absence():
    house = House(KEY)
    key, headers = await house.issued()
    await house.admission.admit(headers)
    house.place.fail()
    house.clock.now += 600
    assert (await house.admission.admit({"x-api-key": KEY})).tenant
    assert (await house.admission.admit(headers)).key == key
    with pytest.raises(StoreUnavailable):
        await house.admission.admit({"authorization": f"Bearer {key_text('A' * 8, 'x' * 43).reveal()}"})


async def test_only_who_was_let_in_is_told_of():
    house = House(KEY)
    told: list[Mapping[str, str]] = []
    admission = Admission(Secret(KEY), house.keys, admitted=told.append)
    good, wrong = {"authorization": f"Bearer {KEY}"}, {"authorization": "Bearer wrong"}
    for headers in (wrong, {}):
        with pytest.raises(Unauthorized):
            await admission.admit(headers)
    await admission.admit(good)
    _, given_out = await house.issued()
    await admission.admit(given_out)
    assert told == [good, given_out]


async def test_what_cannot_be_a_key_of_ours_costs_no_look_at_the_store():
    house = House(KEY)
    _, headers = await house.issued()
    text = headers["authorization"].removeprefix("Bearer ")
    before = house.place.calls
    for given in (
        text[:-1],
        text + "0",
        text.replace("gm_", "sk_"),
        f"{text[:20]}{'0' if text[20] != '0' else '1'}{text[21:]}",
    ):
        with pytest.raises(Unauthorized):
            await house.admission.admit({"authorization": f"Bearer {given}"})
    await house.admission.admit({"authorization": f"Bearer {KEY}"})
    assert house.place.calls == before


@pytest.mark.parametrize("api_key", [KEY, None])
async def test_the_admin_key_needs_no_store_and_is_a_tenant_of_its_own(api_key: str | None):
    house = House(api_key)
    admin_key = "planted-admin-0123456789"
    admission = Admission(None if api_key is None else Secret(api_key), house.keys, admin_key=Secret(admin_key))
    house.place.fail()
    admin = await admission.admit({"x-api-key": admin_key})
    assert (admin.role, admin.key) == ("admin", None)
    assert admin_key not in admin.tenant
    other = await admission.admit({"authorization": f"Bearer {KEY}"})
    assert (other.role, other.tenant == admin.tenant) == ("user", False)


@pytest.mark.parametrize("admin_key", [KEY, "planted-admin-0123456789"])
async def test_a_static_key_is_known_later_as_whom_it_was_admitted(admin_key: str):
    admission = Admission(Secret(KEY), House(None).keys, admin_key=Secret(admin_key))
    for key in (KEY, admin_key):
        caller = await admission.admit({"x-api-key": key})
        assert await admission.known(caller.tenant) == caller


@pytest.mark.parametrize(
    "name", ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"]
)
async def test_who_comes_by_a_proxy_without_a_key_is_no_operator(name: str):
    house = House(None)
    admission = Admission(None, house.keys, keyless_role="admin")
    assert (await admission.admit({})).may("admin")
    assert not (await admission.admit({name: "198.51.100.7"})).may("viewer")
