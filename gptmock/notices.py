"""What the operator's webhook is told, and the contracts of who remembers and who sends it. Knows no HTTP, no store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

TYPES = (
    "account.login_ended",
    "account.window_80",
    "account.window_100",
    "store.unavailable",
    "store.available",
)


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell."""

    type: str
    """One of ``TYPES``."""
    at: float
    """Unix seconds."""
    data: Mapping[str, str | float]
    """Always with ``message``, for people."""


class ToldRecord(Protocol):
    """The levels that were told last, shared by all servers (``stores.notices.StoreToldRecord``)."""

    async def load(self) -> tuple[dict[str, str], int]:
        """The level of each subject, and the record's version; 0 if there is none."""

    async def replace(self, told: Mapping[str, str], *, version: int) -> bool:
        """Whether the record still had this version, and was replaced."""


class SendsNotices(Protocol):
    """The webhook (``upstream.webhook.Webhook``)."""

    async def send(self, notice: Notice) -> None:
        """Deliver a notice; errors are logged."""
