"""Wheel and sdist: what is in them, that one makes the other, and that the wheel runs outside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import sanic

from gptmock import __version__
from tests.deploy.environments import locked_environment, python_of, tool_python
from tests.harness import plain_environment

ROOT = Path(__file__).parents[2]
ALL_PYTHONS = os.environ.get("GPTMOCK_ALL_PYTHONS") == "1"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, made of the files that git knows, and the wheel, made of that sdist."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    _build(source, folder)
    return folder


def _build(source: Path, folder: Path, *kinds: str) -> None:
    environment = plain_environment(SOURCE_DATE_EPOCH="1700000000")
    environment.pop("PYTHONPATH")
    command = [str(tool_python("build")), "-m", "build", "--no-isolation", *kinds, "--outdir", str(folder), str(source)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _wheel(folder: Path) -> Path:
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_wheel_has_the_package_and_nothing_else(built):
    with zipfile.ZipFile(_wheel(built)) as wheel:
        names = set(wheel.namelist())
    info = f"gptmock-{__version__}.dist-info"
    assert {f"{info}/licenses/LICENSE", f"{info}/entry_points.txt", "gptmock/py.typed"} <= names
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / "gptmock").rglob("*") if path.is_file()}
    assert {name for name in names if not name.startswith(info)} == {name for name in ours if "__pycache__" not in name}


def test_the_sdist_has_what_builds_and_tests_it(built):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    needed = {"pyproject.toml", "requirements.lock", "CHANGELOG.md", "deploy/Dockerfile", "helm/gptmock/values.yaml"}
    assert needed | {"tests/harness.py", "gptmock/settings.py"} <= names
    assert not [name for name in names if name.startswith((".venv", ".cache")) or name.endswith(".pyc")]


def test_the_sdist_builds_the_same_wheel(built, tmp_path):
    """``build`` has made the wheel of the sdist; here it is made of the checkout."""
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    _build(source, tmp_path / "again", "--wheel")
    assert _wheel(tmp_path / "again").read_bytes() == _wheel(built).read_bytes()


def test_the_wheel_runs_outside_the_checkout(built, tmp_path):
    """
    In an empty environment that finds the packages of this one, and nothing of the checkout. That everything can be
    installed from nothing is shown by the README's first command (tests/test_readme.py).
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    _tried(built, tmp_path, requirements=Path(sanic.__file__).parents[1])


@pytest.mark.timeout(400)
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_every_python_of_this_machine(built, tmp_path, version):
    """The sdist builds the same wheel with each, and the wheel runs with what the image's lock names."""
    if not ALL_PYTHONS:
        pytest.skip("it takes minutes: GPTMOCK_ALL_PYTHONS=1")
    if version == f"3.{sys.version_info.minor}":
        pytest.skip(f"Python {version} runs these tests, the one above too")
    python = python_of(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    prepared = locked_environment(python)
    (archive,) = built.glob("*.tar.gz")
    # Of the tools' environment: hatchling and what it needs is pure Python.
    (tools,) = tool_python("build").parents[1].glob("lib/python*/site-packages")
    environment = plain_environment(SOURCE_DATE_EPOCH="1700000000", PYTHONPATH=str(tools))
    command = [str(prepared), "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    command += ["--wheel-dir", str(tmp_path / "again"), str(archive)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert _wheel(tmp_path / "again").read_bytes() == _wheel(built).read_bytes()
    shutil.rmtree(tmp_path / "again")
    subprocess.run([python, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (requirements,) = prepared.parents[1].glob("lib/python*/site-packages")
    _tried(built, tmp_path, requirements=requirements)


def _tried(built: Path, folder: Path, *, requirements: Path) -> None:
    """Install the wheel into ``venv`` of a folder, whose Python finds other packages elsewhere, and run it there."""
    python = folder / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-input", "--no-compile"]
    done = subprocess.run(
        [*install, "--no-deps", "--no-index", str(_wheel(built))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    # A folder that is added so has its packages found, and its own .pth files, which lead to the checkout, not read.
    (packages / "requirements.pth").write_text(f"{requirements}\n")
    environment = plain_environment(HOME=str(folder))
    environment.pop("PYTHONPATH")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(folder / "venv" / "bin" / "gptmock"), *words]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    found = subprocess.run(
        [python, "-c", "import gptmock; print(gptmock.__file__)"],
        cwd=folder,
        env=environment,
        capture_output=True,
        check=True,
    )
    assert Path(found.stdout.decode().strip()).is_relative_to(packages)
    assert run("--version").stdout == f"gptmock {__version__}\n"
    demo = run("demo", "--once", "--port", "0")
    assert demo.returncode == 0, demo.stderr
    assert "chat.completion" in demo.stdout
    assert [path.name for path in folder.iterdir()] == ["venv"], "it leaves no files"


def test_versions_agree():
    chart = (ROOT / "helm" / "gptmock" / "Chart.yaml").read_text()
    assert f'appVersion: "{__version__}"' in chart
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()
