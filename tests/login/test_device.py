"""The device flow against a scripted issuer, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from gptmock.accounts import Account, IssuedTokens, Login, Secret
from gptmock.errors import LoginRefused, LoginUnavailable
from gptmock.login.flow import device_login
from gptmock.signin import DeviceCode, Grant
from tests.login.site import Site
from tests.virtual_time import VirtualLoop

TOKENS = IssuedTokens(Secret("a"), Secret("r"), None)
GRANT = Grant(Secret("ac_1"), Secret("v"), "https://issuer.test/deviceauth/callback")


@dataclass
class Played:
    """Answers polls as it is told; ``None`` is pending."""

    answers: Callable[[int], Grant | Exception | None]
    polled_at: list[float] = field(default_factory=list)
    clock: Callable[[], float] = lambda: 0.0

    async def poll_device(self, _: DeviceCode) -> Grant | None:
        self.polled_at.append(self.clock())
        answer = self.answers(len(self.polled_at))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def redeem(self, grant: Grant) -> IssuedTokens:
        assert grant is GRANT
        return TOKENS


async def enroll(tokens: IssuedTokens) -> Login:
    assert tokens is TOKENS
    return Login(Account("w"), "ada", 1, None, None)


def device(*, interval: float = 5.0, lifetime: float = 900.0) -> DeviceCode:
    return DeviceCode(Secret("handle"), "ABCD-EFGH", "https://issuer.test/codex/device", interval, lifetime)


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    virtual = VirtualLoop()
    yield virtual
    virtual.end()


def played(loop: VirtualLoop, answers: Callable[[int], Grant | Exception | None], **code: float):
    issuer = Played(answers, clock=loop.time)
    left: list[float] = []
    work = device_login(issuer, enroll, device(**code), tick=left.append)  # type: ignore[arg-type]
    return issuer, left, work


def test_pending_until_it_is_approved(loop: VirtualLoop):
    issuer, left, work = played(loop, lambda number: GRANT if number == 4 else None)
    assert loop.run_until_complete(work).label == "ada"
    assert issuer.polled_at == pytest.approx([5.0, 10.0, 15.0, 20.0])
    assert left == pytest.approx([900.0 - second for second in range(20)])


def test_nobody_decides_and_the_code_expires(loop: VirtualLoop):
    issuer, left, work = played(loop, lambda _: None, interval=7.0)
    with pytest.raises(LoginRefused, match="expired after 15 minutes"):
        loop.run_until_complete(work)
    assert loop.time() == pytest.approx(900.0)
    assert len(issuer.polled_at) == 128
    assert min(left) > 0


def test_a_denial_ends_it(loop: VirtualLoop):
    _, _, work = played(loop, lambda number: LoginRefused("no") if number == 2 else None)
    with pytest.raises(LoginRefused, match="no"):
        loop.run_until_complete(work)
    assert loop.time() == pytest.approx(10.0)


def test_an_issuer_out_of_reach_is_asked_again(loop: VirtualLoop):
    trouble = {1, 2, 3, 4, 6, 7, 8, 9}
    _, _, work = played(
        loop, lambda number: LoginUnavailable("later") if number in trouble else GRANT if number == 10 else None
    )
    assert loop.run_until_complete(work).label == "ada"


def test_an_issuer_that_stays_away_is_given_up(loop: VirtualLoop):
    issuer, _, work = played(loop, lambda _: LoginUnavailable("later"))
    with pytest.raises(LoginUnavailable, match="later"):
        loop.run_until_complete(work)
    assert len(issuer.polled_at) == 5


# --- Against the simulator ---------------------------------------------------------------------


async def test_an_approved_device_signs_in(site: Site):
    code = await site.issuer.begin_device()
    assert (code.interval_seconds, code.lifetime_seconds) == (5.0, 900.0)
    assert code.page == f"{site.simulator.issuer_url}/codex/device"
    assert await site.issuer.poll_device(code) is None
    approval = {"user_code": code.user_code, "email": "ada@example.test"}
    await site.browser.post(f"{site.simulator.base_url}/simulator/device/approve", json=approval)
    grant = await site.issuer.poll_device(code)
    assert grant is not None
    login = await site.book.enroll(await site.issuer.redeem(grant))
    assert login.label == "ada@example.test"


async def test_a_denied_device_is_refused(site: Site):
    code = await site.issuer.begin_device()
    await site.browser.post(f"{site.simulator.base_url}/simulator/device/deny", json={"user_code": code.user_code})
    with pytest.raises(LoginRefused, match="denied"):
        await site.issuer.poll_device(code)


async def test_a_device_that_the_issuer_has_forgotten_stays_pending(site: Site):
    code = DeviceCode(Secret("unknown"), "ABCD-EFGH", "", 5.0, 900.0)
    assert await site.issuer.poll_device(code) is None
