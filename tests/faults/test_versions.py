"""
A rolling update has two versions on one store: this one and an earlier one, whose code comes from the history of git.
The last tag is used, or, as long as there is none, a commit that is named here.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.state import FULL, Place, a_redis, exchanges, login_again, spent_twice
from tests.harness import CHAT_PATH, SimulatorProcess, chat, get, plain_environment, server_process

pytestmark = pytest.mark.faults
ROOT = Path(__file__).parents[2]
EARLIER = "a886e3d"
"""Version 2026.11.0 before its release: the first one that hashes client keys with a pepper. Those before it were never
released; they do not know the keys any more as soon as a later one has started."""


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as it was."""
    revision = _git("describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^") or EARLIER.encode()
    archive = _git("archive", "--format=tar", revision.decode().strip(), "gptmock")
    if archive is None:
        pytest.skip(f"the history of this clone does not reach back to {EARLIER}")
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    asked = [sys.executable, "-P", "-c", "import gptmock; print(gptmock.__file__)"]
    environment = plain_environment(PYTHONPATH=str(folder))
    found = subprocess.run(asked, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(folder)
    return folder


def _git(*words: str) -> bytes | None:
    """What a command of git writes; ``None`` if it fails, or without git."""
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def _command(code: Path, place: Place, *words: str) -> dict[str, Any]:
    """Run a command of one version, and return what it says in JSON."""
    environment = plain_environment(PYTHONPATH=str(code), GPTMOCK_HOME=str(place.home), **place.env)
    command = [sys.executable, "-P", "-m", "gptmock", *words, "--json"]
    done = subprocess.run(command, cwd=place.home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _usage_status(base_url: str, key: str) -> int:
    """The answer to a request that needs a valid key."""
    return get(f"{base_url}/v1/usage", headers={"Authorization": f"Bearer {key}"}).status_code


def _post(base_url: str, path: str, body: dict[str, Any], key: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.post(base_url + path, json=body, headers=headers, timeout=60, trust_env=False)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["redis", "sqlite"] if FULL else ["redis"])
async def test_this_version_and_an_earlier_one_serve_from_one_store(
    simulator: SimulatorProcess, tmp_path: Path, earlier: Path, kind: str
):
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with nullcontext() if kind == "sqlite" else a_redis() as redis:
        place = Place(kind, home, redis)
        account = await place.enroll(simulator.new_login())
        replayed = spent_twice(simulator)
        simulator.reset()
        # Due for a refresh, and both versions see that.
        await place.enroll(login_again(simulator, account, expires_in=200), aged=True)
        codes = {"earlier": earlier, "this": ROOT}
        keys = {name: _command(code, place, "keys", "create", name)["key"] for name, code in codes.items()}
        # With a static key, both ask for a key on loopback too.
        before, now = (
            {**place.env, "PYTHONPATH": str(code), "GPTMOCK_API_KEY": "sk-static"} for code in codes.values()
        )
        with (
            server_process(home, simulator.base_url, env=before, workers=1) as old,
            server_process(home, simulator.base_url, env=now, workers=1) as new,
        ):
            servers = (old.base_url, new.base_url)
            for key in keys.values():
                for base_url in servers:
                    assert _post(base_url, CHAT_PATH, chat("scene:text"), key).status_code == 200
                    assert _usage_status(base_url, key) == 200
            assert [_usage_status(base_url, "gm_unknown") for base_url in servers] == [401, 401]
            assert exchanges(simulator) == {"ok": 1, "refused": 0}
            simulator.expire()
            for base_url in servers:
                assert _post(base_url, CHAT_PATH, chat("scene:text"), keys["this"]).status_code == 200
            assert exchanges(simulator) == {"ok": 2, "refused": 0}
            assert spent_twice(simulator) == replayed
            _continue(old.base_url, new.base_url, keys["earlier"])
            _continue(new.base_url, old.base_url, keys["this"])
            assert new.stop() == 0
            # Back again: what this version wrote does not trouble the earlier one.
            assert _post(old.base_url, CHAT_PATH, chat("scene:text"), keys["this"]).status_code == 200
        for code in codes.values():
            assert [one["id"] for one in _command(code, place, "info")["accounts"]] == [account.id]


def _continue(first: str, second: str, key: str) -> None:
    """A response that one server stored is the other's previous one."""
    body = {"model": "gpt-5.5", "input": "scene:text", "store": True}
    stored = _post(first, "/v1/responses", body, key).json()["id"]
    answer = _post(second, "/v1/responses", {**body, "previous_response_id": stored}, key)
    assert answer.status_code == 200, answer.text
