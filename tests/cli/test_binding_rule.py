"""The binding rule: beyond loopback nobody is served without a client key, unless the operator says so."""

from __future__ import annotations

import asyncio
import base64
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.clients import KeyTerms
from gptmock.settings import Settings
from gptmock.settings_sources import load_settings
from gptmock.shared_state import open_state
from gptmock.simulator.server import Simulator
from tests.harness import (
    CHAT_PATH,
    MARK,
    PROGRAM,
    chat,
    client,
    end_tree,
    get,
    new_mark,
    plain_environment,
    serving_simulator,
    wait_until,
    write_login,
)
from tests.ports import free_port

STATIC = "sk-planted-0123456789abcd"
KEY = base64.b64encode(bytes(range(32))).decode()
HAS_UNIX_SOCKETS = "unix_socket" in Settings.model_fields
BINDS = ("127.0.0.1", "0.0.0.0", *(("unix",) if HAS_UNIX_SOCKETS else ()))
KEYS = ("none", "static", "issued")


@dataclass(frozen=True)
class Cell:
    """One way to start a server."""

    bind: str
    keys: str
    is_allowed: bool

    @property
    def is_refused(self) -> bool:
        return self.bind == "0.0.0.0" and self.keys in ("none", "revoked") and not self.is_allowed

    @property
    def warns(self) -> bool:
        return self.bind == "0.0.0.0" and self.is_allowed and self.keys != "static"


def issue(home: Path) -> str:
    """A key in the store; returns its text."""

    async def created() -> str:
        async with open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as state:
            return (await state.keys.create("ada", KeyTerms())).text.reveal()

    return asyncio.run(created())


def revoke(home: Path) -> None:
    async def revoked() -> None:
        async with open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as state:
            await state.keys.revoke("ada")

    asyncio.run(revoked())


@contextmanager
def started(home: Path, cell: Cell) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """``gptmock serve``, and the file with all that it writes."""
    mark, output = new_mark(), home / f"{cell.bind}-{cell.is_allowed}.txt"
    variables = {MARK: mark, "GPTMOCK_HOME": str(home), "GPTMOCK_UPSTREAM_URL": "http://127.0.0.1:9"}
    if cell.keys == "static":
        variables["GPTMOCK_API_KEY"] = STATIC
    if cell.is_allowed:
        variables["GPTMOCK_ALLOW_UNAUTHENTICATED"] = "true"
    where = ["--unix-socket", str(home / f"{cell.is_allowed}.sock")] if cell.bind == "unix" else ["--host", cell.bind]
    with output.open("wb") as written:
        process = subprocess.Popen(
            [*PROGRAM, "serve", "--port", "0", *where],
            env=plain_environment(**variables),
            cwd=home,
            stdout=written,
            stderr=written,
            start_new_session=True,
        )
    try:
        yield process, output
    finally:
        # It has printed what it is asked for: nobody waits for its workers.
        process.kill()
        end_tree(process, mark)


def has_decided(process: subprocess.Popen[bytes], output: Path) -> bool:
    return process.poll() is not None or "serves" in output.read_text()


def test_the_matrix_of_starts(tmp_path: Path):
    homes = {keys: tmp_path / keys for keys in (*KEYS, "revoked")}
    for keys, home in homes.items():
        home.mkdir(mode=0o700)
        if keys in ("issued", "revoked"):
            issue(home)
        if keys == "revoked":
            revoke(home)
    cells = [Cell("0.0.0.0", "revoked", is_allowed=False)]
    cells += [Cell(*one) for one in product(BINDS, KEYS, (False, True))]
    found = {}
    # A few at a time: each start is a second of work, and no one needs its workers.
    for some in (cells[at : at + 4] for at in range(0, len(cells), 4)):
        with ExitStack() as stack:
            runs = [(cell, *stack.enter_context(started(homes[cell.keys], cell))) for cell in some]
            for cell, process, output in runs:
                wait_until(partial(has_decided, process, output), seconds=60)
                found[cell] = (process.poll() if "serves" not in output.read_text() else None, output.read_text())
    assert len(found) >= 13
    for cell, (code, text) in found.items():
        assert code == (2 if cell.is_refused else None), (cell, text)
        assert ("whoever can connect" in text) is cell.warns, (cell, text)
        if cell.is_refused:
            assert text.startswith("gptmock: GPTMOCK_API_KEY: a client key is required to listen on 0.0.0.0"), text
            assert "--allow-unauthenticated" in text
        assert STATIC not in text


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        write_login(tmp_path, running.state.logins.issue().auth_json())
        yield running


