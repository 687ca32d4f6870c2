"""The README word by word: what it says to type is typed here, in the order of the page."""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import httpx
import pytest
from _pytest.mark.structures import ParameterSet

from gptmock.cli import full_parser
from gptmock.cli.completion import levels_of
from gptmock.cli.options import add_listening_options, add_serve_options
from gptmock.settings import Settings
from gptmock.settings_sources import FROM_FILE, variable_names
from tests.clients.checks import client_environment
from tests.clients.claude_code import QUIET
from tests.clients.codex import codex_exec
from tests.clients.environments import CLAUDE, PACKAGES, client_claude, client_node, client_python
from tests.harness import CONSOLE_SCRIPT, plain_environment
from tests.ports import free_port
from tests.readme import README, Block, blocks, the_test_command

ROOT = README.parent
ALL = blocks()
BASE_URL = "http://127.0.0.1:8000"


def _of(kind: str) -> list[ParameterSet]:
    return [pytest.param(block, id=f"line-{block.line}") for block in ALL if block.kind == kind]


@pytest.fixture(scope="module")
def demo_url(tmp_path_factory) -> Iterator[str]:
    """A demo that stays up, on a port of its own."""
    with demo([CONSOLE_SCRIPT, "demo", "--port", "0"], tmp_path_factory.mktemp("demo")) as (url, _):
        yield url


@contextlib.contextmanager
def demo(command: list[str], directory: Path) -> Iterator[tuple[str, str]]:
    """Run a demo until its last line is printed; yields its base URL and all that it printed on stdout."""
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=plain_environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        printed = ""
        for line in process.stdout:
            printed += line
            if line.startswith("Still serving at"):
                break
        found = re.search(r"Still serving at (\S+)/v1", printed)
        assert found, printed
        yield found[1], printed
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        process.stdout.close()


# --- Every block says what becomes of it ------------------------------------------------


def test_every_block_is_run_or_says_why_not():
    unmarked = [f"line {block.line}" for block in ALL if block.kind is None and block.reason is None]
    assert unmarked == []


def test_the_blocks_are_counted():
    """A new block changes these figures, so that nobody adds an unrun one by accident."""
    run = [block.kind for block in ALL if block.kind]
    assert len(run) == 14
    assert len([block for block in ALL if block.reason]) == 20
    assert set(run) == {
        "annotation",
        "claude",
        "clean-clone",
        "codex",
        "images",
        "langchain",
        "ollama",
        "openai",
        "responses",
        "serve",
        "shell",
        "simulator",
    }


def test_an_unmarked_block_is_seen():
    assert blocks("text\n\n```sh\nrm\n```\n")[0].reason is None


def test_ci_runs_the_readmes_test_command():
    assert the_test_command() == ".venv/bin/pip install -e '.[dev]' && .venv/bin/python -m pytest"
    assert "tests/readme.py --test-command" in (ROOT / ".ci" / "run").read_text()


# --- What the page and the help say of settings -----------------------------------------


def _options() -> list[argparse.Action]:
    parser = argparse.ArgumentParser(add_help=False)
    add_serve_options(parser)
    add_listening_options(parser)
    return parser._actions


def _section(title: str) -> str:
    _, found, rest = README.read_text().partition(f"\n## {title}\n")
    assert found, title
    return rest.partition("\n## ")[0]


def test_every_setting_is_described_once_in_the_help_or_on_the_page():
    """``serve --help`` has those with a flag, the page's table has the others."""
    rows = "\n".join(line for line in _section("Settings").split("\n") if line.startswith("|"))
    helped = " ".join(action.help or "" for action in _options())
    names = {variable_names(field)[0] for field in Settings.model_fields}
    told = {name: (f"({name}" in helped, f"`{name}`" in rows) for name in names}
    assert {name: places for name, places in told.items() if sum(places) != 1} == {}


def test_every_flag_has_a_help_that_names_its_variable():
    for action in _options():
        assert f"({variable_names(action.dest)[0]}" in (action.help or ""), action.option_strings
    assert "`gptmock serve --help`" in _section("Settings")


