"""``gptmock usage``: the counters of a server, grouped in every way."""

from __future__ import annotations

import asyncio
import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gptmock.cli.terminal import sparkline
from gptmock.cli.usage import GROUPS, harmless
from gptmock.clients import KeyTerms
from gptmock.overview import grouped
from gptmock.settings_sources import load_settings
from gptmock.shared_state import open_state
from gptmock.stores.limits_and_usage import SharedUsage
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.usage import AMOUNTS, TurnUsage, UsageRow
from tests.cli.inside import run
from tests.cli.test_commands import run as run_process
from tests.harness import CHAT_PATH, SimulatorProcess, chat, client, server_process, write_login
from tests.terminal import at_terminal

DAY = 86400.0
NOW = datetime.now(UTC).timestamp()
TODAY = datetime.fromtimestamp(NOW, UTC).date().isoformat()
YESTERDAY = datetime.fromtimestamp(NOW - DAY, UTC).date().isoformat()


def turn(account_id: str = "a", model: str = "gpt-5.5", tenant: str = "", **more: Any) -> TurnUsage:
    return TurnUsage(account_id, model, tenant, **{"input_tokens": 10, "output_tokens": 5, **more})


def fill(home: Path) -> None:
    """Two days of three models, two accounts and two keys."""

    async def work() -> None:
        settings = load_settings({"home": str(home)}, environ={}, directory=home)
        async with open_state(settings) as state:
            key = (await state.keys.create("ci", KeyTerms())).key
            for ago, turns in (
                (0, [turn(), turn(), turn("b", "gpt-6-sol", key.id, cached_tokens=4, reasoning_tokens=2)]),
                (1, [turn(), turn("b", failed=True, rate_limited=True, input_tokens=0, output_tokens=0)]),
                (8, [turn("a", "gpt-5")]),
            ):
                ledger = SharedUsage(state.store, clock=lambda at=NOW - ago * DAY: at)  # type: ignore[misc]
                for one in turns:
                    ledger.ended(one)
                await ledger.settle()

    asyncio.run(work())


def used(home: Path, *arguments: str) -> list[dict[str, Any]]:
    shown = run(home, "usage", "--json", *arguments)
    assert (shown.returncode, shown.stderr) == (0, "")
    return list(json.loads(shown.stdout)["usage"])


def test_nothing_yet(tmp_path: Path):
    shown = run(tmp_path, "usage")
    assert shown.returncode == 0
    assert shown.stdout.startswith("Nothing was used from ")
    assert used(tmp_path) == []


def test_all_groups(tmp_path: Path):
    fill(tmp_path)
    rows = {(row["day"], row["key"], row["account"], row["model"]): row for row in used(tmp_path)}
    assert set(rows) == {
        (TODAY, "none", "a", "gpt-5.5"),
        (TODAY, "ci", "b", "gpt-6-sol"),
        (YESTERDAY, "none", "a", "gpt-5.5"),
        (YESTERDAY, "none", "b", "none"),
    }
    first = rows[TODAY, "none", "a", "gpt-5.5"]
    assert (first["requests"], first["input_tokens"], first["output_tokens"], first["failed"]) == (2, 20, 10, 0)
    second = rows[TODAY, "ci", "b", "gpt-6-sol"]
    assert (second["cached_tokens"], second["reasoning_tokens"]) == (4, 2)
    limited = rows[YESTERDAY, "none", "b", "none"]
    assert (limited["requests"], limited["failed"], limited["rate_limited"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--by", "model"), [("gpt-5.5", 3), ("gpt-6-sol", 1), ("none", 1)]),
        (("--by", "model", "--days", "9"), [("gpt-5", 1), ("gpt-5.5", 3), ("gpt-6-sol", 1), ("none", 1)]),
        (("--by", "account"), [("a", 3), ("b", 2)]),
        (("--by", "key"), [("ci", 1), ("none", 4)]),
        (("--by", "day"), [(YESTERDAY, 2), (TODAY, 3)]),
        (("--by", "day", "--days", "1"), [(TODAY, 3)]),
    ],
)
def test_each_group(tmp_path: Path, arguments: tuple[str, ...], expected: list[tuple[str, int]]):
    fill(tmp_path)
    assert [(row[arguments[1]], row["requests"]) for row in used(tmp_path, *arguments)] == expected


