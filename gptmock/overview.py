"""
Accounts and client keys as people see them, and their JSON: the same for the commands and the admin API. Holds no
secret; knows no store and no clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gptmock.accounts import BrokenLogin, Login
from gptmock.audit import AuditEvent
from gptmock.clients import ClientKey, Invitation, KeyTerms
from gptmock.limits import RateLimitSnapshot, RateLimitWindow
from gptmock.usage import AMOUNTS, AccountUsage, UsageRow


@dataclass(frozen=True, slots=True)
class AccountOverview:
    """An account with its limits and usage, for display; no secret in it."""

    login: Login
    is_default: bool
    parked_until: float | None
    """Unix seconds."""
    limits: RateLimitSnapshot | None
    usage: AccountUsage
    unheard: str | None = None
    """Why fetching the limits failed; ``None`` if it succeeded or was not requested."""


def moment(seconds: float | None) -> str | None:
    """Unix seconds as RFC 3339 in UTC, for JSON."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def span(minutes: int) -> str:
    """The length of a window as text: ``5 hours``, ``7 days``."""
    for size, word in ((1440, "day"), (60, "hour"), (1, "minute")):
        if minutes >= size and minutes % size == 0:
            count = minutes // size
            return f"{count} {word}{'s' if count > 1 else ''}"
    return f"{minutes} minutes"


def last_days(count: int, now: float) -> list[str]:
    """So many UTC days up to ``now`` (Unix seconds), oldest first, in the format of ``UsageRow.day``."""
    today = datetime.fromtimestamp(now, UTC).date()
    return [(today - timedelta(days=ago)).isoformat() for ago in reversed(range(count))]


def windows_of(one: AccountOverview) -> list[RateLimitWindow]:
    """The windows sorted by length: the upstream's order (primary, secondary) has no meaning."""
    return sorted(one.limits.windows if one.limits is not None else (), key=lambda window: window.window_minutes)


def login_document(login: Login, *, is_default: bool) -> dict[str, Any]:
    """An account; no secret in it."""
    return {
        "label": login.label,
        "id": login.account.id,
        "email": login.account.email,
        "plan": login.account.plan,
        "organization": login.organization,
        "account_id": login.account.workspace_id,
        "user_id": login.account.user_id,
        "default": is_default,
        "member": login.member,
        "paused": login.paused,
        "refused": login.refused,
        "renewable": login.renewable,
        "access_token_expires_at": moment(login.expires_at),
        "id_token_expires_at": moment(login.id_expires_at),
        "last_refresh": moment(login.last_refresh),
    }


def broken_document(broken: BrokenLogin) -> dict[str, Any]:
    """An account whose record cannot be decrypted."""
    return {"label": broken.label, "id": broken.account_id, "reason": broken.reason}


def overview_document(one: AccountOverview) -> dict[str, Any]:
    """An account with its windows and its usage of today."""
    limits = one.limits
    return {
        **login_document(one.login, is_default=one.is_default),
        "parked_until": moment(one.parked_until),
        "today": one.usage.today,
        "in_flight": one.usage.in_flight,
        "not_asked": one.unheard,
        "windows_as_of": moment(limits.taken_at) if limits is not None else None,
        "windows": [
            {
                "name": span(window.window_minutes),
                "used_percent": window.used_percent,
                "window_minutes": window.window_minutes,
                "resets_at": moment(window.resets_at),
            }
            for window in windows_of(one)
        ],
    }


def key_state(key: ClientKey, now: float) -> str:
    """``valid``, ``revoked`` or ``expired``, at ``now`` in Unix seconds."""
    if key.revoked_at is not None:
        return "revoked"
    return "valid" if key.is_living(now) else "expired"


def key_document(key: ClientKey, labels: Mapping[str, str], *, now: float) -> dict[str, Any]:
    """A key; no secret in it. ``labels`` has the label of each account id; ``now`` is in Unix seconds."""
    terms = key.terms
    return {
        "name": key.name,
        "id": key.id,
        "owner": terms.owner,
        "role": terms.role,
        "state": key_state(key, now),
        **_limits_of(terms),
        "account": None if terms.account_id is None else labels.get(terms.account_id, terms.account_id),
        "defaults": asdict(terms.defaults),
        "created_at": moment(key.created_at),
        "expires_at": moment(terms.expires_at),
        "rotated_at": moment(key.rotated_at),
        "revoked_at": moment(key.revoked_at),
    }


def invitation_document(invitation: Invitation) -> dict[str, Any]:
    """An open invitation with the terms of its key; no secret in it."""
    terms = invitation.terms
    return {
        "name": invitation.name,
        "id": invitation.id,
        "owner": terms.owner,
        "role": terms.role,
        **_limits_of(terms),
        "defaults": asdict(terms.defaults),
        "created_at": moment(invitation.created_at),
        "expires_at": moment(invitation.expires_at),
        "key_expires_at": moment(terms.expires_at),
    }


def _limits_of(terms: KeyTerms) -> dict[str, Any]:
    return {
        "models": list(terms.models),
        "rpm": terms.rpm,
        "tokens_per_day": terms.tokens_per_day,
        "tokens_per_week": terms.tokens_per_week,
        "concurrency": terms.concurrency,
    }


def audit_document(event: AuditEvent) -> dict[str, Any]:
    """One line of the audit log."""
    return {**asdict(event), "at": moment(event.at)}


def named_rows(
    rows: Sequence[UsageRow], labels: Mapping[str, str], keys: Mapping[str, str]
) -> list[tuple[dict[str, str], dict[str, int]]]:
    """Usage with the labels of accounts and the names of keys in place of ids; an id without one stays."""
    return [
        (
            {
                "day": row.day,
                "key": keys.get(row.tenant, row.tenant),
                "account": labels.get(row.account_id, row.account_id),
                "model": row.model or "none",
            },
            row.amounts,
        )
        for row in rows
    ]


def grouped(
    rows: Sequence[tuple[Mapping[str, str], Mapping[str, int]]], by: Sequence[str]
) -> dict[tuple[str, ...], Counter[str]]:
    """Sum the rows by the columns ``by`` (GROUP BY), sorted."""
    sums: dict[tuple[str, ...], Counter[str]] = {}
    for names, amounts in rows:
        sums.setdefault(tuple(names[word] for word in by), Counter()).update(amounts)
    return dict(sorted(sums.items()))


def filled(amounts: Counter[str]) -> dict[str, int]:
    """All counters, with zeros."""
    return {name: amounts[name] for name in AMOUNTS}
