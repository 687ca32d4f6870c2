"""
The Codex CLI itself, as its users point it at gptmock: a custom provider in ``config.toml``. It speaks to an old model
with flat tools and to a new one with "responses lite", whose tools stand in an item of the input.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gptmock.server.context import ServerOptions
from gptmock.simulator.server import Simulator
from tests.clients.checks import Server
from tests.clients.codex import Run, codex_exec
from tests.clients.environments import Node
from tests.harness import SimulatorProcess, server_process, serving_simulator, write_login

pytestmark = pytest.mark.clients

OLD, NEW = "gpt-5.5", "gpt-6.2-sol"
MODEL_PATH = "/backend-api/codex/responses"
GREETING = "Hello from the simulator. Zażółć gęślą jaźń, 你好, 🙂!"
# Everything that would call somebody else is switched off, and nothing is asked twice.
CONFIG = """
model_provider = "gptmock"
check_for_update_on_startup = false
analytics = {{ enabled = false }}

[model_providers.gptmock]
name = "gptmock"
base_url = "{url}/v1"
env_key = "GPTMOCK_CLIENT_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
"""


@pytest.fixture
def codex(installed: Callable[[str], Path | Node], server: Server, tmp_path: Path) -> Callable[..., Run]:
    """Runs ``codex exec`` with a model and a prompt."""
    node = installed("node")
    assert isinstance(node, Node)
    (tmp_path / "config.toml").write_text(CONFIG.format(url=server.url))
    return lambda model, *prompt: codex_exec(
        node, tmp_path, ["--model", model, *prompt], GPTMOCK_CLIENT_KEY=server.api_key
    )


@pytest.fixture
def upstream(simulator: SimulatorProcess) -> Callable[[], list[dict[str, Any]]]:
    """The model calls since the test began, as the upstream received them."""
    simulator.reset()
    return lambda: simulator.requests(MODEL_PATH)


@pytest.mark.check(113)
@pytest.mark.parametrize("model", [OLD, NEW])
def test_a_text(codex, upstream, model):
    run = codex(model, "Please play scene:text")
    assert run.code == 0, run
    assert run.text == GREETING
    usage = run.events[-1]["usage"]
    assert usage["input_tokens"] > 0
    assert usage["output_tokens"] > 0
    (call,) = upstream()
    assert call["body"]["model"] == model
    assert call["body"]["stream"] is True
    assert call["body"]["store"] is False


@pytest.mark.parametrize("model", [OLD, NEW])
def test_what_it_wrote_arrives(codex, upstream, model):
    """Its own identity, its headers, and a body with nothing added, dropped or given another shape."""
    assert codex(model, "hello").text == "You said: hello"
    (call,) = upstream()
    headers, body = call["headers"], call["body"]
    assert headers["originator"] == "codex_exec"
    assert headers["user-agent"].startswith("codex_exec/")
    assert headers["session-id"] == headers["thread-id"] == headers["x-client-request-id"] == body["prompt_cache_key"]
    assert headers["x-codex-window-id"] == f"{headers['session-id']}:0"
    assert headers["x-codex-turn-metadata"]
    assert "client_metadata" in body
    assert "instructions" not in body
    assert body["text"] == {"verbosity": "low"}
    assert body["include"] == ["reasoning.encrypted_content"]
    if model == OLD:
        assert {"exec_command", "apply_patch"} <= {tool.get("name") for tool in body["tools"]}
        return
    assert headers["x-openai-internal-codex-responses-lite"] == "true"
    assert "tools" not in body
    first = body["input"][0]
    assert (first["type"], first["role"]) == ("additional_tools", "developer")
    assert {tool["type"] for tool in first["tools"]} == {"namespace"}
    assert body["reasoning"]["context"] == "all_turns"


@pytest.mark.parametrize(
    ("model", "tool", "kind"), [(OLD, "exec_command", "function_call"), (NEW, "exec", "custom_tool_call")]
)
def test_a_tool_round_trip(codex, upstream, model, tool, kind):
    """It runs what the model asks for in its sandbox, whatever comes of it, and reports."""
    run = codex(model, f"What does {tool} say?")
    assert run.code == 0, run
    assert run.text.startswith("The tools answered: ")
    first, second = (call["body"] for call in upstream())
    asked, answered = second["input"][-2:]
    assert (asked["type"], asked["name"]) == (kind, tool)
    assert answered["type"] == f"{kind}_output"
    assert asked["call_id"] == answered["call_id"]
    assert second["input"][: len(first["input"])] == first["input"]
    assert second["prompt_cache_key"] == first["prompt_cache_key"]


@pytest.mark.parametrize("model", [OLD, NEW])
def test_a_conversation_that_is_taken_up_again(codex, upstream, model):
    """The encrypted reasoning of the first turn goes up with the second."""
    first = codex(model, "Please play scene:reasoning")
    assert first.text == GREETING
    again = codex(model, "resume", first.events[0]["thread_id"], "and now?")
    assert again.text == "You said: and now?"
    items = upstream()[-1]["body"]["input"]
    (thought,) = [item for item in items if item["type"] == "reasoning"]
    assert thought["encrypted_content"]
    said = [part["text"] for item in items if item.get("role") == "assistant" for part in item["content"]]
    assert said == [GREETING]


@pytest.mark.check(26, 27, 28)
@pytest.mark.parametrize("model", [OLD, NEW])
@pytest.mark.parametrize(
    ("scene", "words"),
    [("400-detail", "Unsupported parameter"), ("429-usage", "hit your usage limit"), ("401-always", "login")],
)
def test_a_refusal_is_told(codex, upstream, model, scene, words):
    run = codex(model, f"Please play scene:{scene}")
    assert run.code == 1
    assert re.search(words, run.failure)
    assert len(upstream()) == (2 if scene == "401-always" else 1)


@pytest.mark.check(35)
@pytest.mark.parametrize("scene", ["failed-mid", "eof-mid", "abort-mid"])
def test_a_broken_stream_is_told(codex, upstream, scene):
    run = codex(OLD, f"Please play scene:{scene}")
    assert run.code == 1
    assert run.failure
    assert len(upstream()) == 1


@pytest.mark.check(82)
def test_an_unknown_model_is_told(codex, upstream):
    run = codex("gpt-4-classic", "hello")
    assert run.code == 1
    assert "gpt-4-classic" in run.failure
    assert len(upstream()) == 1


@pytest.mark.check(24, 99)
def test_it_takes_the_server_for_ollama(installed, simulator, tmp_path):
    """``codex --oss``: asks for version, models and the model itself, then speaks Responses. It has no key to send."""
    node = installed("node")
    home, codex_home = tmp_path / "home", tmp_path / "codex"
    codex_home.mkdir()
    (codex_home / "config.toml").write_text("check_for_update_on_startup = false\nanalytics = { enabled = false }\n")
    write_login(home, simulator.new_login())
    with server_process(home, simulator.base_url, workers=1) as running:
        arguments = ["--oss", "--local-provider", "ollama", "--model", NEW, "hello"]
        run = codex_exec(node, codex_home, arguments, CODEX_OSS_BASE_URL=f"{running.base_url}/v1")
    assert run.code == 0, run
    assert run.text == "You said: hello"


@pytest.mark.check(358)
async def test_silence_of_the_upstream_does_not_end_a_turn(installed: Callable[[str], Path | Node], tmp_path: Path):
    """Codex's idle watch is set to 3 s, and its upstream is silent for 8: comments alone make it ask again."""
    node, home, client_home = installed("node"), tmp_path / "server", tmp_path / "client"
    assert isinstance(node, Node)
    client_home.mkdir()
    async with Simulator() as simulator:
        write_login(home, simulator.state.logins.issue().auth_json())
        options = ServerOptions(heartbeat_seconds=0.5, keepalive_seconds=1.0)
        async with serving_simulator(simulator, home, options=options) as url:
            config = CONFIG.format(url=url).replace("stream_max_retries = 0", "stream_max_retries = 3")
            (client_home / "config.toml").write_text(f"{config}stream_idle_timeout_ms = 3000\n")
            prompt = ["--model", OLD, "Please play scene:silent:8"]
            run = await asyncio.to_thread(codex_exec, node, client_home, prompt, GPTMOCK_CLIENT_KEY="anything")
        assert run.code == 0, run
        assert len(simulator.state.model_calls()) == 1


@pytest.mark.check(350)
async def test_a_signed_in_client_without_a_key_is_refused_and_does_not_refresh_its_login(
    installed: Callable[[str], Path | Node], tmp_path: Path
):
    node, home, client_home = installed("node"), tmp_path / "server", tmp_path / "client"
    assert isinstance(node, Node)
    async with Simulator() as simulator, Simulator() as its_issuer:
        write_login(home, simulator.state.logins.issue().auth_json())
        write_login(client_home, its_issuer.state.logins.issue().auth_json())
        async with serving_simulator(simulator, home, api_key="sk-server-0123456789") as url:
            config = "check_for_update_on_startup = false\nanalytics = { enabled = false }\n"
            (client_home / "config.toml").write_text(f'openai_base_url = "{url}/v1"\n{config}')
            run = await asyncio.to_thread(
                codex_exec,
                node,
                client_home,
                ["--model", OLD, "hello"],
                CODEX_REFRESH_TOKEN_URL_OVERRIDE=f"{its_issuer.issuer_url}/oauth/token",
            )
        assert run.code != 0
        assert "env_http_headers" in run.failure, run
        assert simulator.state.model_calls() == []
        assert [one for one in its_issuer.state.requests if "oauth" in one.path] == []
