"""
The part of a migration about what changes in use: the current windows of the limits of client keys, the audit log, and
the protocol version of Codex clients. Each may be copied again, after an interruption too, without counting twice.

    windows    the target's window has at least what the source's has; one that it has not begun ends with the source's
    audit      events that the target lacks are added; readers order them by their time
    version    the higher one stays
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from gptmock.audit import AuditEvent
from gptmock.stores.audit import LOG, MAX_EVENTS
from gptmock.stores.codex_version import SharedVersion, is_higher
from gptmock.stores.key_limits import WINDOW_SECONDS, limits_name
from gptmock.stores.store import Quota, Store


@dataclass(slots=True)
class Tally:
    """How many items of one kind were copied or not."""

    carried: int = 0
    same: int = 0
    """The target had an identical one."""
    kept: int = 0
    """The target had another one that is as new or newer, which stays."""


async def carry_windows(source: Store, target: Store, key_ids: Sequence[str], *, writes: bool) -> Tally:
    """Copy what the keys have used of their limits in the windows that last."""
    tally = Tally()
    asked = [Quota(kind, None, seconds) for kind, seconds in WINDOW_SECONDS.items()]
    for key_id in key_ids:
        name = limits_name(key_id)
        used, there = await source.quota_uses(name, asked), await target.quota_uses(name, asked)
        missing = [
            Quota(quota.counter, None, use.left_seconds, use.used - stands.used)
            for quota, use, stands in zip(asked, used, there, strict=True)
            if use.used > stands.used
        ]
        begun = sum(1 for use in used if use.used)
        tally.carried += len(missing)
        tally.same += begun - len(missing)
        if missing and writes:
            # Amounts are added with a slot: it is taken and given back, and holds up nobody.
            owner = f"migration-{secrets.token_hex(8)}"
            await target.take_slot(name, owner, limit=None, ttl_seconds=0.001, quotas=missing)
            await target.free_slot(name, owner)
    return tally


async def carry_audit(source: Store, target: Store, *, writes: bool) -> Tally:
    """Add the source's events to the target's log."""
    events, there = await source.entries(LOG, MAX_EVENTS), set(await target.entries(LOG, MAX_EVENTS))
    missing = sorted((one for one in events if one not in there), key=_time)
    # What the target would drop again as too old is not added.
    missing = missing[-MAX_EVENTS:] if writes else missing
    for event in missing:
        if writes:
            await target.append(LOG, event, keep=MAX_EVENTS)
    return Tally(carried=len(missing), same=len(events) - len(missing))


async def carry_version(source: Store, target: Store, *, writes: bool) -> Tally:
    """Copy the protocol version, if it is higher than the target's."""
    ours, theirs = await SharedVersion(source).load(), await SharedVersion(target).load()
    if ours is None:
        return Tally()
    if not is_higher(ours, theirs):
        return Tally(same=int(ours == theirs), kept=int(ours != theirs))
    if writes:
        await SharedVersion(target).save(ours)
    return Tally(carried=1)


def _time(event: bytes) -> float:
    return msgspec.json.decode(event, type=AuditEvent).at
