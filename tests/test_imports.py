"""What a process imports: a library that it does not use costs every command its start, and every worker its memory."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import plain_environment
from tests.timing import generous

REPORT = "import json, sys; sys.stderr.write(json.dumps([sorted(sys.modules), sum(__import__('os').times()[:2])]))"
COMMAND = "import sys; from gptmock.cli import main; main(['info', '--offline'])"
KEY = base64.b64encode(bytes(range(32))).decode()
CPU_SECONDS = 0.6
"""Of ``gptmock info --offline``."""


def imported(program: str, home: Path, **variables: str) -> tuple[set[str], float]:
    """The modules that a program has imported at its end, and its CPU seconds."""
    code = f"import atexit; atexit.register(lambda: exec({REPORT!r})); {program}"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=plain_environment(GPTMOCK_HOME=str(home), **variables),
        cwd=home,
        capture_output=True,
        check=True,
    )
    modules, seconds = json.loads(run.stderr[run.stderr.rindex(b"[[") :])
    return set(modules), seconds


def rooms(modules: set[str]) -> set[str]:
    return {name for name in modules if name.count(".") == 1 and name.startswith("gptmock.")}


def test_a_command_imports_no_server_and_takes_little_time(tmp_path: Path):
    modules, seconds = imported(COMMAND, tmp_path)
    assert "gptmock.cli.info" in modules
    assert not {"aiohttp", "redis", "sanic", "uvloop", "gptmock.simulator", "gptmock.wiring"} & modules
    assert not {name for name in modules if name.startswith("gptmock.dialects.") and name.endswith(".request")}
    assert not {f"gptmock.cli.{other}" for other in ("serve", "demo", "login", "doctor")} & modules
    assert seconds < generous(CPU_SECONDS)


@pytest.mark.parametrize("redis", [False, True], ids=["embedded", "redis"])
def test_a_worker_imports_what_it_serves_with(tmp_path: Path, redis: bool):  # noqa: FBT001
    url = "redis://127.0.0.1:1" if redis else ""
    opened = f"""
import asyncio
from gptmock import settings_sources, shared_state, wiring
from gptmock.upstream.transport import open_transport
async def run():
    environ = {{"GPTMOCK_REDIS_URL": {url!r}}} if {url!r} else {{}}
    loaded = settings_sources.load_settings({{"home": {os.fspath(tmp_path)!r}, "encryption_keys": {KEY!r}}},
        environ=environ, directory=__import__("pathlib").Path({os.fspath(tmp_path)!r}))
    async with shared_state.open_state(loaded):
        open_transport()
asyncio.run(run())
"""
    modules, _ = imported(f"exec({opened!r})", tmp_path)
    assert "gptmock.server.turns" in modules
    assert not {"aiohttp", "gptmock.simulator", "gptmock.cli", "sanic_testing"} & modules
    assert ("redis" in modules, "gptmock.stores.sqlite" in modules) == (redis, not redis)
