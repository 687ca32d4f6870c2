"""``gptmock usage``: requests and tokens by day, client key, account and model."""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from gptmock.accounts import Secret
from gptmock.cli.settings import given_settings, with_command_services
from gptmock.cli.terminal import person_looks, show_document, show_table, sparkline
from gptmock.command_services import CommandServices
from gptmock.overview import filled, grouped, last_days, named_rows
from gptmock.settings import Settings
from gptmock.usage import AMOUNTS

GROUPS = ("day", "key", "account", "model")
MAX_DAYS = 400
_TITLES = ("REQUESTS", "FAILED", "LIMITED", "TOKENS IN", "CACHED", "TOKENS OUT", "THINKING")
_EPILOG = """example:
  gptmock usage                       the last 7 days
  gptmock usage --days 30 --by model
  gptmock usage --days 30 --by day,key --csv > usage.csv
  gptmock usage --json

Days are UTC days. A request is counted when it ends, and shown here a few
seconds later.
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the options, and what to run."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "--days", type=_days, default=7, metavar="N", help="number of days, including today (default 7)"
    )
    parser.add_argument(
        "--by",
        type=_groups,
        default=GROUPS,
        metavar="COLUMNS",
        help="columns to group by, separated by commas: day, key, account, model (default: all)",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="machine-readable output")
    output.add_argument("--csv", action="store_true", help="comma-separated values, with a head")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the usage as a table or JSON."""
    days = last_days(options.days, time.time())
    settings = given_settings({})

    async def work(services: CommandServices) -> list[tuple[dict[str, str], dict[str, int]]]:
        keys = _static_keys(settings) | await services.key_names()
        return named_rows(await services.used(days), await services.account_labels(), keys)

    rows = with_command_services(work)
    groups = grouped(rows, options.by)
    if options.json:
        document = [dict(zip(options.by, group, strict=True)) | filled(amounts) for group, amounts in groups.items()]
        show_document({"from": days[0], "to": days[-1], "by": list(options.by), "usage": document})
    elif options.csv:
        table = csv.writer(sys.stdout, lineterminator="\n")
        table.writerow([*options.by, *AMOUNTS])
        table.writerows([*map(harmless, group), *filled(amounts).values()] for group, amounts in groups.items())
    elif not groups:
        print(f"Nothing was used from {days[0]} to {days[-1]}.")
    else:
        _show(options.by, groups)
        if person_looks() and len(days) > 1:
            _show_days(days, rows)
    return 0


def _static_keys(settings: Settings) -> dict[str, str]:
    given = {"GPTMOCK_API_KEY": settings.api_key, "GPTMOCK_ADMIN_KEY": settings.admin_key}
    known = {Secret(key.get_secret_value()).fingerprint(): name for name, key in given.items() if key is not None}
    return {"": "none", **known}


def _show(by: Sequence[str], groups: Mapping[tuple[str, ...], Counter[str]]) -> None:
    total: Counter[str] = sum(groups.values(), Counter())
    cells = [[*group, *(str(amounts[name]) for name in AMOUNTS)] for group, amounts in groups.items()]
    if len(groups) > 1:
        cells.append(["total", *[""] * (len(by) - 1), *(str(total[name]) for name in AMOUNTS)])
    show_table([*(word.upper() for word in by), *_TITLES], cells, numbers=_TITLES)


def _show_days(days: Sequence[str], rows: Sequence[tuple[Mapping[str, str], Mapping[str, int]]]) -> None:
    """The tokens of each day as one character."""
    tokens: Counter[str] = Counter()
    for names, amounts in rows:
        tokens[names["day"]] += amounts.get("input_tokens", 0) + amounts.get("output_tokens", 0)
    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
    line = sparkline([tokens[day] for day in days], ascii_only=ascii_only)
    print(f"\nTokens by day: {line}  {days[0]} to {days[-1]}, at most {max(tokens.values(), default=0)}")


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula (OWASP, "CSV Injection")."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_DAYS:
        raise argparse.ArgumentTypeError(f"a number from 1 to {MAX_DAYS}")
    return int(text)


def _groups(text: str) -> tuple[str, ...]:
    words = tuple(text.split(","))
    if not all(word in GROUPS for word in words) or len(set(words)) != len(words):
        raise argparse.ArgumentTypeError(f"words of: {', '.join(GROUPS)}")
    return words
