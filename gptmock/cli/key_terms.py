"""The options of ``gptmock keys create`` and ``update``, and the terms of a key that they give. Knows no store."""

from __future__ import annotations

import argparse
import re
import time
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, get_args

from gptmock.catalog import EFFORTS
from gptmock.clients import Given, KeyDefaults, KeyTerms, ReasoningStyle, Role, is_key_name

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
_DURATION = re.compile(r"([0-9]{1,6})([smhdw])", re.ASCII)
_NUMBER = re.compile(r"([0-9]{1,12})([kKmM]?)", re.ASCII)
_MULTIPLES = {"": 1, "k": 1000, "m": 1_000_000}
_STYLES = {"current": "legacy", "standard": "reasoning-content", "openai": "reasoning-content"}
"""Other names of reasoning styles."""
_WEB_SEARCH = {"on": True, "off": False, "default": None}


def add_term_options(parser: argparse.ArgumentParser, *, invited: bool = False) -> None:
    """
    Add the options; one that is not given sets no attribute, so that ``update`` leaves that term unchanged.

    Args:
        parser: of the command.
        invited: the options of an invitation, whose key has the account of whoever accepts it.
    """

    def add(group: argparse._ArgumentGroup, flag: str, text: str, **more: Any) -> None:
        group.add_argument(flag, default=argparse.SUPPRESS, help=text, **more)

    limits = parser.add_argument_group("limits")
    add(limits, "--models", "allowed models, separated by commas, with * and ?; or 'all'", type=_models)
    add(limits, "--rpm", "requests per minute, or 'none'", type=_limit, metavar="N")
    add(limits, "--tokens-per-day", "tokens in and out in 24 hours, as 500k or 2M", type=_limit, metavar="N")
    add(limits, "--tokens-per-week", "tokens in and out in 7 days", type=_limit, metavar="N")
    add(limits, "--concurrency", "concurrent turns, or 'none'", type=_limit, metavar="N")
    expires = "--key-expires" if invited else "--expires"
    add(limits, expires, "a duration such as 30d, a date such as 2027-01-31, or 'never'", dest="expires_at",
        type=_expiry, metavar="WHEN")  # fmt: skip
    holder = parser.add_argument_group("holder")
    add(holder, "--owner", "the person or program that uses the key, for display", type=_owner, metavar="TEXT")
    if invited:
        add(holder, "--role", "user: model calls; viewer: metrics too", choices=("user", "viewer"))
    else:
        add(holder, "--account", "the only account that serves this key, or 'none'", type=_account, metavar="LABEL")
        add(holder, "--role", "user: model calls; viewer: metrics too; admin: everything", choices=get_args(Role))
        holder.add_argument(
            "--admin", dest="role", action="store_const", const="admin", default=argparse.SUPPRESS, help="--role admin"
        )
    defaults = parser.add_argument_group("defaults for what a request leaves out ('default': those of the server)")
    add(defaults, "--reasoning-compat", "where answers show the thinking, as in 'serve'", dest="reasoning_style",
        type=_style, metavar="STYLE")  # fmt: skip
    add(defaults, "--reasoning-effort", "effort, as in 'serve'", type=_effort, metavar="EFFORT")
    add(defaults, "--web-search", "on, off or default", type=_web_search, metavar="WORD")


def given_terms(options: argparse.Namespace) -> Given:
    """What was given on the command line."""
    known = {one.name for one in (*fields(KeyTerms), *fields(KeyDefaults))} | {"account"}
    return {name: value for name, value in vars(options).items() if name in known}


def name_text(text: str) -> str:
    """
    Validate the name of a key.

    Raises:
        ArgumentTypeError: it is empty, too long, or has spaces around it or unprintable characters.
    """
    if not is_key_name(text):
        raise argparse.ArgumentTypeError(
            "a name has 1 to 100 printable characters, and is not GPTMOCK_API_KEY or GPTMOCK_ADMIN_KEY"
        )
    return text


def duration_seconds(text: str) -> float:
    """
    Seconds of a duration such as ``90s``, ``15m``, ``24h``, ``7d``, ``2w``; ``0`` is one too.

    Raises:
        ArgumentTypeError: it is none.
    """
    found = _DURATION.fullmatch(text)
    if found is None and text != "0":
        raise argparse.ArgumentTypeError("a duration such as 90s, 15m, 24h, 7d or 2w")
    return float(int(found[1]) * _UNIT_SECONDS[found[2]]) if found is not None else 0.0


def _limit(text: str) -> int | None:
    if text == "none":
        return None
    found = _NUMBER.fullmatch(text)
    number = int(found[1]) * _MULTIPLES[found[2].lower()] if found is not None else 0
    if number < 1:
        raise argparse.ArgumentTypeError("a whole number from 1, such as 60, 500k or 2M, or 'none'")
    return number


def _models(text: str) -> tuple[str, ...]:
    if text == "all":
        return ()
    patterns = tuple(item for one in text.split(",") if (item := one.strip()))
    if not patterns or not all(one.isprintable() and len(one) <= 100 for one in patterns):
        raise argparse.ArgumentTypeError("model names such as gpt-6-sol or gpt-6*, separated by commas, or 'all'")
    return patterns


def _expiry(text: str) -> float | None:
    if text == "never":
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return time.time() + duration_seconds(text)
        except argparse.ArgumentTypeError:
            wanted = "a duration such as 30d, a date such as 2027-01-31 (UTC), or 'never'"
            raise argparse.ArgumentTypeError(wanted) from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if moment.timestamp() <= time.time():
        raise argparse.ArgumentTypeError("is in the past; to end a key now: gptmock keys revoke")
    return moment.timestamp()


def _owner(text: str) -> str:
    if not text.isprintable() or len(text) > 100:
        raise argparse.ArgumentTypeError("at most 100 printable characters")
    return text.strip()


def _account(text: str) -> str | None:
    return None if text == "none" else text


def _style(text: str) -> str | None:
    style = _STYLES.get(text, text)
    if style != "default" and style not in get_args(ReasoningStyle):
        known = ", ".join((*get_args(ReasoningStyle), *_STYLES))
        raise argparse.ArgumentTypeError(f"one of: {known}, default")
    return None if style == "default" else style


def _effort(text: str) -> str | None:
    if text != "default" and text not in EFFORTS:
        raise argparse.ArgumentTypeError(f"one of: {', '.join(EFFORTS)}, default")
    return None if text == "default" else text


def _web_search(text: str) -> bool | None:
    if text not in _WEB_SEARCH:
        raise argparse.ArgumentTypeError("one of: on, off, default")
    return _WEB_SEARCH[text]
