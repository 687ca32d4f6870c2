"""
Claude Code itself, as its users point it at gptmock: by ``ANTHROPIC_BASE_URL``. A recent version, and an older one that
offers its tools in another way.
"""

from __future__ import annotations

import base64
import contextlib
import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.checks import Server
from tests.clients.claude_code import Run, claude
from tests.clients.environments import CLAUDE
from tests.harness import SimulatorProcess, get, server_process, wait_until
from tests.timing import generous

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


@pytest.fixture(params=CLAUDE)
def version(request: pytest.FixtureRequest) -> str:
    """Each version of Claude Code, for the tests that name it or ``run``."""
    return str(request.param)


@pytest.fixture
def run(installed: Callable[[str], Path], version: str, server: Server, folder: Path) -> Callable[..., Run]:
    """Runs a version with a prompt and what else ``claude`` takes."""

    def start(*arguments: str, **options: Any) -> Run:
        options = {"ANTHROPIC_AUTH_TOKEN": server.api_key, **options}
        return claude(installed(version), server.url, folder, arguments, **options)

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
def test_it_reads_a_file_and_goes_on(run, upstream):
    done = run("Please use the Read tool")
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
    assert f"data:image/png;base64,{PIXEL}" in found
    assert "Error: " in found
    # The older version answers the call with a line, and has the document beside the results.
    assert f"data:application/pdf;base64,{base64.b64encode(PDF).decode()}" in json.dumps(last["input"])
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


@pytest.mark.check(204, 301)
@pytest.mark.parametrize("version", CLAUDE[:1], indirect=True)
def test_its_web_search(run, upstream, simulator):
    """The tool is offered after it was searched for."""
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


@pytest.mark.check(204)
@pytest.mark.parametrize("version", CLAUDE[1:], indirect=True)
def test_its_web_search_where_all_tools_are_offered_at_once(run, upstream):
    done = run(call("WebSearch", query="search gptmock"))
    assert done.code == 0, done
    assert "https://example.test/source" in done.text
    first, *others = upstream()
    assert {"WebSearch", "Read"} < {tool["name"] for tool in first["tools"]}
    assert [body["tools"] for body in others] == [[{"type": "web_search"}], first["tools"]]


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


@pytest.mark.check(206)
def test_the_title_of_a_session(run, upstream):
    """As an editor asks for it; at its screen Claude Code asks by itself."""
    done = run(requests=[{"subtype": "generate_session_title", "description": "Mend the clock of the tower"}])
    assert done.code == 0, done
    assert done.responses == [{"title": "Paris"}], "the simulator's answer to any schema with one text"
    (body,) = upstream()
    assert "Mend the clock of the tower" in json.dumps(body["input"])
    form = body["text"]["format"]
    assert (form["type"], form["strict"], form["schema"]["required"]) == ("json_schema", True, ["title"])


@pytest.mark.check(310)
def test_it_discovers_the_models(run, folder):
    """It keeps what it found for its next start."""
    # It discovers nothing where all traffic that is not needed is off; nobody else can be reached.
    given = {"CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": ""}
    given |= {"HTTPS_PROXY": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "127.0.0.1"}
    done = run(prompts=["Hello", "And now?"], **given)
    assert done.code == 0, done
    kept = json.loads((folder / ".claude" / "cache" / "gateway-models.json").read_text())["models"]
    assert {"id": "claude-gpt-6.2-sol", "display_name": "GPT-6.2-Sol"} in kept
    again = run(requests=[{"subtype": "initialize"}], **given)
    offered = {model["value"] for model in again.responses[0]["models"]}
    assert {model["id"] for model in kept} <= offered
    assert run("Hello", "--model", "claude-gpt-5.5").code == 0


@pytest.mark.check(208)
def test_429_then_success(run, upstream, simulator):
    simulator.scenes("429-burst")
    done = run("Hello")
    assert done.code == 0, done
    assert "You said" in done.text
    assert len(upstream()) == 2


@pytest.mark.check(209)
def test_a_missing_login_is_shown_after_one_request(installed, version, simulator, folder, tmp_path_factory):
    with server_process(tmp_path_factory.mktemp("nobody"), simulator.base_url, workers=1, wait_ready=False) as server:
        wait_until(lambda: is_answering(server.base_url))
        done = claude(installed(version), server.base_url, folder, ["Hello"], ANTHROPIC_AUTH_TOKEN="x")
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
@pytest.mark.parametrize("scene", ["eof-first", "eof-mid", "failed-mid:rate_limit_exceeded"])
def test_a_cut_is_asked_again(run, upstream, simulator, scene):
    simulator.scenes(scene)
    done = run("Hello")
    assert done.code == 0, done
    assert "You said" in done.text
    assert len(upstream()) == 2


@pytest.mark.alone
@pytest.mark.check(305)
def test_a_wrong_key_ends_it_at_once(run, upstream, simulator):
    """Within 3 s: it takes as long as an answer, about 1 s; a client that repeats it pauses for longer each time."""
    begun = time.monotonic()
    assert run("Hello").code == 0
    usual_seconds = time.monotonic() - begun
    simulator.reset()
    begun = time.monotonic()
    done = run("Hello", ANTHROPIC_AUTH_TOKEN="sk-wrong")
    assert time.monotonic() - begun < generous(usual_seconds)
    assert done.code != 0
    assert "Incorrect API key" in done.text
    assert upstream() == []
