"""Emulates ``stop`` sequences, which the upstream does not support, by cutting the output text."""

from __future__ import annotations

from gptmock.errors import BadRequest

MAX_STOPS = 4


def stop_sequences(stop: str | list[str] | None, *, param: str = "stop", limit: int = MAX_STOPS) -> tuple[str, ...]:
    """
    The non-empty sequences of ``stop``, which may be one sequence or a list.

    Raises:
        BadRequest: there are more than ``limit``; ``param`` names the field.
    """
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(stops) > limit:
        raise BadRequest(f"'{param}' can hold at most {limit} sequences.", param=param)
    return tuple(one for one in stops if one)


class StopFilter:
    """
    Passes text on up to the first stop sequence, however the text is cut into deltas.

    The first sequence is the one that ends first, as a model would have stopped there; of several that end at the same
    place, the longest. Characters that may be the beginning of a stop sequence are buffered. After a match ``hit`` is
    true and no more text is returned; the caller still reads the upstream to its end, to get the usage.
    """

    __slots__ = ("_held", "_longest", "_stops", "hit", "matched")

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._longest = max(map(len, stops), default=0)
        self._held = ""
        self.hit = False
        self.matched: str | None = None
        """The stop sequence that ended the text."""

    def feed(self, text: str) -> str:
        """Take a delta; returns the text that can be shown now."""
        if not self._stops:
            return text
        if self.hit:
            return ""
        self._held += text
        found = min(((at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0), default=None)
        if found is not None:
            self.hit = True
            self.matched = self._held[found[1] : found[0]]
            shown, self._held = self._held[: found[1]], ""
            return shown
        keep = self._growing()
        shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return shown

    def flush(self) -> str:
        """End the text; returns the buffered characters."""
        shown, self._held = self._held, ""
        return shown

    @property
    def active(self) -> bool:
        """There are stop sequences: text has to be looked at."""
        return bool(self._stops)

    @property
    def held(self) -> int:
        """Number of buffered characters."""
        return len(self._held)

    def _growing(self) -> int:
        """How many of the last buffered characters may be the beginning of a stop sequence."""
        longest = min(self._longest - 1, len(self._held))
        return next((size for size in range(longest, 0, -1) if self._begins(self._held[-size:])), 0)

    def _begins(self, tail: str) -> bool:
        return any(stop.startswith(tail) for stop in self._stops)
