"""What the clients' environments are made of: exact versions, and for Node the bytes of every package."""

from __future__ import annotations

import json
import re

import pytest

from tests.clients.environments import HERE, PACKAGES

EXACT = re.compile(r"\d+\.\d+\.\d+(?:[-+.]\S+)?")
REQUIREMENTS = sorted((HERE / "requirements").glob("*.txt"))


@pytest.mark.parametrize("file", REQUIREMENTS, ids=lambda file: file.stem)
def test_requirements_are_exact(file):
    lines = file.read_text(encoding="utf-8").rstrip("\n").split("\n")
    assert [line for line in lines if not re.match(r"[A-Za-z0-9._-]+==[0-9][^ ]*( ; .+)?$", line)] == []


def test_each_generation_of_openai_is_there():
    versions = {
        file.stem: re.findall(r"^openai==(\d+)\.", file.read_text(encoding="utf-8"), re.MULTILINE)
        for file in REQUIREMENTS
    }
    assert [versions[name] for name in ("openai1", "openai2", "openai3")] == [["1"], ["2"], ["3"]]


def test_the_tokenizer_is_that_of_the_image():
    asked = (HERE / "requirements" / "tokens.txt").read_text(encoding="utf-8").strip()
    lock = (HERE.parents[1] / "deploy" / "tokens.lock").read_text(encoding="utf-8")
    assert re.findall(r"^(\S+==\S+)", lock, re.MULTILINE) == [asked]


def test_node_packages_are_exact():
    asked = json.loads((PACKAGES / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert [name for name, version in asked.items() if not EXACT.fullmatch(version)] == []
    wanted = {"@ai-sdk/openai", "@ai-sdk/openai-compatible", "@openai/codex", "ai", "ollama", "openai"}
    assert wanted <= asked.keys()


def test_the_lock_knows_the_bytes_of_every_package_and_no_address():
    text = (PACKAGES / "package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(text)["packages"]
    root = packages.pop("")
    assert root["dependencies"] == json.loads((PACKAGES / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert [name for name, package in packages.items() if not package["integrity"].startswith("sha512-")] == []
    assert [name for name, package in packages.items() if not EXACT.fullmatch(package["version"])] == []
    # Whoever installs has a registry of their own; npm asks it where a package is.
    assert "resolved" not in text
