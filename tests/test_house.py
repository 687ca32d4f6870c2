"""The code rules that no other tool checks: imports, sizes, loops, module state, secrets of the workplace."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gptmock"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50


def _functions(module: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _name(module: Path) -> str:
    return str(module.relative_to(ROOT))


def test_imports_keep_the_contracts():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_every_room_is_in_the_plan():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and not path.name.startswith("__")}
    core = {"client_setups", "dialects", "errors", "gateway", "protocol"}
    assert rooms == core | {"cli", "login", "metrics", "server", "simulator", "stores", "supervision", "upstream"}


@pytest.mark.parametrize("module", MODULES, ids=_name)
def test_modules_are_short(module):
    assert len(module.read_text().splitlines()) <= MAX_MODULE_LINES


@pytest.mark.parametrize("module", MODULES, ids=_name)
def test_functions_are_short(module):
    long = [
        f"{function.name}: {size}"
        for function in _functions(module)
        if (size := (function.end_lineno or 0) - function.lineno + 1) > MAX_FUNCTION_LINES
    ]
    assert long == []


@pytest.mark.parametrize("module", MODULES, ids=_name)
def test_no_module_holds_state(module):
    """Workers are processes: what a module holds is a constant, or a lie in all workers but one."""
    tree = ast.parse(module.read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Global)]
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        for target in targets:
            mutable = isinstance(value, ast.List | ast.Set | ast.ListComp | ast.SetComp)
            assert not mutable or str(getattr(target, "id", "")) == "__all__", f"{_name(module)}:{node.lineno}"


def test_there_is_one_reader_of_the_upstream():
    calls = [
        _name(module)
        for room in ("gateway", "server", "dialects", "protocol")
        for module in sorted((PACKAGE / room).rglob("*.py"))
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Await) and ast.unparse(node.value).partition("(")[0].endswith(".deliver")
    ]
    # Twice until the first event, and before what comes after it; once for everybody who wants the events.
    assert calls == ["gptmock/gateway/first_event.py"] * 2 + ["gptmock/gateway/reply.py"]


@pytest.mark.parametrize("word", ["aiter_lines", "splitlines", "iter_lines", "aiter_text"])
def test_nobody_cuts_streams_into_lines(word):
    """They cut at U+2028 too. ``splitlines`` of a whole text that is ours is another matter, and not needed."""
    users = [_name(module) for module in MODULES if re.search(rf"\.{word}\(", module.read_text())]
    assert users == []


def test_broad_excepts_stand_only_at_the_outermost_edge():
    found = [
        _name(module)
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
        and not any(isinstance(statement, ast.Raise) and statement.exc is None for statement in node.body)
    ]
    # The reply's, twice: what a bug in a dialect raises ends a stream. And the callback of a read, which has no caller:
    # whatever its consumer raises is raised where the consumer waits. And those of forked
    # processes, which must not return to where they were forked.
    processes = [f"gptmock/supervision/{name}.py" for name in ("starter", "starting", "worker")]
    assert found == ["gptmock/gateway/reply.py"] * 2 + processes + ["gptmock/upstream/bodies.py"]


def test_what_a_module_is_for_is_said_first():
    silent = [_name(module) for module in MODULES if not ast.get_docstring(ast.parse(module.read_text()))]
    assert silent == []


def test_no_unfinished_marks():
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError")
    assert [_name(module) for module in MODULES if marks.search(module.read_text())] == []


def test_importing_the_package_opens_nothing():
    script = "import gptmock, sys; print([name for name in ('sanic', 'httpx', 'aiohttp') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_lock_holds_what_the_project_asks_for():
    import tomllib  # noqa: PLC0415 - only this test reads TOML

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[\[<>=!~ ;]", requirement, maxsplit=1)[0].lower() for requirement in asked}
    locked = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert names <= locked, f"run: uv pip compile (see requirements.lock); missing {sorted(names - locked)}"
