"""
Tools of the deploy tests, each in a virtual environment of its own below ``.cache/deploy``, made once. Their pip takes
wheels whatever Python they ask for: helm-sdkpy asks for 3.12 and runs on 3.11.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from tests.clients.environments import digest

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".cache" / "deploy"
INSTALL_SECONDS = 240


def tool_python(name: str) -> Path:
    """
    The interpreter of the environment with ``requirements/<name>.txt`` installed; skips the test where the tool does
    not exist.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip(f"{name} exists for Linux on x86_64")
    if os.environ.get("GPTMOCK_SKIP_CLIENTS") == "1":
        pytest.skip("GPTMOCK_SKIP_CLIENTS=1")
    requirements = HERE / "requirements" / f"{name}.txt"
    root = CACHE / f"{name}-{digest(requirements.read_bytes())}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(root.with_suffix(".lock")):
        if not (root / "installed").exists():
            shutil.rmtree(root, ignore_errors=True)
            _install(root, requirements)
            (root / "installed").touch()
    return root / "bin" / "python"


def _install(root: Path, requirements: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(root)], check=True, timeout=INSTALL_SECONDS)
    pip = [str(root / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-compile"]
    more = ["--no-deps", "--ignore-requires-python", "--only-binary", ":all:", "-r", str(requirements)]
    done = subprocess.run([*pip, *more], capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    if done.returncode:
        pytest.fail(
            f"{requirements.name} cannot be installed; GPTMOCK_SKIP_CLIENTS=1 skips it\n{done.stderr}", pytrace=False
        )


def python_of(version: str) -> Path | None:
    """An interpreter of a version such as 3.12: the system's, or one of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for path in (Path(f"/usr/bin/python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python{version}"))):
        if (
            path.exists()
            and subprocess.run([path, "-c", "import ssl, sqlite3, ensurepip"], check=False).returncode == 0
        ):
            return path
    return None


def locked_environment(python: Path) -> Path:
    """
    An environment of another Python with what the image's lock names, made once. Returns its interpreter; skips the
    test where the packages cannot be had.
    """
    if os.environ.get("GPTMOCK_SKIP_CLIENTS") == "1":
        pytest.skip("GPTMOCK_SKIP_CLIENTS=1")
    # Without the extra "tokens", which is as large as all the others.
    lock = (HERE.parents[1] / "deploy" / "requirements.lock").read_text("utf-8")
    lock = re.sub(r"^bpe-openai==.*\n(?:    --hash.*\n)+", "", lock, flags=re.MULTILINE)
    root = CACHE / f"{python.name}-{digest(lock.encode())}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(root.with_suffix(".lock")):
        if not (root / "installed").exists():
            shutil.rmtree(root, ignore_errors=True)
            subprocess.run([python, "-m", "venv", root], check=True)
            (root / "requirements.lock").write_text(lock, "utf-8")
            _install_locked(root)
            (root / "installed").touch()
    return root / "bin" / "python"


def _install_locked(root: Path) -> None:
    command = [str(root / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-input", "--no-compile", "--only-binary", ":all:", "--require-hashes"]
    command += ["-r", str(root / "requirements.lock")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
