"""
Builds the image and runs it, without a container engine: ``python -m tests.deploy.image``. Two to four minutes, as
root, with Debian's buildah and mmdebstrap.

A minimal Debian with Python stands in for the base image. What is built is checked (configuration, files, size) and
run as Kubernetes would run it: PID 1 of a namespace of its own, user 10001, no capabilities, a read-only root, and
``/data`` and ``/tmp`` writable.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.deploy.environments import CACHE
from tests.deploy.test_compose import PREDECESSOR
from tests.harness import CHAT_PATH, chat, get, simulator_process, wait_until, write_login
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
BASE_NAME = "docker.io/library/python:3.13-slim"
NAME = "localhost/gptmock"
USER = 10001
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
BASE_MB = 45
"""Of the real base image, compressed as a registry holds it."""
IMAGE_LIMIT_MB = 160
"""Of the base and of what we add, compressed."""
# Runs in namespaces of its own. $1 is the root, $2 the folder that becomes /data; the rest is run inside.
_RUN = """
set -e
root=$1 data=$2; shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --bind "$data" "$root/data"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot "$root" /usr/bin/setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs \
  --inh-caps=-all --bounding-set=-all /usr/bin/env -i --chdir=/data "$@"
"""


@dataclass(frozen=True, slots=True)
class Image:
    """What was built: its configuration, and where its files are."""

    config: dict[str, Any]
    root: Path

    @property
    def environment(self) -> list[str]:
        """As the image sets it."""
        return list(self.config["Env"])


def main() -> int:
    """Build, check and run; ends at the first failure."""
    missing = [tool for tool in ("buildah", "mmdebstrap", "unshare", "chroot") if shutil.which(tool) is None]
    if missing or os.getuid() != 0:
        _say(f"not run: needs root, and {' and '.join(missing) or 'nothing else'} (apt install buildah mmdebstrap)")
        return 0 if "--if-possible" in sys.argv else 1
    folder = CACHE / "image"
    try:
        with _step("base"):
            _base(folder)
        with _step("build"):
            image = _build(folder)
        checks = (
            _is_configured,
            _has_what_it_needs,
            _is_small,
            _demo_runs,
            _runs_the_predecessors_file,
            _serves_and_drains,
        )
        for check in checks:
            with _step(check.__name__.strip("_")):
                check(image)
    finally:
        # A container that was mounted stays so otherwise.
        _buildah(folder, "rm", "--all")
        _buildah(folder, "rmi", "--prune", "--force")
    return 0


# --- Building --------------------------------------------------------------------------


def _base(folder: Path) -> None:
    archive = folder / "base.tar"
    if not archive.exists():
        folder.mkdir(parents=True, exist_ok=True)
        packages = "python3,python3-venv,ca-certificates"
        part = archive.with_suffix(".part.tar")
        _run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", "bookworm", str(part))
        part.rename(archive)
    if _buildah(folder, "images", "--quiet", "--filter", f"reference={BASE_NAME}"):
        return
    container = _buildah(folder, "from", "scratch")
    _buildah(folder, "add", "--quiet", container, str(archive), "/")
    _buildah(folder, "commit", "--quiet", "--rm", container, BASE_NAME)


def _build(folder: Path) -> Image:
    # A registry behind a proxy of its own certificate is reached as from outside.
    volume = ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"] if Path(CERTIFICATES).exists() else []
    options = ["--pull-never", "--format", "docker", "--network", "host", "--no-cache", *volume]
    arguments = ["--build-arg", f"BASE={BASE_NAME}", "--build-arg", "VERSION=test", "--build-arg", "REVISION=test"]
    _buildah(folder, "build", *options, *arguments, "-f", "deploy/Dockerfile", "-t", NAME, ".")
    described = json.loads(_buildah(folder, "inspect", "--type", "image", NAME))
    container = _buildah(folder, "from", "--pull-never", NAME)
    return Image(described["Docker"]["config"], Path(_buildah(folder, "mount", container)))


def _buildah(folder: Path, *arguments: str) -> str:
    places = ["--storage-driver", "vfs", "--root", str(folder / "storage"), "--runroot", str(folder / "run")]
    return _run("buildah", *places, *arguments, env={**os.environ, "BUILDAH_ISOLATION": "chroot"})


# --- What was built --------------------------------------------------------------------


def _is_configured(image: Image) -> None:
    config = image.config
    assert config["User"] == f"{USER}:{USER}"
    assert (config["Entrypoint"], config["Cmd"]) == (["gptmock"], ["serve"])
    assert config["Healthcheck"]["Test"] == ["CMD", "python", "/opt/gptmock/healthcheck.py"]
    assert set(config["ExposedPorts"]) == {"8000/tcp", "1455/tcp"}
    assert set(config["Volumes"]) == {"/data"}
    assert config["StopSignal"] == "SIGTERM"
    assert {
        "GPTMOCK_HOST=0.0.0.0",
        "GPTMOCK_HOME=/data",
        "GPTMOCK_WORKERS=auto",
        "GPTMOCK_CREATE_FIRST_KEY=true",
    } <= set(config["Env"])
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == labels["org.opencontainers.image.revision"] == "test"


def _has_what_it_needs(image: Image) -> None:
    ours = image.root / "opt" / "gptmock"
    (packages,) = ours.glob("lib/python3.*/site-packages")
    names = {path.name.partition("-")[0].lower() for path in packages.glob("*.dist-info")}
    assert {"gptmock", "sanic", "redis", "uvloop", "bpe_openai"} <= names
    assert not names & {"pip", "pytest", "mypy", "ruff", "hatchling", "hypothesis"}, names
    sources = list((packages / "gptmock").rglob("*.py"))
    compiled = {path.stem.partition(".")[0] for path in (packages / "gptmock").rglob("*.pyc")}
    assert {path.stem for path in sources} <= compiled, "every module is compiled"
    data = (image.root / "data").stat()
    assert (data.st_uid, data.st_mode & 0o777) == (USER, 0o700)
    writable = [path for path in ours.rglob("*") if not path.is_symlink() and path.stat().st_uid != 0]
    assert writable == [], "the user of the server cannot change the program"
    with tarfile.open(CACHE / "image" / "base.tar") as base:
        known = {f"/{member.name.removeprefix('./').rstrip('/')}" for member in base if member.name != "./"}
    found = {f"/{path.relative_to(image.root)}" for path in image.root.rglob("*")}
    # The builder leaves an empty file where it mounted its own.
    added = {path for path in found - known - {"/etc/hosts"} if not path.startswith("/opt/gptmock")}
    assert added == {"/data"}, f"nothing of the build is left: {sorted(added)[:20]}"


def _is_small(image: Image) -> None:
    archive = CACHE / "image" / "layer.tar.gz"
    with gzip.open(archive, "wb", compresslevel=6) as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
        tar.add(image.root / "opt" / "gptmock", "opt/gptmock")
    megabytes = archive.stat().st_size / 1e6
    archive.unlink()
    _say(f"   our layer: {megabytes:.0f} MB compressed")
    assert BASE_MB + megabytes < IMAGE_LIMIT_MB


# --- Running it ------------------------------------------------------------------------


def _command(image: Image, data: Path, *words: str) -> list[str]:
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    return [*namespaces, "sh", "-c", _RUN, "sh", str(image.root), str(data), *image.environment, *words]


@contextmanager
def _data() -> Iterator[Path]:
    folder = CACHE / "image" / "data"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.chown(folder, USER, USER)
    yield folder
    shutil.rmtree(folder)


def _demo_runs(image: Image) -> None:
    with _data() as data:
        output = _run(
            *_command(image, data, "gptmock", "demo", "--once", "--host", "127.0.0.1", "--port", str(free_port()))
        )
    assert "chat.completion" in output or "choices" in output, output


def _runs_the_predecessors_file(image: Image) -> None:
    """The predecessor's compose file: it is healthy, and serves with the key that it prints once, and not without."""
    service = yaml.safe_load(PREDECESSOR)["services"]["serve"]
    port = free_port()
    base_url = f"http://127.0.0.1:{port}"
    command = ["gptmock", *service["command"]]
    check = ["sh", "-c", service["healthcheck"]["test"][1].replace(":8000/", f":{port}/")]
    keys: list[str] = []
    with simulator_process() as simulator, _data() as data:
        write_login(data, simulator.new_login())
        os.chown(data / "auth.json", USER, USER)
        settings = [*service["environment"], f"GPTMOCK_PORT={port}"]
        settings += [f"GPTMOCK_UPSTREAM_URL={simulator.base_url}/backend-api", f"GPTMOCK_ISSUER={simulator.base_url}"]
        for _ in range(2):
            output = data / "output"
            with (
                output.open("wb") as written,
                subprocess.Popen(_command(image, data, *settings, *command), stdout=written, stderr=written) as wrapper,
            ):
                wait_until(lambda: _is_ready(base_url), seconds=90)
                keys += re.findall(r"gm_\w+", output.read_text())
                _run(*_command(image, data, *check))
                assert httpx.post(base_url + CHAT_PATH, json=chat("hi"), trust_env=False).status_code == 401
                headers = {"Authorization": f"Bearer {keys[0]}"}
                answer = httpx.post(base_url + CHAT_PATH, json=chat("hi"), headers=headers, trust_env=False, timeout=60)
                assert answer.status_code == 200, answer.text
                os.kill(_children(wrapper.pid)[0], signal.SIGTERM)
                assert wrapper.wait(60) == 0
    assert len(keys) == 1, "the second start has its key"