def test_every_variable_and_flag_that_the_page_names_exists():
    text = README.read_text()
    known = {variable_names(field)[0] for field in Settings.model_fields}
    known |= {f"GPTMOCK_{field.upper()}_FILE" for field in FROM_FILE}
    # For tests, no settings of the program.
    known |= {"GPTMOCK_EXAMPLES", "GPTMOCK_ALL_PYTHONS", "GPTMOCK_FULL_FAULTS", "GPTMOCK_NEWEST_CLAUDE"}
    assert set(re.findall(r"GPTMOCK_[A-Z]+(?:_[A-Z]+)*", text)) - known == set()
    flags = {flag for level in levels_of(full_parser()) for flag in level.flags}
    # Of the benchmarks, of uv, of git, of docker compose, of helm and of Claude Code.
    others = {
        "--quick",
        "--before",
        "--extra",
        "--from",
        "--git-dir",
        "--rm",
        "--service-ports",
        "--profile",
        "--set",
        "--settings",
    }
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - flags - others == set()


# --- Links and pictures --------------------------------------------------------------------


def test_every_link_within_the_page_has_its_heading():
    text = README.read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) - anchors == set()


def test_every_file_that_the_page_links_to_exists():
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", README.read_text())
    assert len(links) >= 5
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_every_picture_has_a_text_and_fetches_nothing():
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", README.read_text())
    assert len(pictures) >= 4
    for text, link in pictures:
        assert text
        if link.endswith(".png"):
            # Of the page, which has no other form.
            assert (ROOT / link).stat().st_size < 150_000
            continue
        picture = (ROOT / link).read_text()
        assert ET.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own file
        assert re.findall(r"<script|<image|href=|url\((?!#)|@import", picture) == [], link
        assert len(picture) < 100_000


def test_the_first_screen_is_a_picture_two_commands_and_the_clients():
    first, found, _ = README.read_text().partition("\n## ")
    assert found
    assert "(deploy/answer.svg)" in first
    assert [block.kind or "not run" for block in blocks(first)] == ["clean-clone", "not run"]
    assert len(first.split("\n")) < 60


def test_the_clients_that_are_called_tested_are_those_of_the_tests():
    rows = dict(re.findall(r"^\| (Python|JavaScript) \| (.+) \|$", README.read_text(), re.MULTILINE))
    pinned = "\n".join(path.read_text() for path in sorted((PACKAGES.parent / "requirements").glob("*.txt")))
    python = {
        name.replace("_", "-") for name in re.findall(r"^([\w.-]+?)(?:-slim)?(?:\[[^]]*\])?==", pinned, re.MULTILINE)
    }
    named = set(re.findall(r"`([^`]+)`", rows["Python"]))
    assert {"openai", "langchain-openai", "litellm"} <= named <= python
    node = set(json.loads((PACKAGES / "package.json").read_text())["dependencies"])
    # The interface of the AI SDK, a schema library, what openai speaks WebSocket with, and the Codex CLI, which has a
    # row of its own.
    assert set(re.findall(r"`([^`]+)`", rows["JavaScript"])) == node - {"ai", "zod", "ws", "@openai/codex"}


# --- Shell -------------------------------------------------------------------------------


@pytest.mark.parametrize("block", _of("shell"))
def test_shell_blocks(block: Block, demo_url):
    script = block.text.replace(BASE_URL, demo_url)
    done = subprocess.run(["bash", "-c", f"set -e\n{script}"], capture_output=True, text=True, check=True, timeout=60)
    if '"stream": true' in script:
        assert done.stdout.endswith("data: [DONE]\n\n")
        assert '"annotations":[{' in done.stdout
    else:
        answer = json.loads(done.stdout)
        assert "hello world" in answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize("block", _of("images"))
def test_images_blocks(block: Block, demo_url):
    script = block.text.replace(BASE_URL, demo_url)
    done = subprocess.run(["bash", "-c", f"set -e\n{script}"], capture_output=True, text=True, check=True, timeout=60)
    answer = json.loads(done.stdout)
    assert base64.b64decode(answer["data"][0]["b64_json"]).startswith(b"\x89PNG")
    assert answer["size"] == "1536x1024"


@pytest.mark.parametrize("block", _of("responses"))
def test_responses_blocks(block: Block, demo_url):
    script = block.text.replace(BASE_URL, demo_url)
    done = subprocess.run(["bash", "-c", f"set -e\n{script}"], capture_output=True, text=True, check=True, timeout=60)
    (message,) = (item for item in json.loads(done.stdout)["output"] if item["type"] == "message")
    assert "hello world" in message["content"][0]["text"]


