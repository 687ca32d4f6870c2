"""
Everything that can happen to a login, in any order: several workers on one machine, one store, one strict issuer.

A worker is its own vault, refresher and keeper; whatever it asks for passes a gate before and after. A killed worker's
gate never opens again, so that no ``finally`` of it runs; a paused one's opens later. Time is virtual.

What may be lost, and nothing else: tokens that were issued and not yet in the escrow when their worker was killed or
paused, and what only an emptied or older store knew.

``GPTMOCK_EXAMPLES`` multiplies how many examples are run; see ``tests/examples.py``.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gptmock.accounts import Credential, IssuedTokens, Secret, TokenSet
from gptmock.errors import GptmockError, NotLoggedIn, RefreshRejected
from gptmock.gateway.credentials import CredentialKeeper
from gptmock.gateway.refresh import LEASE_SECONDS, WAIT_SECONDS, Refresher
from gptmock.stores.lease import StoreLease
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.seal import Sealer, SealingKey
from gptmock.stores.store import Record
from gptmock.stores.vault import SealedVault
from tests.examples import examples
from tests.gateway.memory import ACCOUNT, MemoryEscrow, access
from tests.virtual_time import VirtualLoop

STEPS = 60
WORKERS = 3
EPOCH = 1_790_000_000.0
LIFE_SECONDS = 3600.0
ANSWER_SECONDS = 1.0
SEEN_SECONDS = 1.0
"""A change in the store is seen by all workers within this time."""
HEALED_SECONDS = LEASE_SECONDS + WAIT_SECONDS
"""After the last trouble: leases of the dead have ended, and whoever waited for one has got it."""
KEYS = [SealingKey.from_bytes(bytes(range(start, start + 32))) for start in (0, 100)]
RECORD = f"acct:{{{ACCOUNT.id}}}:tokens"

LIVES = st.sampled_from([LIFE_SECONDS, None, -10.0, 10.0, 200.0])
"""How long the newest access token has to live; ``None``: the upstream takes it no more, though it has not expired."""
workers = st.integers(0, WORKERS - 1)


@dataclass
class Issued:
    """A token pair that the issuer has given out."""

    number: int
    access: Secret
    refresh: str
    expires_at: float
    living: bool = True
    """Whether its refresh token has not been spent yet."""
    revoked: bool = False
    """Whether the upstream takes its access token no more, though it has not expired."""
    under_way: int = 0
    """How many are sending its refresh token."""
    spent_by: Worker | None = None
    successor: Issued | None = None
    excused: bool = False
    """Whether what it was spent for may have been lost, so that somebody may try it again."""


class Issuer:
    """Strict: a refresh token is good once. Remembers who spent what."""

    def __init__(self, machine: Logins) -> None:
        self._machine = machine
        self.issued: list[Issued] = []

    def issue(self) -> Issued:
        number = len(self.issued) + 1
        expires_at = self._machine.clock() + LIFE_SECONDS
        made = Issued(number, access(f"access-{number}", expires_at), f"refresh-{number}", expires_at)
        self.issued.append(made)
        return made

    def by_refresh(self, token: Secret | None) -> Issued:
        return next(one for one in self.issued if token is not None and one.refresh == token.reveal())

    def by_access(self, token: Secret) -> Issued:
        return next(one for one in self.issued if one.access == token)

    def spend(self, worker: Worker, token: Secret) -> IssuedTokens:
        spent = self.by_refresh(token)
        if not spent.living:
            if not spent.excused:
                self._machine.faults.append(f"{spent.refresh} was sent again, and nothing was lost")
            raise RefreshRejected("reused")
        spent.living, spent.spent_by = False, worker
        spent.excused |= worker.dead or worker.paused
        spent.successor = made = self.issue()
        return IssuedTokens(made.access, Secret(made.refresh), None)


@dataclass(eq=False)
class Request:
    """A request under way at a worker."""

    worker: Worker
    task: asyncio.Task[Credential]
    calm_since: float
    began: float
    floor: int
    """No older version may serve it."""
    store_was_up: bool


class Worker:
    """A process: a memory of its own, and gates to everything outside."""

    def __init__(self, machine: Logins, number: int) -> None:
        self.machine = machine
        machine.every_worker.append(self)
        self.running = asyncio.Event()
        self.running.set()
        self.paused = self.dead = False
        self.served = 0
        """The newest version that it has served with."""
        store = self._through(MemoryStore(machine.place))
        self.vault = SealedVault(store, Sealer(KEYS if number % 2 else KEYS[::-1]), clock=machine.clock)
        self.refresher = Refresher(
            self.vault,
            lambda one: StoreLease(store, one, owner=secrets.token_hex(8), ttl_seconds=LEASE_SECONDS),
            self,
            self._through(machine.escrow),
            clock=machine.clock,
        )
        self.keeper = CredentialKeeper(self.vault, self.refresher, clock=machine.clock)
        self.watching = machine.loop.create_task(self.keeper.watch(self._accounts))

    async def refresh(self, refresh_token: Secret) -> IssuedTokens:
        """The issuer, seen from here. What was sent is sent; only the answer needs somebody who is awake."""
        asked = self.machine.issuer.by_refresh(refresh_token)
        asked.under_way += 1
        await asyncio.sleep(ANSWER_SECONDS)
        asked.under_way -= 1
        try:
            return self.machine.issuer.spend(self, refresh_token)
        finally:
            await asyncio.sleep(ANSWER_SECONDS)
            await self._awake()

    async def request(self) -> Credential:
        """As the gateway does it: one renewal after a 401."""
        credential = await self.keeper.lease(ACCOUNT.id)
        if self.machine.is_taken(credential):
            return credential
        return await self.keeper.renew(credential)

    async def _accounts(self) -> list[str]:
        return [ACCOUNT.id]

    async def _awake(self) -> None:
        while not self.running.is_set():
            await self.running.wait()
        if self.machine.over:
            raise asyncio.CancelledError

    def _through(self, inside: Any) -> Any:
        awake = self._awake

        class Gate:
            def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
                method = getattr(inside, name)

                async def call(*args: Any, **more: Any) -> Any:
                    await awake()
                    try:
                        return await method(*args, **more)
                    finally:
                        await awake()

                return call

        return Gate()


class Logins(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        asyncio.set_event_loop(self.loop)
        self.skipped = 0.0
        self.place = MemoryPlace(clock=self.loop.time)
        self.escrow = MemoryEscrow()
        self.issuer = Issuer(self)
        self.over = False
        self.every_worker: list[Worker] = []
        self.workers = [Worker(self, number) for number in range(WORKERS)]
        self.requests: list[Request] = []
        self.ended: list[Request] = []
        """In the order of their ends."""
        self.backup: dict[str, tuple[Record, float]] = {}
        self.store_is_up = True
        self.trouble_at = 0.0
        self.floor = 0
        """The version of the last login by a person, while the store cannot have lost it."""
        self.signed_in = False
        self.stored = 0
        self.faults: list[str] = []
        self.login()

    def clock(self) -> float:
        return EPOCH + self.loop.time() + self.skipped

    def is_taken(self, credential: Credential) -> bool:
        """What the upstream says to it."""
        issued = self.issuer.by_access(credential.access_token)
        return not issued.revoked and issued.expires_at > self.clock()

    # --- What people do ----------------------------------------------------------------

    @rule()
    @precondition(lambda self: self.store_is_up)
    def login(self) -> None:
        """By a process that knows nothing but the store, such as the command."""
        made = self.issuer.issue()
        tokens = TokenSet(ACCOUNT, made.access, Secret(made.refresh), None, 0, made.expires_at, self.clock())
        enrolled = self.loop.run_until_complete(self._stranger().enroll(tokens))
        assert enrolled.version > self.floor
        self.floor, self.signed_in = enrolled.version, True
        self.stored = enrolled.version
        self.trouble()

    @rule()
    @precondition(lambda self: self.store_is_up and self.signed_in)
    def logout(self) -> None:
        self.loop.run_until_complete(self._stranger().forget(ACCOUNT.id))
        record = self.place.records.get(RECORD)
        self.floor, self.signed_in = (record[0].version if record else self.floor), False
        self.trouble()

    @rule(number=workers, turns=st.integers(0, 40))
    def request(self, number: int, turns: int) -> None:
        self._ask(self.workers[number])
        self.loop.pass_turns(turns)
        self.judge()

    @rule(left=LIVES, seconds=st.sampled_from([0.0, 0.5, 1.5, 2.5]), turns=st.integers(0, 40))
    def everybody_asks(self, left: float | None, seconds: float, turns: int) -> None:
        """And time passes up to somewhere in the middle of what that leads to."""
        self.the_token_ages(left)
        for worker in self.workers:
            self._ask(worker)
        self.loop.pass_time(seconds)
        self.loop.pass_turns(turns)
        self.judge()

    def _ask(self, worker: Worker) -> None:
        if not worker.paused:
            task = self.loop.create_task(worker.request())
            request = Request(worker, task, self.trouble_at, self.loop.time(), self.floor, self.store_is_up)
            self.requests.append(request)
            task.add_done_callback(lambda done: self._end(request, done))

    def _end(self, request: Request, done: asyncio.Task[Credential]) -> None:
        if not done.cancelled():
            # Also of those that nobody judges any more: their failure has been seen.
            done.exception()
            self.ended.append(request)

    # --- What happens by itself --------------------------------------------------------

    @rule(seconds=st.sampled_from([0.05, 0.3, 0.7, 1.0, 2.0, 5.0, 16.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.loop.pass_time(seconds)
        self.judge()

    @rule(turns=st.integers(1, 30))
    def tasks_go_on(self, turns: int) -> None:
        self.loop.pass_turns(turns)
        self.judge()

    def the_token_ages(self, left: float | None) -> None:
        newest = self.issuer.issued[-1]
        if left is None:
            newest.revoked = True
        else:
            self.skipped += max(0.0, newest.expires_at - left - self.clock())

    @rule()
    def all_is_well_again(self) -> None:
        self.place.recover()
        self.store_is_up = True
        for worker in self.workers:
            worker.paused = False
            worker.running.set()
        self.loop.pass_time(HEALED_SECONDS)
        self.judge()
        if not self.signed_in:
            self.login()
        self.loop.pass_time(HEALED_SECONDS)

    # --- What goes wrong ---------------------------------------------------------------

    @rule(number=workers)
    def a_worker_is_killed(self, number: int) -> None:
        killed = self.workers[number]
        killed.dead = True
        killed.running.clear()
        self._excuse(killed)
        self.requests = [one for one in self.requests if one.worker is not killed]
        self.workers[number] = Worker(self, number)
        self.trouble()

    @rule(number=workers)
    def a_worker_is_paused_or_goes_on(self, number: int) -> None:
        worker = self.workers[number]
        worker.paused = not worker.paused
        if worker.paused:
            worker.running.clear()
            self._excuse(worker)
            self.requests = [one for one in self.requests if one.worker is not worker]
        else:
            worker.running.set()
        self.trouble()

    @rule()
    def the_store_goes_away_or_comes_back(self) -> None:
        if self.store_is_up:
            self.place.fail()
        else:
            self.place.recover()
        self.store_is_up = not self.store_is_up
        self.trouble()

    @rule(what=st.sampled_from(["backed up", "restored", "emptied"]))
    def the_store_is(self, what: str) -> None:
        if what == "backed up":
            self.backup = dict(self.place.records)
            return
        self.place.forget()
        if what == "restored":
            self.place.records.update(self.backup)
        for issued in self.issuer.issued:
            # The lease is gone too: who is asking now is not alone any more.
            issued.excused |= not issued.living or issued.under_way > 0
        record = self.place.records.get(RECORD)
        self.stored = record[0].version if record else 0
        self.floor = 0
        self.trouble()

    @rule(number=workers)
    @precondition(lambda self: self.store_is_up)
    def a_worker_seals_anew(self, number: int) -> None:
        worker = self.workers[number]
        if worker.paused:
            return
        self.loop.run_until_complete(worker.vault.reseal())

    # --- What always holds -------------------------------------------------------------

    @invariant()
    def no_token_is_spent_twice(self) -> None:
        assert self.faults == []

    @invariant()
    def the_store_never_goes_back(self) -> None:
        record = self.place.records.get(RECORD)
        version = record[0].version if record else 0
        assert version >= self.stored, "an older version was put over a newer one"
        assert version >= self.floor, "a login or a logout was overwritten"
        self.stored = version

    def judge(self) -> None:
        """Look at the requests that have ended."""
        ended, self.ended = [one for one in self.ended if one in self.requests], []
        self.requests = [one for one in self.requests if one not in ended]
        for one in ended:
            error = one.task.exception()
            if error is None:
                self._served(one, one.task.result())
            else:
                assert isinstance(error, GptmockError), error
                self._failed(one, error)

    def _served(self, request: Request, credential: Credential) -> None:
        worker = request.worker
        assert credential.version >= worker.served, "a worker went back to older tokens"
        worker.served = credential.version
        calm = request.store_was_up and self.store_is_up and self.trouble_at < request.began
        if calm and request.began - request.calm_since > SEEN_SECONDS:
            assert credential.version >= request.floor, "a login by a person did not win"

    def _failed(self, request: Request, error: GptmockError) -> None:
        if self.trouble_at >= request.began or not (request.store_was_up and self.store_is_up):
            return
        record = self.place.records.get(RECORD)
        if record is None or isinstance(error, NotLoggedIn):
            return
        try:
            held = self.loop.run_until_complete(self._stranger().load(ACCOUNT.id))
        except NotLoggedIn:
            return
        issued = self.issuer.by_access(held.access_token)
        lives = not issued.revoked and issued.expires_at > self.clock()
        if request.began - request.calm_since > HEALED_SECONDS:
            assert not lives, f"failed with {error!r} though a living token is in the store"
            assert not issued.living, f"failed with {error!r} though the login can be renewed"

    def trouble(self) -> None:
        self.trouble_at = self.loop.time()

    def teardown(self) -> None:
        try:
            if self.workers:
                self._all_is_well_again()
        finally:
            self.over = True
            for worker in self.every_worker:
                worker.running.set()
            self.loop.end()
            asyncio.set_event_loop(None)

    def _all_is_well_again(self) -> None:
        self.place.recover()
        for worker in self.workers:
            worker.running.set()
        known = self._newest_known()
        self.loop.pass_time(HEALED_SECONDS)
        asked = asyncio.gather(*(worker.request() for worker in self.workers), return_exceptions=True)
        answers = self.loop.run_until_complete(_all(asked))
        self.loop.pass_time(2)
        record = self.place.records.get(RECORD)
        version = record[0].version if record else 0
        assert version >= known, "what was known to the living was lost"
        served = {one.version for one in answers if isinstance(one, Credential)}
        assert len(served) <= 1, "the workers do not agree"
        if record is not None and not served:
            try:
                held = self.loop.run_until_complete(self._stranger().load(ACCOUNT.id))
            except NotLoggedIn:
                return
            assert not self.issuer.by_refresh(held.refresh_token).living, (
                f"a login that lives does not serve: {answers}"
            )

    def _newest_known(self) -> int:
        """The newest version in the store, in any living worker's memory, and in the escrow if anybody looks there."""
        record = self.place.records.get(RECORD)
        versions = [record[0].version if record else 0]
        versions += [one._newest[ACCOUNT.id].version for one in self._vaults() if ACCOUNT.id in one._newest]
        return max(versions)

    def _vaults(self) -> list[SealedVault]:
        return [worker.vault for worker in self.workers]

    def _stranger(self) -> SealedVault:
        return SealedVault(MemoryStore(self.place), Sealer(KEYS), clock=self.clock)

    def _excuse(self, worker: Worker) -> None:
        """What it got from the issuer, and is in no safe place yet, may be lost, or come late."""
        safe = {one.access_token.reveal() for one in self.escrow.kept.values()}
        for issued in self.issuer.issued:
            if issued.spent_by is worker and issued.successor is not None:
                issued.excused |= issued.successor.access.reveal() not in safe and not self._is_stored(issued.successor)

    def _is_stored(self, issued: Issued) -> bool:
        record = self.place.records.get(RECORD)
        if record is None:
            return False
        sealer = Sealer(KEYS)
        plain = sealer.open(record[0].value, kind="tokens", name=RECORD, version=record[0].version)
        return issued.refresh.encode() in plain


async def _all(asked: Awaitable[list[Any]]) -> list[Any]:
    return await asyncio.wait_for(asked, 600)


TestLogins = Logins.TestCase
TestLogins.settings = settings(
    max_examples=examples(40),
    stateful_step_count=STEPS,
    # Nothing is aimed at; and Python 3.11.7 cannot import what the target phase needs in the midst of these many tasks.
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)