def _serves_and_drains(image: Image) -> None:
    port = free_port()
    base_url = f"http://127.0.0.1:{port}"
    with simulator_process() as simulator, _data() as data:
        write_login(data, simulator.new_login())
        os.chown(data / "auth.json", USER, USER)
        settings = [
            *(f"GPTMOCK_PORT={port}", "GPTMOCK_API_KEY=sk-image", "GPTMOCK_WORKERS=2"),
            *(f"GPTMOCK_UPSTREAM_URL={simulator.base_url}/backend-api", f"GPTMOCK_ISSUER={simulator.base_url}"),
        ]
        # The wrapper's own SIGTERM would kill the namespace: it is sent to PID 1 of it.
        with subprocess.Popen(_command(image, data, *settings, "gptmock", "serve")) as wrapper:
            wait_until(lambda: _is_ready(base_url), seconds=90)
            (server,) = _children(wrapper.pid)
            status = Path(f"/proc/{server}/status").read_text()
            assert f"Uid:\t{USER}\t{USER}" in status
            assert "CapEff:\t0000000000000000" in status
            assert "NSpid:" in status
            assert status.partition("NSpid:")[2].partition("\n")[0].split()[-1] == "1"
            _is_healthy(image, data, port)
            assert get(f"{base_url}/v1/models").status_code == 401
            wait_until(lambda: _counted_by(base_url) == "o200k_base", seconds=30)
            text = _stream_through_a_stop(base_url, server)
            assert text.rstrip().endswith(b"data: [DONE]"), "what was streamed is complete"
            assert wrapper.wait(60) == 0
        assert (data / "state.db").stat().st_uid == USER


