"""``gptmock launch`` without a server: the list, the texts to copy and their JSON."""

from __future__ import annotations

import ast
import json
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from gptmock.client_setups.setup import KEY_VARIABLE, ServedModel, Snippet, Target
from gptmock.client_setups.table import SETUPS, setup_document
from tests.cli.inside import run
from tests.readme import blocks

AGENTS = ("claude", "codex", "opencode", "droid", "openclaw")
SECRET = "sk-a-secret-of-the-tests"
NOWHERE = {"GPTMOCK_PORT": "1"}


def target(*, needs_key: bool = False) -> Target:
    return Target(
        url="http://127.0.0.1:8000",
        model=ServedModel("gpt-6.2-sol", 500_000),
        small_model="gpt-6-luna",
        needs_key=needs_key,
    )


def check(snippet: Snippet) -> None:
    """That a text is what it says it is."""
    match snippet.language:
        case "json":
            json.loads(snippet.text)
        case "toml":
            tomllib.loads(snippet.text)
        case "yaml":
            yaml.safe_load(snippet.text)
        case "python":
            ast.parse(snippet.text)
        case "sh":
            subprocess.run(["bash", "-n", "-c", snippet.text], check=True, capture_output=True)


@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: setup.name)
def test_every_text_is_well_formed_and_names_the_server_and_the_key(setup: Any):
    for needs_key in (False, True):
        snippets = setup.snippets(target(needs_key=needs_key))
        texts = "\n".join(snippet.text for snippet in snippets)
        assert "127.0.0.1:8000" in texts or "host.docker.internal:8000" in texts
        # Zed derives the name of the variable from that of the provider.
        assert (KEY_VARIABLE in texts) is (needs_key or setup.name == "zed")
        for snippet in snippets:
            check(snippet)


def test_a_document_is_json_and_says_what_can_be_done():
    documents = [setup_document(setup, target()) for setup in SETUPS]
    assert json.loads(json.dumps(documents)) == documents
    assert {one["name"] for one in documents if one["launches"]} == set(AGENTS)
    assert {one["name"] for one in documents if one["configures"]} == {*AGENTS, "zed"}
    assert all(one["install"] and one["page"] for one in documents if one["launches"])


def test_alone_it_is_a_list_with_what_is_installed(tmp_path: Path):
    program(tmp_path / "bin", "codex")
    shown = run(tmp_path, "launch", PATH=str(tmp_path / "bin"), **NOWHERE)
    assert (shown.returncode, shown.stderr) == (0, "")
    states = {line.split()[0]: line for line in shown.stdout.splitlines()[1:]}
    assert list(states) == [setup.name for setup in SETUPS]
    assert states["codex"].endswith("  installed")
    assert states["claude"].endswith("not installed")
    assert states["n8n"].endswith("see --print")


def test_the_list_as_json(tmp_path: Path):
    shown = run(tmp_path, "launch", "--json", "--model", "gpt-6-luna", **NOWHERE)
    document = json.loads(shown.stdout)
    assert (document["url"], document["model"]) == ("http://127.0.0.1:1", "gpt-6-luna")
    assert document["context_tokens"] == 272_000
    assert [one["name"] for one in document["clients"]] == [setup.name for setup in SETUPS]


def test_print_shows_what_to_copy_and_never_the_key(tmp_path: Path):
    given = {**NOWHERE, "GPTMOCK_API_KEY": SECRET}
    for setup in SETUPS:
        for more in ((), ("--json",)):
            shown = run(tmp_path, "launch", setup.name, "--print", *more, **given)
            assert (shown.returncode, shown.stderr) == (0, ""), setup.name
            assert KEY_VARIABLE in shown.stdout
            assert SECRET not in shown.stdout


def test_claude_is_told_what_it_needs(tmp_path: Path):
    shown = run(tmp_path, "launch", "claude", "--print", "--model", "gpt-6.2-sol-high", **NOWHERE).stdout
    assert "env -u ANTHROPIC_API_KEY ANTHROPIC_BASE_URL=" in shown
    assert " ANTHROPIC_BASE_URL=http://127.0.0.1:1 " in shown
    assert "ANTHROPIC_MODEL=gpt-6.2-sol-high" in shown
    assert "ANTHROPIC_DEFAULT_HAIKU_MODEL=gpt-6-luna" in shown
    assert "CLAUDE_CODE_MAX_CONTEXT_TOKENS=500000" in shown


def parsed(language: str, text: str) -> object:
    """What a text says, however its lines are broken."""
    match language:
        case "toml":
            return tomllib.loads(text)
        case "sh":
            return shlex.split(text.replace("\\\n", ""), comments=True)
    return text.strip()


def test_the_readme_says_the_same():
    """Its blocks for a client are texts of the setups, and those of the setups that it should have are there."""
    texts = {
        (setup.name, snippet.title, needs_key): (snippet.language, parsed(snippet.language, snippet.text))
        for setup in SETUPS
        for needs_key in (False, True)
        for snippet in setup.snippets(target(needs_key=needs_key))
    }
    said = {block: (block.language, parsed(block.language, block.text)) for block in blocks()}
    signed_in = "~/.codex/config.toml, if you stay signed in with your own account"
    wanted = [(name, "shell", False) for name in ("claude", "curl", "ollama")]
    wanted += [("codex", "~/.codex/config.toml", False), ("codex", signed_in, False), ("codex", signed_in, True)]
    wanted += [("openai-python", "Python, pip install openai", False)]
    assert [place for place in wanted if texts[place] not in said.values()] == []
    of_clients = [block for block in said if block.kind in {"claude", "ollama", "openai"} or block.language == "toml"]
    assert [block.line for block in of_clients if said[block] not in texts.values()] == []


def test_an_unknown_client_is_wrong_usage_and_names_the_known_ones(tmp_path: Path):
    shown = run(tmp_path, "launch", "nonsense", **NOWHERE)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert all(setup.name in shown.stderr for setup in SETUPS)


def program(folder: Path, name: str, text: str = "#!/bin/sh\n") -> Path:
    """An executable file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path
