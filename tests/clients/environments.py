"""Virtual environments for client libraries, made once and kept under ``.cache/clients``."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".cache" / "clients"
INSTALL_SECONDS = 240


class NotInstalled(Exception):
    """A client library could not be installed; the message has the installer's own words."""


def client_python(name: str) -> Path:
    """
    The interpreter of the environment with ``requirements/<name>.txt`` installed.

    Raises:
        NotInstalled: most often because there is no network.
    """
    requirements = HERE / "requirements" / f"{name}.txt"
    version = f"{sys.implementation.cache_tag}-{sys.platform}"
    digest = hashlib.sha256(requirements.read_bytes() + version.encode()).hexdigest()[:12]
    root = CACHE / f"{name}-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    # Two test runs at once must not build in the same place.
    with FileLock(CACHE / f"{name}-{digest}.lock"):
        done = root / "installed"
        if not done.exists():
            shutil.rmtree(root, ignore_errors=True)
            _build(root, requirements)
            done.touch()
    return _python(root)


def _build(root: Path, requirements: Path) -> None:
    uv = shutil.which("uv")
    if uv is not None:
        _call(uv, "venv", "--quiet", "--python", sys.executable, str(root))
        _call(uv, "pip", "install", "--quiet", "--python", str(_python(root)), "-r", str(requirements))
        return
    _call(sys.executable, "-m", "venv", str(root))
    install = ("install", "--quiet", "--disable-pip-version-check", "--no-input", "--retries", "2")
    _call(str(_python(root)), "-m", "pip", *install, "-r", str(requirements))


def _python(root: Path) -> Path:
    return root / "bin" / "python"


def _call(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"no end after {INSTALL_SECONDS} s: {' '.join(command)}") from error
    if done.returncode:
        raise NotInstalled(f"{' '.join(command)}\n{(done.stdout + done.stderr)[-4000:]}")