def _is_healthy(image: Image, data: Path, port: int) -> None:
    health = image.config["Healthcheck"]["Test"][1:]
    _run(*_command(image, data, f"GPTMOCK_PORT={port}", *health))
    done = subprocess.run(_command(image, data, "GPTMOCK_PORT=1", *health), capture_output=True, check=False)
    assert done.returncode == 1, "a server that does not answer is not healthy"


def _counted_by(base_url: str) -> str:
    """What counts tokens; a worker loads the table when it is first asked."""
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hello"}]}
    url = f"{base_url}/v1/messages/count_tokens"
    headers = {"Authorization": "Bearer sk-image", "anthropic-version": "2023-06-01"}
    answer = httpx.post(url, json=body, headers=headers, trust_env=False, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-gptmock-counted-by"]


def _stream_through_a_stop(base_url: str, server: int) -> bytes:
    headers = {"Authorization": "Bearer sk-image"}
    body = chat("scene:stall:3", stream=True)
    with (
        httpx.Client(trust_env=False, timeout=60, headers=headers) as client,
        client.stream("POST", base_url + CHAT_PATH, json=body) as response,
    ):
        assert response.status_code == 200
        chunks = response.iter_raw()
        first = next(chunks)
        os.kill(server, signal.SIGTERM)
        return first + b"".join(chunks)


def _is_ready(base_url: str) -> bool:
    try:
        return get(f"{base_url}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _run(*command: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)[:300]}\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout.strip()


@contextmanager
def _step(name: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    _say(f"{name}: {time.monotonic() - began:.0f} s")


def _say(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - it is a command


if __name__ == "__main__":
    sys.exit(main())
