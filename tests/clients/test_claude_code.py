"""
Claude Code itself, as its users point it at gptmock: by ``ANTHROPIC_BASE_URL``. A recent version, and an older one that
offers its tools in another way.
"""

from __future__ import annotations

import base64
import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.checks import Server
from tests.clients.claude_code import Run, claude
from tests.clients.environments import CLAUDE
from tests.harness import SimulatorProcess, get, server_process, wait_until

pytestmark = pytest.mark.clients

MODEL_PATH = "/backend-api/codex/responses"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
PDF += b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of Claude Code, with files to read."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "README.md").write_text("The secret word is marmalade.\n")
    (work / "pixel.png").write_bytes(base64.b64decode(PIXEL))
    (work / "one.pdf").write_bytes(PDF)
    return tmp_path


@pytest.fixture
def run(installed: Callable[[str], Path], server: Server, folder: Path) -> Callable[..., Run]:
    """Runs a version with a prompt and options."""

    def start(*arguments: str, version: str = CLAUDE[0], prompts: Sequence[str] = (), **variables: str) -> Run:
        variables = {"ANTHROPIC_AUTH_TOKEN": server.api_key, **variables}
        return claude(installed(version), server.url, folder, arguments, prompts=prompts, **variables)

    return start


@pytest.fixture
def upstream(simulator: SimulatorProcess) -> Callable[[], list[dict[str, Any]]]:
    """The bodies of the model calls since the test began, as the upstream received them."""
    simulator.reset()
    return lambda: [call["body"] for call in simulator.requests(MODEL_PATH)]


def outputs(body: dict[str, Any]) -> list[Any]:
    return [item["output"] for item in body["input"] if item["type"] == "function_call_output"]