def test_the_table_has_a_total(tmp_path: Path):
    fill(tmp_path)
    head, *rows, total = run(tmp_path, "usage", "--by", "account,model").stdout.splitlines()
    assert head.split()[:3] == ["ACCOUNT", "MODEL", "REQUESTS"]
    assert len(rows) == 3
    assert total.split() == ["total", "5", "1", "1", "40", "4", "20", "2"]
    with at_terminal(tmp_path, "usage", COLUMNS="120") as terminal:
        assert terminal.ended() == 0
        assert "total" in terminal.text
        assert "\x1b[1m" in terminal.raw


def test_csv_has_a_head_and_numbers_alone(tmp_path: Path):
    fill(tmp_path)
    shown = run(tmp_path, "usage", "--csv", "--by", "key,model", "--days", "1")
    assert (shown.returncode, shown.stderr) == (0, "")
    head, *rows = list(csv.reader(shown.stdout.splitlines()))
    assert head == ["key", "model", *AMOUNTS]
    assert rows == [
        ["ci", "gpt-6-sol", "1", "0", "0", "10", "4", "5", "2"],
        ["none", "gpt-5.5", "2", "0", "0", "20", "0", "10", "0"],
    ]
    assert run(tmp_path, "usage", "--csv", "--json").returncode == 2


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_no_name_becomes_a_formula_of_a_spreadsheet(text: str):
    assert harmless(text) == f"'{text}"
    assert harmless(f"a{text}") == f"a{text}"


def test_a_person_sees_the_days_in_a_line(tmp_path: Path):
    fill(tmp_path)
    with at_terminal(tmp_path, "usage", "--by", "model", COLUMNS="120", LC_ALL="C.UTF-8") as terminal:
        assert terminal.ended() == 0
        assert f"Tokens by day:      ▃█  {day(6)} to {TODAY}, at most 45" in terminal.text
    assert "Tokens by day" not in run(tmp_path, "usage").stdout
    assert sparkline([0, 1, 400, 800], ascii_only=True) == " .=#"


def day(ago: int) -> str:
    return datetime.fromtimestamp(NOW - ago * DAY, UTC).date().isoformat()


@pytest.mark.parametrize(
    "arguments",
    [("--days", "0"), ("--days", "401"), ("--days", "x"), ("--by", "week"), ("--by", "day,day"), ("--by", "")],
)
def test_wrong_words_are_wrong_usage(tmp_path: Path, arguments: tuple[str, ...]):
    shown = run(tmp_path, "usage", *arguments)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "usage: gptmock usage" in shown.stderr


def test_grouped_sums_what_is_alike():
    rows = [(dict.fromkeys(GROUPS, "x"), {"requests": 1}), (dict.fromkeys(GROUPS, "x"), {"requests": 2})]
    assert grouped(rows, ("day", "key")) == {("x", "x"): {"requests": 3}}


async def test_models_that_nobody_has_do_not_pile_up():
    ledger = SharedUsage(MemoryStore(MemoryPlace()), clock=lambda: NOW)
    for number in range(100):
        ledger.ended(turn(model=f"nonsense-{number}", failed=True, input_tokens=0, output_tokens=0))
    await ledger.settle()
    assert await ledger.report([TODAY]) == [UsageRow(TODAY, "", "a", "", {"requests": 100, "failed": 100})]


async def test_a_server_counts_by_key_account_and_model(tmp_path: Path, simulator: SimulatorProcess):
    key = "sk-planted-0123456789"
    write_login(tmp_path, simulator.new_login(email="ada@example.test"))
    with server_process(tmp_path, simulator.base_url, workers=2, env={"GPTMOCK_API_KEY": key}) as server:
        async with client(server.base_url, headers={"authorization": f"Bearer {key}"}) as asked:
            answers = [await asked.post(CHAT_PATH, json=chat(stream=stream)) for stream in (False, True, False)]
            assert [answer.status_code for answer in answers] == [200] * 3
        # Stopped, it has counted everything.
        assert await asyncio.to_thread(server.stop) == 0
    shown = await asyncio.to_thread(run_process, tmp_path, "usage", "--json", GPTMOCK_API_KEY=key)
    (row,) = json.loads(shown.stdout)["usage"]
    assert (row["key"], row["account"], row["model"], row["requests"]) == (
        "GPTMOCK_API_KEY",
        "ada@example.test",
        "gpt-5.5",
        3,
    )
    assert row["output_tokens"] > 0
    assert key not in shown.stdout
