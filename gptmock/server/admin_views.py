"""What each caller of the admin API may see: everything for a viewer, for a user only what is its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from gptmock.accounts import BrokenLogin
from gptmock.catalog import ModelCatalog
from gptmock.clients import Client, LimitState
from gptmock.gateway.key_terms import catalog_for
from gptmock.gateway.readings import ReadsTeam
from gptmock.live import Problem, WorkerReport
from gptmock.overview import (
    AccountOverview,
    broken_document,
    filled,
    grouped,
    key_document,
    last_days,
    moment,
    named_rows,
    overview_document,
)

GROUPS = ("day", "key", "account", "model")
MAX_SHOWN_TURNS = 100


def accounts(client: Client, found: Sequence[AccountOverview], broken: Sequence[BrokenLogin]) -> dict[str, Any]:
    """The accounts; for a user the one that its key is bound to."""
    if client.may("viewer"):
        shown, unreadable = found, broken
    else:
        shown, unreadable = [one for one in found if one.login.account.id == client.account_id], []
    return {
        "accounts": [overview_document(one) for one in shown],
        "broken": [broken_document(one) for one in unreadable],
    }


async def keys(client: Client, team: ReadsTeam, *, everything: bool = False) -> list[dict[str, Any]]:
    """The keys with their limits now and their usage of today; valid ones, unless ``everything`` is wanted."""
    labels, now = await team.labels(), team.clock()
    found = list(await team.all_keys())
    if not client.may("viewer"):
        found = [key for key in found if client.key is not None and key.id == client.key.id]
    found = [key for key in found if everything or key.is_living(now)]
    ids, today = {key.id for key in found}, dict[str, Counter[str]]()
    for row in await team.used(1):
        if row.tenant not in ids:
            continue
        today.setdefault(row.tenant, Counter()).update(row.amounts)
    return [
        {
            **key_document(key, labels, now=now),
            "today": filled(today.get(key.id, Counter())),
            "limits": [
                {
                    "kind": state.kind,
                    "limit": state.limit,
                    "used": state.used,
                    "resets_at": _reset(now, state),
                }
                for state in (await team.states(key) if key.terms.is_limited and key.is_living(now) else ())
            ],
        }
        for key in found
    ]


def _reset(now: float, state: LimitState) -> str | None:
    """To 5 seconds, so that it stays the same from one reading to the next; ``None`` while nothing is used."""
    return moment(5.0 * round((now + state.reset_seconds) / 5.0)) if state.used and state.reset_seconds else None


async def usage(client: Client, team: ReadsTeam, *, days: int, by: Sequence[str]) -> dict[str, Any]:
    """The usage of so many days, grouped by the columns ``by``."""
    rows = await team.used(days)
    if not client.may("viewer"):
        rows = [row for row in rows if row.tenant == client.tenant]
    dates = last_days(days, team.clock())
    labels = await team.labels() if client.may("viewer") else {}
    groups = grouped(named_rows(rows, labels, await team.key_names()), by)
    total: Counter[str] = sum(groups.values(), Counter())
    return {
        "from": dates[0],
        "to": dates[-1],
        "by": list(by),
        "total": filled(total),
        "usage": [dict(zip(by, group, strict=True)) | filled(amounts) for group, amounts in groups.items()],
    }


def models(client: Client, catalog: ModelCatalog) -> list[dict[str, Any]]:
    """The models that the caller may use."""
    allowed = catalog_for(client, catalog)
    return [
        {
            "model": spec.slug,
            "name": spec.display_name,
            "context_window": spec.context_window,
            "efforts": list(spec.efforts),
            "default_effort": spec.default_effort,
            "input": list(spec.input_modalities),
            "listed": spec.listed,
        }
        for spec in allowed.living
    ]


async def problems(client: Client, team: ReadsTeam, *, count: int) -> list[dict[str, Any]]:
    """The model calls that failed lately, newest first."""
    found = list(await team.problems(count))
    if not client.may("viewer"):
        found = [one for one in found if client.tenant and one.tenant == client.tenant]
    names = await team.key_names()
    labels = await team.labels() if client.may("viewer") else {}
    return [_problem(one, names, labels) for one in found]


def _problem(one: Problem, names: dict[str, str], labels: dict[str, str]) -> dict[str, Any]:
    return {
        "at": moment(one.at),
        "status": one.status,
        "code": one.code,
        "dialect": one.dialect,
        "model": one.model,
        "key": names.get(one.tenant, one.tenant),
        "account": labels.get(one.account_id or ""),
        "request_id": one.request_id,
    }


def worker(one: WorkerReport) -> dict[str, Any]:
    """A worker; its turns are shown by ``turns``."""
    return {
        "id": one.id,
        "server": one.server,
        "pid": one.pid,
        "version": one.version,
        "started_at": moment(one.started_at),
        "seen_at": moment(one.at),
        "turns": one.turn_count,
        "streams": one.streams,
        "connections": one.connections,
        "draining": one.draining,
    }


async def now(client: Client, team: ReadsTeam) -> dict[str, Any]:
    """The model calls in progress, over all workers, and how soon the latest ones began to answer."""
    reports = await team.workers()
    names = await team.key_names()
    labels = await team.labels() if client.may("viewer") else {}
    turns = sorted((turn for one in reports for turn in one.turns), key=lambda turn: turn.started_at)
    count = sum(one.turn_count for one in reports)
    if not client.may("viewer"):
        turns = [turn for turn in turns if client.tenant and turn.tenant == client.tenant]
        count = len(turns)
    seconds = sorted(first for one in reports for first in one.first_seconds) if client.may("viewer") else []
    return {
        "count": count,
        "turns": [
            {
                "started_at": moment(turn.started_at),
                "dialect": turn.dialect,
                "model": turn.model,
                "key": names.get(turn.tenant, turn.tenant),
                "account": labels.get(turn.account_id or "", None),
                "sent_bytes": turn.sent_bytes,
                "output_tokens": turn.output_tokens,
            }
            for turn in turns[:MAX_SHOWN_TURNS]
        ],
        "first_seconds_p50": _quantile(seconds, 0.5),
        "first_seconds_p95": _quantile(seconds, 0.95),
        "servers": len({one.server for one in reports}),
        "workers": len(reports),
        "draining": sum(one.draining for one in reports),
    }


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 3) if ordered else None