@pytest.mark.parametrize("block", _of("ollama"))
def test_ollama_blocks(block: Block, demo_url):
    script = block.text.replace(BASE_URL, demo_url)
    done = subprocess.run(["bash", "-c", f"set -e\n{script}"], capture_output=True, text=True, check=True, timeout=60)
    lines = [json.loads(line) for line in done.stdout.split("\n")[:-1]]
    assert "hello world" in "".join(line["message"]["content"] for line in lines)
    assert lines[-1]["done"] is True


@pytest.mark.parametrize("block", _of("annotation"))
def test_the_shape_of_annotations(block: Block, demo_url):
    body = {
        "model": "gpt-6.2-sol",
        "messages": [{"role": "user", "content": "search for something"}],
        "responses_tools": [{"type": "web_search"}],
    }
    answer = httpx.post(f"{demo_url}/v1/chat/completions", json=body, timeout=60).json()
    (given, *_) = answer["choices"][0]["message"]["annotations"]
    shown = json.loads(block.text)
    assert given.keys() == shown.keys()
    assert given["url_citation"].keys() == shown["url_citation"].keys()
    assert all(given["url_citation"][key] == given[key] for key in given["url_citation"])


@pytest.mark.clients
@pytest.mark.parametrize(("kind", "environment"), [("openai", "openai3"), ("langchain", "langchain")])
def test_sdk_blocks(kind, environment, demo_url):
    (block,) = [block for block in ALL if block.kind == kind]
    script = block.text.replace(BASE_URL, demo_url)
    python = client_python(environment)
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert "hello world" in done.stdout


@pytest.mark.clients
def test_the_configuration_of_codex(demo_url, tmp_path):
    (block,) = [block for block in ALL if block.kind == "codex"]
    (tmp_path / "config.toml").write_text(block.text.replace(BASE_URL, demo_url))
    run = codex_exec(client_node(), tmp_path, ["hello world"])
    assert run.code == 0, run
    assert "hello world" in run.text


@pytest.mark.clients
def test_the_command_of_claude_code(demo_url, tmp_path):
    (block,) = [block for block in ALL if block.kind == "claude"]
    script = f"{block.text.strip().replace(BASE_URL, demo_url)} -p 'hello world'"
    (tmp_path / "claude").symlink_to(client_claude(CLAUDE[0]))
    environment = {**client_environment(), **QUIET, "HOME": str(tmp_path)}
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    given = {"cwd": tmp_path, "env": environment, "stdin": subprocess.DEVNULL}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=120, **given)
    assert "hello world" in done.stdout


@pytest.mark.parametrize("block", [*_of("serve"), *_of("simulator")])
def test_commands_that_stay_up(block: Block, tmp_path):
    (wanted,) = re.findall(r"--port (\d+)", block.text)
    port = free_port()
    script = block.text.replace(f"--port {wanted}", f"--port {port}").replace("gptmock ", f"exec {CONSOLE_SCRIPT} ", 1)
    script = re.sub(r"^((?:\w+=\S+ )+)exec (.*)$", r"export \1\nexec \2", script)
    process = subprocess.Popen(
        ["bash", "-c", script], env=plain_environment(GPTMOCK_HOME=str(tmp_path)), start_new_session=True
    )
    try:
        _until_healthy(f"http://127.0.0.1:{port}/health")
    finally:
        process.terminate()
        assert process.wait(30) == 0


def _until_healthy(url: str, *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url).status_code == 200:
                return
        assert time.monotonic() < deadline, f"{url} did not answer"
        time.sleep(0.1)


# --- From a clean clone --------------------------------------------------------------------


@pytest.mark.clients
@pytest.mark.skipif(shutil.which("git") is None, reason="a clone needs git")
def test_the_first_command_from_a_clean_clone(tmp_path):
    """Nothing but Python: the command builds an environment, installs, and answers the line that it printed."""
    (block,) = [block for block in ALL if block.kind == "clean-clone"]
    clone = tmp_path / "gptmock"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    command = block.text.strip().replace("python3", sys.executable, 1)
    with demo(["bash", "-c", command], clone) as (url, printed):
        (curl,) = [line for line in printed.split("\n") if line.startswith("curl ")]
        assert url in curl
        whole = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, check=True, timeout=60).stdout
        assert json.loads(whole)["choices"][0]["finish_reason"] == "stop"
        streamed = curl.replace('{"model"', '{"stream": true, "model"')
        frames = subprocess.run(["bash", "-c", streamed], capture_output=True, text=True, check=True, timeout=60).stdout
        assert frames.startswith("data: {")
        assert frames.endswith("data: [DONE]\n\n")
