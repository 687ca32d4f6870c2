"""The dashboard and the alert rules under ``deploy`` name metrics that exist, and Prometheus itself reads them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gptmock.accounts import Account, Secret, TokenSet
from gptmock.limits import RateLimitSnapshot, RateLimitWindow
from gptmock.metrics.accounts import AccountReadings
from gptmock.metrics.instruments import Instruments
from gptmock.stores.limits_and_usage import SharedLimits
from gptmock.stores.memory import MemoryPlace, MemoryStore
from tests.stores.logins import vault_on

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "gptmock.rules.yml"
DASHBOARD = DEPLOY / "grafana" / "gptmock.json"
_NAME = re.compile(r"\bgptmock_\w+")


NOW = 1_800_000_000.0


async def readings() -> list[str]:
    """The names of what is read for an account with both windows."""
    store = MemoryStore(MemoryPlace())
    vault, limits = vault_on(store), SharedLimits(store)
    token = Secret("access")
    tokens = await vault.enroll(TokenSet(Account("workspace"), token, token, None, version=1, expires_at=NOW + 3600))
    windows = (RateLimitWindow(80.0, 300, NOW + 60), RateLimitWindow(30.0, 10080, NOW - 60))
    await limits.post(tokens.account.id, RateLimitSnapshot(NOW, windows))
    read = await AccountReadings(vault, limits, clock=lambda: NOW)()
    told = {(one.name, one.labels.get("state") or one.labels.get("window_minutes")): one.value for one in read}
    assert told["account_state", "active"] == 1
    assert told["account_state", "parked"] == 0
    assert told["account_token_minutes_left", None] == 60
    assert told["account_window_used_percent", "300"] == 80
    assert told["account_window_used_percent", "10080"] == 0, "it has been reset since"
    return [f"gptmock_{one.name}" for one in read]


def expressions_of(path: Path) -> str:
    """Everything in a file that Prometheus evaluates."""
    found = re.findall(r'(?:expr: \|?|"expr": )(.+?)(?:for:|labels:|",$)', path.read_text(), re.DOTALL | re.MULTILINE)
    return " ".join(found)


async def known_names() -> set[str]:
    Instruments(registry := CollectorRegistry())
    counted = {sample for family in registry.collect() for sample in _samples_of(family.name, family.type)}
    return counted | set(await readings())


def _samples_of(name: str, kind: str) -> list[str]:
    return {
        "counter": [f"{name}_total"],
        "histogram": [f"{name}_bucket", f"{name}_count", f"{name}_sum"],
    }.get(kind, [name])


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=lambda path: path.name)
async def test_every_metric_that_is_named_exists(path: Path):
    named = set(_NAME.findall(expressions_of(path)))
    assert len(named) >= 8
    assert named - await known_names() == set()


async def test_the_dashboard_shows_every_metric_but_sums_and_counts():
    shown = set(_NAME.findall(DASHBOARD.read_text()))
    assert {name for name in await known_names() if not name.endswith(("_sum", "_count"))} <= shown | {
        "gptmock_account_parked_total",
        "gptmock_store_available",
        "gptmock_unauthenticated",
    }
    ids = [panel["id"] for panel in json.loads(DASHBOARD.read_text())["panels"]]
    assert len(set(ids)) == len(ids) == 15


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
def test_prometheus_reads_the_rules():
    done = subprocess.run(["promtool", "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 rules found" in done.stdout
