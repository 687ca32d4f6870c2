"""Stop sequences, emulated: the upstream knows none. One small machine over text, shared by whoever offers ``stop``."""

from __future__ import annotations

from gptmock.errors import BadRequest

MAX_STOPS = 4


def stop_sequences(stop: str | list[str] | None) -> tuple[str, ...]:
    """
    ``stop`` as the OpenAI family sends it: one sequence or a list.

    Raises:
        BadRequest: more than four.
    """
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(stops) > MAX_STOPS:
        raise BadRequest(f"'stop' can hold at most {MAX_STOPS} sequences.", param="stop")
    return tuple(one for one in stops if one)


class StopFilter:
    """
    Text in, the text before the first stop sequence out: the one that is complete first, as a model would have
    stopped at it, and the longest of those that end together. So it does not matter how the text is cut.

    Holds back as many characters as a stop sequence may still be growing in. Once one has been found, ``hit`` is
    true and nothing more comes out; the caller goes on reading the upstream, so that the usage is real.
    """

    __slots__ = ("_held", "_longest", "_stops", "hit")

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._longest = max(map(len, stops), default=0)
        self._held = ""
        self.hit = False

    def feed(self, text: str) -> str:
        """The text that is safe to show."""
        if not self._stops:
            return text
        if self.hit:
            return ""
        self._held += text
        found = min(((at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0), default=None)
        if found is not None:
            self.hit = True
            shown, self._held = self._held[: found[1]], ""
            return shown
        keep = self._growing()
        shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return shown

    def flush(self) -> str:
        """What was held back, when it has turned out to be no stop sequence."""
        shown, self._held = self._held, ""
        return shown

    @property
    def active(self) -> bool:
        """There are stop sequences: text has to be looked at."""
        return bool(self._stops)

    @property
    def held(self) -> int:
        """Characters held back."""
        return len(self._held)

    def _growing(self) -> int:
        """How many of the last characters may be the beginning of a stop sequence."""
        longest = min(self._longest - 1, len(self._held))
        return next((size for size in range(longest, 0, -1) if self._begins(self._held[-size:])), 0)

    def _begins(self, tail: str) -> bool:
        return any(stop.startswith(tail) for stop in self._stops)
