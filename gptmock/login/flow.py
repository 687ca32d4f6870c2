"""
The two login flows, from the authorization request to stored tokens. Knows contracts and time, prints nothing.

    browser   listen for the redirect and show the authorization URL; then the first of redirect, pasted URL, cancel
              and timeout decides. Redirects that do not belong to the attempt are ignored.
    device    show a user code, and poll until it is approved (as RFC 8628, with the issuer's own endpoints).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from gptmock.accounts import IssuedTokens, Login
from gptmock.errors import GptmockError, LoginRefused, LoginUnavailable
from gptmock.login import pages
from gptmock.login.attempt import CALLBACK_PATH, Attempt, UnrelatedRedirect
from gptmock.login.callback import PORTS, CallbackServer
from gptmock.login.pages import Page
from gptmock.signin import DeviceCode, Grant, SignInIssuer

LIFETIME_SECONDS = 600.0
POLL_FAILURES = 5
"""How many polls may fail in a row before a device login gives up."""

Enroll = Callable[[IssuedTokens], Awaitable[Login]]
"""Stores the tokens; returns the account's login."""


_Result = TypeVar("_Result")


class LoginSkipped(Exception):
    """The user chose to go on without signing in."""


class BrowserLogin:
    """
    One login through a browser: enter ``listening``, show the ``url``, and await ``finish``.

    Args:
        issuer: the OAuth issuer.
        enroll: stores the tokens.
    """

    def __init__(self, issuer: SignInIssuer, enroll: Enroll) -> None:
        self._issuer = issuer
        self._enroll = enroll
        self._attempt = Attempt("")
        self._ending: asyncio.Task[Login] | None = None
        self._decided = asyncio.Event()

    @property
    def url(self) -> str:
        """The authorization URL, to open in a browser."""
        attempt = self._attempt
        return self._issuer.authorize_url(
            state=attempt.state, challenge=attempt.challenge, redirect_uri=attempt.redirect_uri
        )

    @property
    def redirect_uri(self) -> str:
        """The redirect URI (RFC 6749 3.1.2)."""
        return self._attempt.redirect_uri

    @asynccontextmanager
    async def listening(self, host: str, ports: Sequence[int] = PORTS) -> AsyncIterator[None]:
        """
        Listen for the redirect while the context lasts.

        Raises:
            LoginUnavailable: no port is free.
        """
        async with CallbackServer(self._on_redirect, self._on_cancel).listen(host, ports) as port:
            # "localhost", not 127.0.0.1: the issuer compares the redirect URI as text.
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
        Wait for the redirect, a pasted URL, a cancel or the timeout, whichever comes first.

        Args:
            pasted: lines that the user types, without line ends; may end early.
            say: called with what is wrong with a line.
            skippable: whether an empty line ends the login.
            seconds: the timeout.

        Raises:
            LoginRefused: denied, cancelled, expired, or refused by the issuer.
            LoginUnavailable: the issuer cannot be asked.
            LoginSkipped: by an empty line.
            StoreError: the tokens could not be stored.
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
        assert self._ending is not None  # noqa: S101 - set together with ``_decided``
        return await asyncio.shield(self._ending)

    # --- Answers --------------------------------------------------------------------------

    async def _on_redirect(self, query: str) -> Page:
        try:
            answer: Grant | LoginRefused = self._attempt.parse_redirect(query)
        except UnrelatedRedirect as error:
            return pages.unrelated(str(error))
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
                answer: Grant | LoginRefused = self._attempt.parse_pasted(line)
            except UnrelatedRedirect as error:
                say(str(error))
                continue
            except LoginRefused as error:
                answer = error
            self._end(answer)
            return

    def _on_cancel(self) -> None:
        self._end(LoginRefused("The sign-in was cancelled: another login took over its port."))

    def _end(self, answer: Grant | LoginRefused | LoginSkipped) -> asyncio.Task[Login]:
        """Begin to finish the login; only the first answer has an effect."""
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._redeem(answer), name="login")
            self._decided.set()
        return self._ending

    async def _redeem(self, answer: Grant | LoginRefused | LoginSkipped) -> Login:
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
    issuer: SignInIssuer,
    enroll: Callable[[IssuedTokens], Awaitable[_Result]],
    device: DeviceCode,
    *,
    tick: Callable[[float], None],
) -> _Result:
    """
    Poll until the user has approved the device code, then exchange and store the tokens. Returns what ``enroll`` does.

    Args:
        issuer: the OAuth issuer.
        enroll: stores the tokens.
        device: the result of ``begin_device``, whose user code was shown.
        tick: called once a second with the remaining seconds.

    Raises:
        LoginRefused: denied, expired, or refused.
        LoginUnavailable: ``POLL_FAILURES`` polls in a row did not reach the issuer.
        StoreError: the tokens could not be stored.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + device.lifetime_seconds
    failures = 0
    while await _wait(device.interval_seconds, deadline=deadline, tick=tick):
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


async def _wait(seconds: float, *, deadline: float, tick: Callable[[float], None]) -> bool:
    """Sleep for ``seconds``, with a ``tick`` each second. Returns False if the deadline comes first."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while (now := loop.time()) < until:
        if now >= deadline:
            return False
        tick(deadline - now)
        await asyncio.sleep(min(1.0, until - now, deadline - now))
    return loop.time() < deadline
