"""The audit log: who administered what, when, and from where; events of security. Knows no store and no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

Action: TypeAlias = Literal[
    "key.created",
    "key.updated",
    "key.rotated",
    "key.revoked",
    "account.signed_in",
    "account.signed_out",
    "account.imported",
    "account.exported",
    "account.discarded",
    "account.paused",
    "account.resumed",
    "account.made_default",
    "invitation.created",
    "invitation.redeemed",
    "invitation.revoked",
    "keys.guessed",
    "account.login_ended",
    "page.signed_in",
    "page.signed_out",
    "administration.refused",
]


@dataclass(frozen=True, slots=True)
class Actor:
    """A person or program that administers."""

    name: str
    """The user of a command, the name of a client key, ``server``, or ``unknown client``."""
    origin: str
    """Where from: the host of a command, the address of a client, the name of a file."""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One administrative action that was carried out, or one event of security. Holds no secret."""

    at: float
    """Unix seconds."""
    actor: Actor
    action: Action
    target: str
    """The id of the key or account."""
    detail: str = ""
    """The name or label of the target, and what was changed."""


class AuditLog(Protocol):
    """The newest events, shared by all servers of a store."""

    async def record(self, event: AuditEvent) -> None:
        """
        Add an event.

        Raises:
            StoreUnavailable: it is unknown whether it was added.
        """

    async def is_first(self, subject: str, *, seconds: float) -> bool:
        """
        Whether no server has asked this of the subject in the last ``seconds``: what clients can repeat at will must
        not push other events out of the log.

        Raises:
            StoreUnavailable: it is unknown.
        """

    async def latest(self, count: int) -> Sequence[AuditEvent]:
        """The newest events, newest first."""
