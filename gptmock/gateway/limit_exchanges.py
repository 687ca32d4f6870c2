"""
The round trips in which a worker admits and settles the turns of limited keys. Those that come while one is under way
share the next. Knows contracts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeAlias

from gptmock.clients import BegunTurn, EndedTurn, KeyLimits, LimitAnswer
from gptmock.errors import StoreError

TOGETHER_SECONDS = 0.02
"""How long an admission waits for the round trip that is under way, and a settlement for one that it may share."""
_Waiting: TypeAlias = tuple[BegunTurn, "asyncio.Future[LimitAnswer]"]


class LimitExchanges:
    """
    Round trips of one worker.

    Args:
        limits: shared by all workers.
        owe: called with the turns of which a failed round trip leaves unknown whether they are settled.
    """

    def __init__(self, limits: KeyLimits, *, owe: Callable[[Sequence[EndedTurn]], None]) -> None:
        self._limits = limits
        self._owe = owe
        self._begun: list[_Waiting] = []
        self._ended: list[EndedTurn] = []
        self._is_urgent = False
        """Something that waits shall leave as soon as it can."""
        self._starting = False
        """A round trip takes all that waits when its task runs, in a moment."""
        self._running: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def admit(self, turn: BegunTurn) -> LimitAnswer:
        """
        Admit a turn; see ``KeyLimits.admit``.

        Raises:
            StoreError: of the round trip.
        """
        answer: asyncio.Future[LimitAnswer] = asyncio.get_running_loop().create_future()
        self._begun.append((turn, answer))
        self._leave(at_once=True)
        return await answer

    def settle(self, turn: EndedTurn, *, at_once: bool) -> None:
        """Settle a turn in the background, ``at_once`` or together with the next that comes within a moment."""
        self._ended.append(turn)
        self._leave(at_once=at_once)

    async def close(self) -> None:
        """Settle what waits."""
        if self._ended or self._begun:
            self._start()
        while self._running:
            await asyncio.wait(self._running)

    def _leave(self, *, at_once: bool) -> None:
        self._is_urgent |= at_once
        if self._starting:
            return
        if at_once and not self._running:
            self._start()
        elif self._timer is None:
            # A round trip that lasts holds nobody up for longer.
            self._timer = asyncio.get_running_loop().call_later(TOGETHER_SECONDS, self._start)

    def _start(self) -> None:
        self._stop_timer()
        self._starting = True
        task = asyncio.get_running_loop().create_task(self._exchange(), name="limits")
        self._running.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._is_urgent and not self._running:
            self._start()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _exchange(self) -> None:
        self._starting = self._is_urgent = False
        self._stop_timer()
        begun, self._begun = self._begun, []
        ended, self._ended = self._ended, []
        try:
            answers = await self._limits.exchange(ended, [turn for turn, _ in begun])
        except StoreError as error:
            self._owe(ended)
            _fail(begun, error)
        except BaseException as error:
            self._owe(ended)
            _fail(begun, error)
            raise
        else:
            for (_, waiting), answer in zip(begun, answers, strict=True):
                if not waiting.done():
                    waiting.set_result(answer)


def _fail(begun: Sequence[_Waiting], error: BaseException) -> None:
    """Nobody waits for an answer that will not come."""
    for _, waiting in begun:
        if waiting.done():
            continue
        if isinstance(error, asyncio.CancelledError):
            waiting.cancel()
        else:
            waiting.set_exception(error)
