from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gptmock.accounts import ROTATION_STEP, Account, Secret, TokenSet
from gptmock.errors import NotLoggedIn, StoreUnavailable
from gptmock.simulator.accounts import IssuedLogin, TokenRegistry
from gptmock.simulator.options import SimulatorOptions
from gptmock.stores.auth_import import CLAIM_SECONDS, adopt, take_over
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.seal import Sealer
from gptmock.stores.store import Store
from gptmock.stores.vault import SealedVault
from tests.harness import write_login
from tests.stores.conftest import Place
from tests.stores.logins import OLD, rotated

BOOK = TokenRegistry(SimulatorOptions)


class Worker:
    def __init__(self, store: Store, home: Path) -> None:
        self.store = store
        self.vault = SealedVault(store, Sealer([OLD]))
        self.home = home

    async def take_over(self) -> Account | None:
        return await take_over(self.vault, self.store, self.home)

    async def held(self, login: IssuedLogin) -> TokenSet:
        return await self.vault.load(Account(login.account_id, login.user_id).id)


@pytest.fixture
def login(tmp_path: Path) -> IssuedLogin:
    issued = BOOK.issue(email="ada@example.test")
    write_login(tmp_path, issued.auth_json())
    return issued


async def test_a_login_is_taken_once_and_is_the_default(near_place: Place, tmp_path: Path, login: IssuedLogin):
    one, other = Worker(near_place.open(), tmp_path), Worker(near_place.open(), tmp_path)
    account = await one.take_over()
    assert account is not None
    assert (account.workspace_id, account.user_id) == (login.account_id, login.user_id)
    assert await one.take_over() is None
    assert await other.take_over() is None
    assert (await other.held(login)).access_token == Secret(login.access_token)
    assert await other.vault.default() == account.id


async def test_of_many_workers_one_takes_it(near_place: Place, tmp_path: Path, login: IssuedLogin):
    workers = [Worker(near_place.open(), tmp_path) for _ in range(8)]
    taken = await asyncio.gather(*(worker.take_over() for worker in workers))
    assert len([one for one in taken if one is not None]) == 1
    assert {(await worker.held(login)).version for worker in workers} == {(await workers[0].held(login)).version}


async def test_a_late_worker_does_not_put_spent_tokens_over_renewed_ones(
    near_place: Place, tmp_path: Path, login: IssuedLogin
):
    fast, late = Worker(near_place.open(), tmp_path), Worker(near_place.open(), tmp_path)
    assert await late.vault.logins() == []
    await fast.take_over()
    held = await fast.held(login)
    newer = await fast.vault.replace(held, rotated(held, "2"))
    assert await late.take_over() is None
    assert await late.held(login) == newer


@pytest.mark.usefixtures("login")
async def test_a_logout_stays_one_and_a_new_login_is_taken(near_place: Place, tmp_path: Path):
    worker = Worker(near_place.open(), tmp_path)
    account = await worker.take_over()
    assert account is not None
    await worker.vault.forget(account.id)
    assert await worker.take_over() is None
    assert await Worker(near_place.open(), tmp_path).take_over() is None
    write_login(tmp_path, BOOK.issue(email="ada@example.test").auth_json())
    assert await worker.take_over() is not None


async def test_a_refused_login_makes_room_for_a_new_one_and_not_for_itself(
    near_place: Place, tmp_path: Path, login: IssuedLogin
):
    worker = Worker(near_place.open(), tmp_path)
    await worker.take_over()
    await worker.vault.refuse(await worker.held(login), reason="reused")
    assert await worker.take_over() is None
    newer = BOOK.issue(email="bob@example.test")
    write_login(tmp_path, newer.auth_json())
    account = await worker.take_over()
    assert account is not None
    assert account.workspace_id == newer.account_id
    assert await worker.vault.default() == account.id


async def test_nobody_is_taken_while_somebody_can_serve(near_place: Place, tmp_path: Path, login: IssuedLogin):
    worker = Worker(near_place.open(), tmp_path)
    await worker.take_over()
    write_login(tmp_path, BOOK.issue().auth_json())
    assert await worker.take_over() is None
    assert (await worker.held(login)).access_token == Secret(login.access_token)


@pytest.mark.parametrize("knows", [True, False])
async def test_in_an_emptied_place_a_spent_login_does_not_win_over_a_worker_that_knows_better(
    tmp_path: Path,
    login: IssuedLogin,
    knows: bool,  # noqa: FBT001
):
    place = MemoryPlace()
    living, other = Worker(MemoryStore(place), tmp_path), Worker(MemoryStore(place), tmp_path)
    await living.take_over()
    held = await living.held(login)
    newer = await living.vault.replace(held, rotated(held, "2"))
    if knows:
        await other.held(login)
    place.forget()
    await other.take_over()
    assert await living.held(login) == newer
    assert await other.held(login) == newer
    assert newer.version == held.version + ROTATION_STEP


