"""The commands on a Redis behind Sentinel, on a Cluster, and on a Redis that asks for a client certificate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from gptmock import command_services
from gptmock.simulator.accounts import TokenRegistry
from gptmock.simulator.options import SimulatorOptions
from tests.certificates import write_certificates
from tests.cli.inside import run
from tests.cli.test_commands import run as run_process
from tests.harness import write_login
from tests.ports import free_port
from tests.stores.clusters import running_cluster, running_sentinels
from tests.stores.servers import binary_of, running

NOBODY = "http://127.0.0.1:1"
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
BOOK = TokenRegistry(SimulatorOptions)


@contextmanager
def _address(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sentinel":
        with running_sentinels("redis", replicas=0, sentinels=1, down_after_ms=60_000) as servers:
            yield servers.url
    elif kind == "cluster":
        with running_cluster("redis") as nodes:
            yield nodes.url
    else:
        ca, certificate, key = write_certificates(folder)
        port = free_port()
        words = ["--tls-port", str(port), "--tls-ca-cert-file", str(ca), "--tls-cert-file", str(certificate)]
        with running("redis", *words, "--tls-key-file", str(key), "--tls-auth-clients", "yes"):
            yield f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={ca}&ssl_certfile={certificate}&ssl_keyfile={key}"


@pytest.mark.parametrize("kind", ["sentinel", "cluster", "client certificate"])
def test_every_command_works(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # A busy machine must not pass for a store that is away.
    monkeypatch.setattr(command_services, "STORE_SECONDS", 30.0)
    if binary_of("redis") is None:
        pytest.skip("no redis-server here: apt-get install redis-server")
    home = tmp_path / "home"
    write_login(home, BOOK.issue(email="ada@example.test").auth_json())
    assert run(home, "info").returncode == 0
    with _address(kind, tmp_path) as url:
        variables = {"GPTMOCK_REDIS_URL": url, "GPTMOCK_ENCRYPTION_KEYS_FILE": str(home / "encryption.key")}
        variables |= {"GPTMOCK_ISSUER": NOBODY, "GPTMOCK_UPSTREAM_URL": f"{NOBODY}/backend-api"}
        moved = run(home, "store", "migrate", "embedded", "redis", "--json", **variables)
        assert moved.returncode == 0, moved.stderr
        assert "ssl_" not in moved.stdout
        assert run(home, "keys", "create", "team", **variables).returncode == 0
        (account,) = json.loads(run(home, "info", "--json", **variables).stdout)["accounts"]
        assert account["label"] == "ada@example.test"
        assert "ada@example.test" in run(home, "accounts", "list", **variables).stdout
        assert "team" in run(home, "keys", "list", **variables).stdout
        checks = json.loads(run(home, "doctor", "--json", **variables).stdout)["checks"]
        (store,) = (one for one in checks if one["check"] == "store")
        assert store["verdict"] in ("ok", "warn"), store
        back = run(home, "store", "migrate", "redis", str(tmp_path / "back.db"), **variables)
        assert back.returncode == 0, back.stderr
        removed = run(home, "accounts", "remove", "ada@example.test", **variables)
        assert json.loads(run(home, "info", "--json", **variables).stdout)["accounts"] == [], removed.stderr
        for shown in (moved, back, removed):
            assert "Unclosed" not in shown.stderr


def test_a_command_waits_for_a_redis_that_is_held_up(tmp_path: Path):
    """
    A server must go on without it after half a second; a person would only have to type the command again. A process of
    its own, since all that this one opens waits long.
    """
    if binary_of("redis") is None:
        pytest.skip("no redis-server here: apt-get install redis-server")
    with running("redis") as server:
        variables = {"GPTMOCK_REDIS_URL": server.url, "GPTMOCK_ENCRYPTION_KEYS": KEY}
        assert run(tmp_path, "keys", "create", "before", **variables).returncode == 0
        with ThreadPoolExecutor() as pool, server.frozen():
            thawing = pool.submit(server.thaw, after_seconds=3)
            made = run_process(tmp_path, "keys", "create", "meanwhile", **variables)
            thawing.result()
        assert made.returncode == 0, made.stderr


def test_a_certificate_that_is_not_there_is_a_mistake(tmp_path: Path):
    url = f"rediss://127.0.0.1:1/0?ssl_ca_certs={tmp_path / 'none'}"
    shown = run(tmp_path, "info", GPTMOCK_REDIS_URL=url, GPTMOCK_ENCRYPTION_KEYS=KEY)
    assert (shown.returncode, shown.stderr) == (
        2,
        "gptmock: GPTMOCK_REDIS_URL: the file of ssl_ca_certs cannot be read\n",
    )
