"""
The two ways in, from the first question to tokens that somebody has taken. Knows contracts and time, prints nothing.

    browser   listen, send the browser off, then whatever comes first: its return, a pasted URL, a cancel, the end of
              its time. Only the first answer counts; what does not belong to the attempt changes nothing.
    device    show a code, ask now and then whether it was approved.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from gptmock.accounts import IssuedTokens, Login
from gptmock.errors import GptmockError, LoginRefused, LoginUnavailable
from gptmock.login import pages
from gptmock.login.attempt import CALLBACK_PATH, Attempt, Stray
from gptmock.login.callback import PORTS, CallbackServer
from gptmock.login.pages import Page
from gptmock.signin import DeviceCode, Grant, SignInIssuer

LIFETIME_SECONDS = 600.0
POLL_FAILURES = 5
"""So often in a row the issuer may be out of reach while a device waits."""

Enroll = Callable[[IssuedTokens], Awaitable[Login]]
"""Takes the tokens to where they rest."""


class LoginSkipped(Exception):
    """The person would rather go on without an account."""


class BrowserLogin:
    """
    One login through a browser: be ``listening``, show the ``url``, and ``finish``.

    Args:
        issuer: who is asked.
        enroll: who takes the tokens.
    """

    def __init__(self, issuer: SignInIssuer, enroll: Enroll) -> None:
        self._issuer = issuer
        self._enroll = enroll
        self._attempt = Attempt("")
        self._ending: asyncio.Task[Login] | None = None
        self._decided = asyncio.Event()

    @property
    def url(self) -> str:
        """Where the person's browser goes."""
        attempt = self._attempt
        return self._issuer.authorize_url(
            state=attempt.state, challenge=attempt.challenge, redirect_uri=attempt.redirect_uri
        )

    @property
    def redirect_uri(self) -> str:
        """Where it comes back to."""
        return self._attempt.redirect_uri

    @asynccontextmanager
    async def listening(self, host: str, ports: Sequence[int] = PORTS) -> AsyncIterator[None]:
        """
        Be there for the browser while the context lasts.

        Raises:
            LoginUnavailable: no port can be had.
        """
        async with CallbackServer(self._came_back, self._cancelled).listen(host, ports) as port:
            # The word, not the number: the issuer compares it.
            self._attempt = Attempt(f"http://localhost:{port}{CALLBACK_PATH}")
            try:
                yield
            finally:
                if self._ending is not None:
                    self._ending.cancel()
                    await asyncio.wait({self._ending})

    async def finish(
        self,
        pasted: AsyncIterator[str],
        *,
        say: Callable[[str], None],
        skippable: bool = False,
        seconds: float = LIFETIME_SECONDS,
    ) -> Login:
        """
        Wait for the first answer, by whichever way it comes.

        Args:
            pasted: lines that the person types, without their ends; may end early.
            say: told what is wrong with a line.
            skippable: an empty line ends the login.
            seconds: how long the attempt is good for.

        Raises:
            LoginRefused: denied, cancelled, expired, or refused by the issuer.
            LoginUnavailable: the issuer cannot be asked.
            LoginSkipped: by an empty line.
            StoreError: the tokens could not be put away.
        """
        reading = asyncio.get_running_loop().create_task(self._read(pasted, say, skippable=skippable), name="paste")
        try:
            async with asyncio.timeout(seconds):
                await self._decided.wait()
        except TimeoutError as error:
            raise LoginRefused(f"Nobody finished the sign-in within {seconds / 60:.0f} minutes. Try again.") from error
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
        assert self._ending is not None  # noqa: S101 - decided means that
        return await asyncio.shield(self._ending)

    # --- Ways back ------------------------------------------------------------------------

    async def _came_back(self, query: str) -> Page:
        try:
            answer: Grant | LoginRefused = self._attempt.judge(query)
        except Stray as error:
            return pages.stray(str(error))
        except LoginRefused as error:
            answer = error
        if self._ending is not None:
            return pages.USED
        ending = self._end(answer)
        await asyncio.wait({ending})
        return _page_of(ending)

    async def _read(self, pasted: AsyncIterator[str], say: Callable[[str], None], *, skippable: bool) -> None:
        async for line in pasted:
            if not line.strip():
                if skippable:
                    self._end(LoginSkipped())
                    return
                continue
            try:
                answer: Grant | LoginRefused = self._attempt.judge_pasted(line)
            except Stray as error:
                say(str(error))
                continue
            except LoginRefused as error:
                answer = error
            self._end(answer)
            return

    def _cancelled(self) -> None:
        self._end(LoginRefused("The sign-in was cancelled: another login took over its port."))

    def _end(self, answer: Grant | LoginRefused | LoginSkipped) -> asyncio.Task[Login]:
        """The first answer decides."""
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._settle(answer), name="login")
            self._decided.set()
        return self._ending

    async def _settle(self, answer: Grant | LoginRefused | LoginSkipped) -> Login:
        if not isinstance(answer, Grant):
            raise answer
        return await self._enroll(await self._issuer.redeem(answer))


def _page_of(ending: asyncio.Task[Login]) -> Page:
    if ending.cancelled():
        return pages.failed("The sign-in was stopped.")
    error = ending.exception()
    if error is None:
        return pages.signed_in(ending.result().label)
    return pages.failed(error.message if isinstance(error, GptmockError) else "Something went wrong.")


# --- Device -----------------------------------------------------------------------------------


async def device_login(
    issuer: SignInIssuer, enroll: Enroll, device: DeviceCode, *, tick: Callable[[float], None]
) -> Login:
    """
    Wait until a device is approved.

    Args:
        issuer: who is asked.
        enroll: who takes the tokens.
        device: what ``begin_device`` gave; the person has been shown it.
        tick: told once a second how many seconds are left.

    Raises:
        LoginRefused: denied, expired, or refused.
        LoginUnavailable: the issuer was out of reach for too long.
        StoreError: the tokens could not be put away.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + device.lifetime_seconds
    failures = 0
    while await _passed(device.interval_seconds, deadline=deadline, tick=tick):
        try:
            grant = await issuer.poll_device(device)
            failures = 0
        except LoginUnavailable:
            failures += 1
            if failures >= POLL_FAILURES:
                raise
            continue
        if grant is not None:
            return await enroll(await issuer.redeem(grant))
    raise LoginRefused(f"The code expired after {device.lifetime_seconds / 60:.0f} minutes. Try again.")


async def _passed(seconds: float, *, deadline: float, tick: Callable[[float], None]) -> bool:
    """Let so much time pass, second by second; false when the deadline comes first."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while (now := loop.time()) < until:
        if now >= deadline:
            return False
        tick(deadline - now)
        await asyncio.sleep(min(1.0, until - now, deadline - now))
    return loop.time() < deadline
