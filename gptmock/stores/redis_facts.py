"""What a Redis server says of itself, and what its operator should change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """Facts of ``INFO``; ``None`` for those that this user may not read."""

    version: str | None = None
    role: str | None = None
    eviction_policy: str | None = None
    append_only: bool | None = None

    @property
    def evicts_tokens(self) -> bool:
        """Whether Redis may evict records when its memory is full."""
        return (self.eviction_policy or "").startswith("allkeys-")

    def warnings(self) -> list[str]:
        """What an operator should change, one entry for each problem."""
        found: list[str] = []
        if self.evicts_tokens:
            found.append(
                f"Redis evicts any key when its memory is full (maxmemory-policy {self.eviction_policy}): logins would "
                "be lost. Set maxmemory-policy noeviction."
            )
        elif (self.eviction_policy or "").startswith("volatile-"):
            found.append(
                f"Redis evicts keys that expire when its memory is full (maxmemory-policy {self.eviction_policy}): "
                "limits would be forgotten. Set maxmemory-policy noeviction."
            )
        if self.append_only is False:
            found.append(
                "Redis keeps no append-only file: a restart loses logins that were renewed since its last snapshot. "
                "Set appendonly yes."
            )
        if self.role not in (None, "master"):
            found.append("This Redis is a replica: it takes no writes. Use the address of its master.")
        return found


def weakest(nodes: Sequence[RedisFacts]) -> RedisFacts:
    """The facts of a Cluster: of each kind those of the node that an operator should change first."""
    policies = sorted((one.eviction_policy for one in nodes if one.eviction_policy), key=_weakness)
    files = [one.append_only for one in nodes if one.append_only is not None]
    return RedisFacts(
        version=min((one.version for one in nodes if one.version), default=None),
        role="master" if nodes else None,
        eviction_policy=policies[0] if policies else None,
        append_only=all(files) if files else None,
    )


def _weakness(policy: str) -> int:
    return next((rank for rank, start in enumerate(("allkeys-", "volatile-")) if policy.startswith(start)), 2)
