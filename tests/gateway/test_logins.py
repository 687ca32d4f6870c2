"""Account administration: workspace and user pairs, labels, logouts; and logins that race with refreshes."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator

import pytest

from gptmock.accounts import IssuedTokens, Secret, TokenSet
from gptmock.errors import GptmockError, LoginRefused, NotLoggedIn, SealBroken
from gptmock.gateway.account_selection import AccountSelector
from gptmock.gateway.credentials import CredentialKeeper
from gptmock.gateway.logins import LoginBook
from gptmock.gateway.refresh import LEASE_SECONDS, Refresher
from gptmock.simulator.accounts import IssuedLogin
from gptmock.stores.lease import StoreLease
from gptmock.stores.memory import MemoryStore
from tests.login.site import Site, open_site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as opened:
        yield opened


def issued(site: Site, **person: str) -> IssuedTokens:
    login: IssuedLogin = site.simulator.state.logins.issue(**person)  # type: ignore[arg-type]
    return IssuedTokens(Secret(login.access_token), Secret(login.refresh_token), Secret(login.id_token))


async def labels(site: Site) -> list[str]:
    return [login.label for login in await site.another_process().logins()]


# --- Who is who -------------------------------------------------------------------------------


async def test_two_users_of_one_workspace_are_two_accounts(site: Site):
    ada = await site.sign_in(login_hint="ada@example.test", allowed_workspace_id="w-1")
    bob = await site.sign_in(login_hint="bob@example.test", allowed_workspace_id="w-1")
    assert ada.account.workspace_id == bob.account.workspace_id == "w-1"
    assert ada.account.id != bob.account.id
    assert await labels(site) == ["ada@example.test", "bob@example.test"]


async def test_one_user_in_two_workspaces_is_two_accounts_with_two_labels(site: Site):
    first = await site.sign_in(login_hint="ada@example.test", allowed_workspace_id="workspace-1")
    second = await site.sign_in(login_hint="ada@example.test", allowed_workspace_id="company-2")
    assert first.account.user_id == second.account.user_id
    assert first.account.id != second.account.id
    assert await labels(site) == ["ada@example.test", "ada@example.test/company-"]
    with pytest.raises(NotLoggedIn, match="There is no account ada"):
        await site.book.find("ada")
    assert (await site.book.find("ada@example.test")).account == first.account


async def test_a_login_updates_its_own_pair_and_no_other(site: Site):
    bob = await site.sign_in(login_hint="bob@example.test", allowed_workspace_id="w-1", label="work")
    ada = await site.sign_in(login_hint="ada@example.test", allowed_workspace_id="w-1")
    before = await site.vault.load(bob.account.id)
    again = await site.sign_in(login_hint="ada@example.test", allowed_workspace_id="w-1")
    assert again.account.id == ada.account.id
    assert again.version > ada.version
    assert await site.another_process().load(bob.account.id) == before
    assert await labels(site) == ["ada@example.test", "work"]


async def test_a_members_account_is_the_default_by_no_accident(site: Site):
    member = await site.book.enroll(issued(site, email="eve@member.test"), member=True)
    assert member.member
    assert await site.vault.default() is None
    selector = AccountSelector(site.vault, site.board, pool=(), clock=site.clock)
    with pytest.raises(NotLoggedIn):
        await selector.candidates("conversation")
    assert await selector.candidates("conversation", account_id=member.account.id) == [member.account.id]
    assert await selector.serves_members()
    # The operator's next login is the default, and no member takes its place when it ends.
    ada = await site.sign_in(login_hint="ada@example.test")
    assert await site.vault.default() == ada.account.id
    assert (await site.book.sign_out(ada)).successor is None
    bob = await site.sign_in(login_hint="bob@example.test")
    assert await site.vault.default() == bob.account.id
    # A member who signs in again stays one, and by intent it is the default all the same.
    again = await site.book.enroll(
        issued(
            site, email="eve@member.test", account_id=member.account.workspace_id, user_id=member.account.user_id or ""
        ),
        member=True,
    )
    assert (again.account.id, again.member) == (member.account.id, True)
    await site.book.pause(again, paused=True)
    assert [one.member for one in await site.vault.logins() if one.paused] == [True]
    await site.book.make_default(again)
    assert await site.vault.default() == member.account.id


async def test_a_login_by_another_label_renames_and_keeps_the_pause(site: Site):
    login = await site.sign_in()
    await site.book.pause(login, paused=True)
    again = await site.sign_in(label="work")
    assert (again.label, again.paused, again.account) == ("work", True, login.account)
    # Without a label it keeps the one it has.
    assert (await site.sign_in()).label == "work"


async def test_a_label_of_another_account_is_not_taken_over(site: Site):
    ada = await site.sign_in(login_hint="ada@example.test", label="work")
    held = await site.vault.load(ada.account.id)
    new = issued(site, email="bob@example.test")
    with pytest.raises(LoginRefused, match="belongs to another account") as caught:
        await site.book.enroll(new, label="work")
    assert "bob@example.test" in caught.value.message
    assert await labels(site) == ["work"]
    assert await site.another_process().load(ada.account.id) == held
    # What nobody keeps is ended at the issuer.
    assert new.access_token is not None
    found = site.simulator.state.logins.find(new.access_token.reveal())
    assert found is not None
    assert found.refused_as == "token_revoked"


@pytest.mark.parametrize(
    "tokens", [IssuedTokens(Secret("opaque"), Secret("r"), None), IssuedTokens(None, Secret("r"), None)]
)
async def test_tokens_that_name_nobody_are_refused(site: Site, tokens: IssuedTokens):
    with pytest.raises(LoginRefused, match="do not say"):
        await site.book.enroll(tokens)
    assert await labels(site) == []


async def test_a_login_lifts_the_limit_that_was_remembered(site: Site):
    login = await site.sign_in()
    await site.board.park(login.account.id, until=site.clock() + 3600, now=site.clock())
    site.clock.now += 1
    await site.sign_in()
    (standing,) = (await site.board.look([login.account.id], conversation=None)).accounts
    assert standing.parked_until is None


# --- Leaving ----------------------------------------------------------------------------------


async def test_a_logout_forgets_and_revokes(site: Site):
    login = await site.sign_in()
    held = await site.vault.load(login.account.id)
    result = await site.book.sign_out(login)
    assert result.revoked
    assert result.successor is None
    with pytest.raises(NotLoggedIn):
        await site.another_process().load(login.account.id)
    for token in (held.access_token, held.refresh_token):
        assert token is not None
    found = site.simulator.state.logins.find(held.access_token.reveal())
    assert found is not None
    assert found.refused_as == "token_revoked"


async def test_a_logout_works_while_the_issuer_is_away(site: Site):
    login = await site.sign_in()
    await site.simulator.__aexit__()
    result = await site.book.sign_out(login)
    assert not result.revoked
    assert await labels(site) == []


async def test_the_default_that_leaves_is_followed_by_who_can_serve(site: Site):
    logins = [await site.sign_in(login_hint=f"{name}@example.test") for name in ("ada", "bob", "cid", "dan")]
    assert await site.vault.default() == logins[0].account.id
    await site.book.pause(logins[1], paused=True)
    await site.vault.refuse(await site.vault.load(logins[2].account.id), reason="ended")
    result = await site.book.sign_out(logins[0])
    assert result.successor is not None
    assert result.successor.label == "dan@example.test"
    assert await site.another_process().default() == logins[3].account.id
    # Another than the default leaves it alone.
    assert (await site.book.sign_out(logins[2])).successor is None


async def test_a_person_signs_in_beside_an_account_whose_record_does_not_open(site: Site):
    broken = await site.sign_in(login_hint="bob@example.test")
    name = f"acct:{{{broken.account.id}}}:tokens"
    record = await MemoryStore(site.place).read(name)
    assert record is not None
    await MemoryStore(site.place).write(name, b"gm1" + bytes(100), expected=record.version)
    site.vault = site.another_process()
    site.book = LoginBook(site.vault, site.board, site.escrow, site.issuer, clock=site.clock)
    with pytest.raises(SealBroken, match=r"bob@example.test: .* gptmock accounts remove"):
        await site.book.find("bob@example.test")
    with pytest.raises(LoginRefused, match="belongs to another account"):
        await site.book.enroll(issued(site, email="cid@example.test"), label="bob@example.test")
    login = await site.sign_in(login_hint="ada@example.test")
    assert login.label == "ada@example.test"
    assert (await site.another_process().load(login.account.id)).version == login.version
    # The same person's login mends the broken one.
    assert (await site.sign_in(login_hint="bob@example.test")).account == broken.account
    assert await labels(site) == ["ada@example.test", "bob@example.test"]


# --- In and out of service --------------------------------------------------------------------


async def test_a_paused_default_says_so(site: Site):
    login = await site.sign_in()
    chooser = AccountSelector(site.another_process(), site.board, pool=(), clock=site.clock)
    assert await chooser.account_ids() == (login.account.id,)
    await site.book.pause(login, paused=True)
    site.clock.now += 1
    with pytest.raises(GptmockError, match="paused") as caught:
        await chooser.candidates("c")
    assert caught.value.code == "account_unusable"
    await site.book.pause(login, paused=False)
    site.clock.now += 1
    assert await chooser.candidates("c") == [login.account.id]


async def test_find_by_label_id_or_address(site: Site):
    work = await site.sign_in(login_hint="ada@example.test", label="work")
    await site.sign_in(login_hint="bob@example.test")
    for name in ("work", work.account.id, "ada@example.test"):
        assert (await site.book.find(name)).account == work.account
    with pytest.raises(NotLoggedIn, match=r"Accounts: bob@example\.test, work"):
        await site.book.find("home")


# --- A login against a refresh that is under way ----------------------------------------------


class Worker:
    """Another process: a vault with its own cache, and a refresher."""

    def __init__(self, site: Site) -> None:
        self.vault = site.another_process()
        store = MemoryStore(site.place)

        def lease(account_id: str) -> StoreLease:
            return StoreLease(store, account_id, owner=secrets.token_hex(8), ttl_seconds=LEASE_SECONDS)

        self.refresher = Refresher(self.vault, lease, site.issuer, site.escrow, clock=site.clock)
        self.keeper = CredentialKeeper(self.vault, self.refresher, clock=site.clock)


@pytest.mark.parametrize("seed", range(20))
async def test_the_newer_login_wins_over_a_refresh_under_way(site: Site, seed: int):
    """F28: 20 interleavings, none overwritten."""
    chance = random.Random(seed)
    options = type(site.simulator.state.options)
    site.simulator.state.options = options(any_redirect_port=True, refresh_delay_seconds=chance.uniform(0.0, 0.02))
    old = await site.sign_in(login_hint="ada@example.test")
    worker, held = Worker(site), await site.vault.load(old.account.id)
    refresh = asyncio.get_running_loop().create_task(worker.refresher.refresh(held))
    await asyncio.sleep(chance.uniform(0.0, 0.04))
    new = issued(site, email="ada@example.test", account_id=old.account.workspace_id, user_id=old.account.user_id or "")
    login = await site.book.enroll(new)
    await asyncio.gather(refresh, return_exceptions=True)
    assert login.account.id == old.account.id
    stored: TokenSet = await site.another_process().load(old.account.id)
    assert (stored.access_token, stored.refresh_token) == (new.access_token, new.refresh_token)
    # Seen by the others within a second.
    site.clock.now += 1
    assert (await worker.keeper.lease(old.account.id)).access_token == new.access_token
    await worker.keeper.close()


@pytest.mark.parametrize("seed", range(5))
async def test_a_logout_wins_over_a_refresh_under_way(site: Site, seed: int):
    chance = random.Random(seed)
    options = type(site.simulator.state.options)
    site.simulator.state.options = options(any_redirect_port=True, refresh_delay_seconds=chance.uniform(0.0, 0.02))
    login = await site.sign_in()
    worker, held = Worker(site), await site.vault.load(login.account.id)
    refresh = asyncio.get_running_loop().create_task(worker.refresher.refresh(held))
    await asyncio.sleep(chance.uniform(0.0, 0.04))
    await site.book.sign_out(login)
    await asyncio.gather(refresh, return_exceptions=True)
    with pytest.raises(NotLoggedIn):
        await site.another_process().load(login.account.id)
    await worker.keeper.close()