async def test_beyond_loopback_an_issued_key_is_required(simulator: Simulator, tmp_path: Path):
    text = await asyncio.to_thread(issue, tmp_path)
    paths = (("POST", CHAT_PATH), ("GET", "/v1/models"), ("POST", "/api/chat"), ("DELETE", "/v1/responses/resp_1"))
    async with serving_simulator(simulator, tmp_path, host="0.0.0.0") as url, client(url) as opened:
        for headers in ({}, {"authorization": "Bearer anything"}, {"x-api-key": "ollama"}):
            for method, path in paths:
                refused = await opened.request(method, path, json=chat("scene:text"), headers=headers)
                assert refused.status_code == 401, path
        assert simulator.state.model_call_count == 0
        key = {"authorization": f"Bearer {text}", "host": "any.example"}
        assert (await opened.post(CHAT_PATH, json=chat("scene:text"), headers=key)).status_code == 200
        for path in ("/health", "/readyz"):
            answer = await opened.get(path)
            assert (answer.status_code, "warnings" in answer.json()) == (200, False)
        await asyncio.to_thread(revoke, tmp_path)
        async with asyncio.timeout(30):
            while (await opened.get("/v1/models", headers=key)).status_code != 401:  # noqa: ASYNC110 - another process's key
                await asyncio.sleep(0.1)
        assert (await opened.get("/v1/models")).status_code == 401


async def test_a_server_that_is_open_to_all_says_so(simulator: Simulator, tmp_path: Path):
    flags: dict[str, Any] = {"host": "0.0.0.0", "allow_unauthenticated": True}
    async with serving_simulator(simulator, tmp_path, **flags) as url, client(url) as opened:
        assert (await opened.post(CHAT_PATH, json=chat("scene:text"))).status_code == 200
        (warning,) = (await opened.get("/readyz")).json()["warnings"]
        assert warning.startswith("unauthenticated: ")
        assert "--allow-unauthenticated" in warning
    async with serving_simulator(simulator, tmp_path, **flags, api_key=STATIC) as url, client(url) as opened:
        assert (await opened.post(CHAT_PATH, json=chat("scene:text"))).status_code == 401
        assert "warnings" not in (await opened.get("/readyz")).json()


async def test_a_store_that_is_away_at_the_start_lets_nobody_in(simulator: Simulator, tmp_path: Path):
    flags: dict[str, Any] = {"redis_url": "redis://127.0.0.1:9", "encryption_keys": KEY, "host": "0.0.0.0"}
    async with serving_simulator(simulator, tmp_path, **flags) as url, client(url) as opened:
        assert (await opened.post(CHAT_PATH, json=chat("scene:text"))).status_code == 401


def test_the_first_key_is_created_once_and_shown_once(tmp_path: Path):
    """As the image does it, so that the predecessor's compose file serves, and nobody without a key."""
    port, texts = free_port(), []
    for number in range(3):
        if number == 2:
            _revoke_all(tmp_path)
        with _container(tmp_path, port) as (process, output):
            wait_until(lambda: has_decided(process, output), seconds=60)
            if number == 2:
                assert process.wait(30) == 2, "an operator who revoked all keys wants nobody to be served"
                assert "gm_" not in output.read_text()
                continue
            texts += re.findall(r"gm_\w+", output.read_text())
            wait_until(partial(_answers, port), seconds=60)
            assert _usage_status(port, None) == 401
            assert _usage_status(port, texts[0]) == 200
            assert _usage_status(port, texts[0][:-1] + "!") == 401
    assert len(texts) == 1, "the second start has its key"
    assert texts[0].encode() not in b"".join(path.read_bytes() for path in tmp_path.glob("state.db*"))


@contextmanager
def _container(home: Path, port: int) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    mark, output = new_mark(), home / "output.txt"
    image = {"GPTMOCK_HOST": "0.0.0.0", "GPTMOCK_CREATE_FIRST_KEY": "true", "GPTMOCK_PORT": str(port)}
    variables = {MARK: mark, "GPTMOCK_HOME": str(home), "CHATGPT_LOCAL_LOGIN_BIND": "0.0.0.0", **image}
    command = [*PROGRAM, "serve", "--verbose", "--host", "0.0.0.0"]
    with output.open("wb") as written:
        process = subprocess.Popen(
            command,
            env=plain_environment(**variables),
            cwd=home,
            stdout=written,
            stderr=written,
            start_new_session=True,
        )
    try:
        yield process, output
    finally:
        process.terminate()
        process.wait(30)
        end_tree(process, mark)


def _revoke_all(home: Path) -> None:
    async def revoked() -> None:
        async with open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as state:
            for key in await state.keys.all():
                await state.keys.revoke(key.id)

    asyncio.run(revoked())


def _answers(port: int) -> bool:
    with suppress(httpx.HTTPError):
        return get(f"http://127.0.0.1:{port}/health").status_code == 200
    return False


def _usage_status(port: int, key: str | None) -> int:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return get(f"http://127.0.0.1:{port}/v1/usage", headers=headers).status_code