def is_answering(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return get(f"{url}/health").status_code == 200
    return False


def call(name: str, **arguments: Any) -> str:
    """A call that the simulator makes when it is in the prompt."""
    return f"call:{name}{json.dumps(arguments)}"


@pytest.mark.check(200, 201, 218, 232, 318)
@pytest.mark.parametrize("version", CLAUDE)
def test_it_reads_a_file_and_goes_on(run, upstream, version):
    done = run("Please use the Read tool", version=version)
    assert done.code == 0, done
    assert "The secret word is marmalade." in done.text
    first, second = upstream()
    assert first["model"] == second["model"] == "gpt-6.2-sol"
    assert first["prompt_cache_key"] == second["prompt_cache_key"]
    assert "x-anthropic-billing-header" not in json.dumps([first, second])
    assert second["input"][: len(first["input"])] == first["input"]
    assert (second["instructions"], second["tools"]) == (first["instructions"], first["tools"])


@pytest.mark.check(202, 203)
def test_parallel_reads_of_text_image_and_nothing(run, upstream, folder):
    names = ("README.md", "pixel.png", "missing.txt", "one.pdf")
    done = run(" ".join(call("Read", file_path=str(folder / "work" / name)) for name in names))
    assert done.code == 0, done
    assert len(done.blocks("assistant", "tool_use")) == 4
    last = upstream()[-1]
    found = json.dumps(outputs(last))
    assert len(outputs(last)) == 4
    assert "marmalade" in found
    assert "data:image/png;base64," in found
    assert "Error: " in found
    calls = [item["call_id"] for item in last["input"] if item["type"] == "function_call"]
    answered = [item["call_id"] for item in last["input"] if item["type"] == "function_call_output"]
    assert sorted(calls) == sorted(answered)


@pytest.mark.check(207, 312)
def test_thinking_comes_back_over_two_turns(run, upstream):
    done = run("Please play scene:sealed and use the Read tool")
    assert done.code == 0, done
    assert "marmalade" in done.text
    again = run("And now?", "--continue")
    assert again.code == 0, again
    bodies = upstream()
    last = bodies[-1]
    sealed = [item for item in last["input"] if item["type"] == "reasoning"]
    assert sealed
    assert all(item["encrypted_content"].startswith("gAAAA") for item in sealed)
    assert bodies[1]["input"] == last["input"][: len(bodies[1]["input"])]


@pytest.mark.check(204)
def test_its_web_search(run, upstream, simulator):
    done = run(call("ToolSearch", query="select:WebSearch", max_results=3))
    assert done.code == 0, done
    bodies = upstream()
    assert "WebSearch" not in [tool.get("name") for tool in bodies[0]["tools"]]
    assert "DeferredToolPlaceholder" not in json.dumps([body["tools"] for body in bodies])
    assert bodies[1]["tools"][-1]["name"] == "WebSearch"
    assert bodies[1]["tools"][:-1] == bodies[0]["tools"]
    assert "Loaded: WebSearch" in outputs(bodies[1])
    simulator.reset()
    again = run(call("WebSearch", query="search gptmock"), "--continue")
    assert again.code == 0, again
    assert "https://example.test/source" in again.text
    searched = [body for body in upstream() if body["tools"] == [{"type": "web_search"}]]
    assert len(searched) == 1


@pytest.mark.check(205)
def test_sub_agents_are_conversations_of_their_own(run, upstream):
    """One below another: three conversations, which are one session."""
    given = {"description": "d", "subagent_type": "general-purpose", "run_in_background": False}
    done = run(call("Agent", **given, prompt=call("Agent", **given, prompt="Say hello")))
    assert done.code == 0, done
    bodies = upstream()
    keys = [body["prompt_cache_key"] for body in bodies]
    assert len(set(keys)) == 3
    assert keys == keys[::-1], "each agent goes on with its own key"
    assert len(keys) == 5


@pytest.mark.check(205, 218, 303)
def test_a_session_of_ten_turns_could_read_most_of_it_from_a_cache(run, upstream, folder, capsys):
    """Files are read, some at once, and one turn has an agent below it; each agent has its own prefix."""
    work = folder / "work"
    agent = {"description": "d", "subagent_type": "general-purpose", "run_in_background": False}
    read = call("Read", file_path=str(work / "README.md"))
    turns = [f"Turn {number}: {read}" if number % 2 else f"Turn {number}: go on" for number in range(8)]
    turns += [call("Agent", **agent, prompt=f"{read} {call('Bash', command='ls', description='d')}"), f"{read} {read}"]
    done = run(prompts=turns)
    assert done.code == 0, done
    agents: dict[str, list[dict[str, Any]]] = {}
    for body in upstream():
        agents.setdefault(body["prompt_cache_key"], []).append(body)
    assert [len(bodies) for bodies in agents.values()] == [16, 2]
    whole = cached = 0
    for bodies in agents.values():
        for before, after in pairwise(bodies):
            first, second = cacheable(before), cacheable(after)
            assert second.startswith(first[:-1]), "the common part is byte-equal"
            whole, cached = whole + len(second), cached + len(first)
    with capsys.disabled():
        sys.stdout.write(f"\nclaude code, ten turns: a cache could have read {cached / whole:.1%} of what was sent\n")
    assert cached / whole > 0.95


def cacheable(body: dict[str, Any]) -> str:
    """What a cache sees of a request, in the order in which the model reads it."""
    return json.dumps([body["instructions"], body["tools"], body["input"]])[:-1]


@pytest.mark.check(206)
def test_structured_output(run):
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    done = run(call("StructuredOutput", city="Oslo"), "--json-schema", json.dumps(schema))
    assert done.code == 0, done
    assert done.result["structured_output"] == {"city": "Oslo"}


@pytest.mark.check(208)
def test_429_then_success(run, upstream, simulator):
    simulator.scenes("429-burst")
    done = run("Hello")
    assert done.code == 0, done
    assert "You said" in done.text
    assert len(upstream()) == 2


@pytest.mark.check(209)
def test_a_missing_login_is_shown_after_one_request(installed, simulator, folder, tmp_path_factory):
    with server_process(tmp_path_factory.mktemp("nobody"), simulator.base_url, workers=1, wait_ready=False) as server:
        wait_until(lambda: is_answering(server.base_url))
        done = claude(installed(CLAUDE[0]), server.base_url, folder, ["Hello"], ANTHROPIC_AUTH_TOKEN="x")
        assert done.code != 0
        assert "gptmock login" in done.text
        assert len(server.logs("turn")) == 1


@pytest.mark.check(210)
def test_a_prompt_that_is_too_long(run, upstream, simulator):
    simulator.scenes("failed-first:context_length_exceeded")
    done = run("Hello")
    assert done.code != 0
    assert "too long" in done.text.lower()
    assert len(upstream()) == 1


@pytest.mark.check(211, 314)
@pytest.mark.parametrize("scene", ["eof-mid", "failed-mid:rate_limit_exceeded"])
def test_a_cut_is_asked_again_without_a_stream(run, upstream, simulator, scene):
    simulator.scenes(scene)
    done = run("Hello")
    assert done.code == 0, done
    assert "You said" in done.text
    assert len(upstream()) == 2


@pytest.mark.check(305)
def test_a_wrong_key_ends_it_at_once(run, upstream):
    done = run("Hello", ANTHROPIC_AUTH_TOKEN="sk-wrong")
    assert done.code != 0
    assert "Incorrect API key" in done.text
    assert done.result["duration_ms"] < 15_000
    assert upstream() == []
