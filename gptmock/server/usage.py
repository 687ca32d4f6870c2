"""The route ``GET /v1/usage``: a client key's own usage and limits, and no other's."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from sanic import HTTPResponse, Request

from gptmock.errors import BadRequest
from gptmock.gateway.key_usage import KeyUsage
from gptmock.server.context import App, Services
from gptmock.server.listings import admitted
from gptmock.usage import AMOUNTS, UsageRow

MAX_DAYS = 31
DEFAULT_DAYS = 7
USAGE_PATHS = ("/v1/usage", "/usage")


def add_usage_routes(app: App) -> None:
    """Add the route, with and without ``/v1``."""
    for number, path in enumerate(USAGE_PATHS):
        app.add_route(_usage, path, methods=["GET", "HEAD"], name=f"usage_{number}")


async def _usage(request: Request) -> HTTPResponse:
    client = await admitted(request)
    services: Services = request.app.ctx.services
    assert services.usage is not None  # noqa: S101 - a server has it; a test of other routes may not
    usage = await services.usage.of(client, days=_days(request.args.get("days")))
    name = client.key.name if client.key is not None else None
    return HTTPResponse(msgspec.json.encode(_document(name, usage)), content_type="application/json")


def _days(text: str | None) -> int:
    if text is None:
        return DEFAULT_DAYS
    if not text.isascii() or not text.isdecimal() or len(text) > 3 or not 1 <= int(text) <= MAX_DAYS:
        raise BadRequest(f"'days' must be a number from 1 to {MAX_DAYS}.", param="days")
    return int(text)


def _document(name: str | None, usage: KeyUsage) -> dict[str, Any]:
    total: Counter[str] = Counter()
    for row in usage.rows:
        total.update(row.amounts)
    return {
        "object": "usage",
        "key": name,
        "from": usage.first_day,
        "to": usage.last_day,
        "total": _filled(total),
        "data": [_row(row) for row in usage.rows],
        "limits": [
            {
                "kind": one.kind,
                "limit": one.limit,
                "used": one.used,
                "remaining": one.remaining,
                "reset_seconds": round(one.reset_seconds, 3),
            }
            for one in usage.limits
        ],
    }


def _row(row: UsageRow) -> dict[str, Any]:
    return {"day": row.day, "model": row.model or None, **_filled(Counter(row.amounts))}


def _filled(amounts: Counter[str]) -> dict[str, int]:
    return {name: amounts[name] for name in AMOUNTS}