async def test_a_file_that_is_no_login_is_said_and_nothing_else_happens(near_place: Place, tmp_path: Path):
    worker = Worker(near_place.open(), tmp_path)
    assert await worker.take_over() is None
    (tmp_path / "auth.json").write_text('{"OPENAI_API_KEY": "sk-planted"}')
    with pytest.raises(NotLoggedIn):
        await worker.take_over()
    (tmp_path / "auth.json").write_text("{")
    with pytest.raises(StoreUnavailable):
        await worker.take_over()
    assert await near_place.open().names("") == []


async def test_a_login_without_refresh_token_is_not_taken(near_place: Place, tmp_path: Path, login: IssuedLogin):
    document = login.auth_json()
    document["tokens"] = {**document["tokens"], "refresh_token": ""}
    write_login(tmp_path, document)
    assert await Worker(near_place.open(), tmp_path).take_over() is None


async def test_a_store_that_dies_in_between_is_no_end(tmp_path: Path, login: IssuedLogin):
    now = 0.0
    place = MemoryPlace(clock=lambda: now)
    worker = Worker(MemoryStore(place), tmp_path)
    taking = asyncio.ensure_future(worker.take_over())
    while not place.records:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0)
    place.fail()
    with pytest.raises(StoreUnavailable):
        await taking
    place.recover()
    now += CLAIM_SECONDS + 1
    assert await Worker(MemoryStore(place), tmp_path).take_over() is not None
    assert (await worker.held(login)).access_token == Secret(login.access_token)


# --- Because a person says so -------------------------------------------------------------


def written(folder: Path, login: IssuedLogin, **changes: object) -> Path:
    return write_login(folder, {**login.auth_json(), **changes})


async def test_a_file_is_adopted_beside_other_accounts_and_once(near_place: Place, tmp_path: Path):
    worker = Worker(near_place.open(), tmp_path)
    for name in ("ada", "bob"):
        login = BOOK.issue(email=f"{name}@example.test")
        account = await adopt(worker.vault, worker.store, written(tmp_path / name, login), label=name)
        assert (await worker.held(login)).account == account
        with pytest.raises(NotLoggedIn):
            await adopt(worker.vault, worker.store, tmp_path / name / "auth.json")
    assert [login.label for login in await worker.vault.logins()] == ["ada", "bob"]


async def test_what_was_imported_is_not_taken_again_after_a_logout(near_place: Place, tmp_path: Path):
    worker = Worker(near_place.open(), tmp_path)
    written(tmp_path, BOOK.issue())
    account = await adopt(worker.vault, worker.store, tmp_path / "auth.json")
    await worker.vault.forget(account.id)
    assert await worker.take_over() is None
    with pytest.raises(NotLoggedIn, match="imported before"):
        await adopt(worker.vault, worker.store, tmp_path / "auth.json")


async def test_a_file_older_than_the_login_of_its_account_is_left(near_place: Place, tmp_path: Path):
    worker = Worker(near_place.open(), tmp_path)
    login = BOOK.issue(email="ada@example.test")
    old = written(tmp_path / "old", login, last_refresh="2026-01-01T00:00:00Z")
    await adopt(
        worker.vault,
        worker.store,
        written(
            tmp_path / "new", BOOK.issue(email="ada@example.test", account_id=login.account_id, user_id=login.user_id)
        ),
    )
    held = await worker.held(login)
    with pytest.raises(NotLoggedIn, match="more recently"):
        await adopt(worker.vault, worker.store, old)
    assert await worker.held(login) == held
    # One that the issuer has ended is worth less than any file.
    await worker.vault.refuse(held, reason="ended")
    await adopt(worker.vault, worker.store, old)
    assert (await worker.held(login)).access_token == Secret(login.access_token)


async def test_what_cannot_be_adopted_says_why(near_place: Place, tmp_path: Path):
    worker = Worker(near_place.open(), tmp_path)
    with pytest.raises(NotLoggedIn, match=r"no file codex\.json"):
        await adopt(worker.vault, worker.store, tmp_path / "codex.json")
    document = BOOK.issue().auth_json()
    document["tokens"]["refresh_token"] = ""
    with pytest.raises(NotLoggedIn, match="no refresh token"):
        await adopt(worker.vault, worker.store, write_login(tmp_path, document))
    assert await worker.vault.logins() == []
