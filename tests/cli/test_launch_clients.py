"""
``gptmock launch`` with real processes: stand-ins for the clients, which record what they were started with and ask the
server that they were told of, beside a server that runs and with one of their own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gptmock.cli import client_process
from gptmock.client_setups.agents import AGENTS, CLAUDE_SWITCHES
from tests.cli.inside import run as run_inside
from tests.cli.test_commands import run, running
from tests.cli.test_launch import program
from tests.harness import SimulatorProcess, get, processes_of, server_process, wait_until, write_login

API_KEY = "sk-for-launched-clients-0001"
CLIENT = """#!{python}
import json, os, pathlib, sys, time, urllib.request
record = pathlib.Path(os.environ["RECORD"])
environ = dict(os.environ)
url = os.environ.get("ANTHROPIC_BASE_URL", os.environ.get("ASK", ""))
answer = ""
if url:
    key = os.environ.get("ANTHROPIC_AUTH_TOKEN", "")
    body = json.dumps({{"model": os.environ["ANTHROPIC_MODEL"], "max_tokens": 99,
        "messages": [{{"role": "user", "content": "Hello"}}]}}).encode()
    request = urllib.request.Request(url + "/v1/messages", body,
        {{"authorization": "Bearer " + key, "content-type": "application/json"}})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
    try:
        answer = opener.open(request, timeout=60).read().decode()
    except urllib.error.HTTPError as error:
        answer = error.read().decode()
told = {{"arguments": sys.argv[1:], "environment": environ, "answer": answer, "pid": os.getpid()}}
for word in sys.argv[1:]:
    path = pathlib.Path(word.partition("=")[2] if word.startswith("--settings=") else word)
    if path.suffix == ".json" and path.is_absolute():
        told |= {{"settings": json.loads(path.read_text()), "settings_path": str(path)}}
document = json.dumps(told)
(record.parent / "part").write_text(document)
(record.parent / "part").rename(record)
if "WAIT" in os.environ:
    time.sleep(600)
sys.exit(int(os.environ.get("CODE", "0")))
"""


@dataclass(frozen=True)
class Place:
    """A home with stand-ins, and the variables that lead there."""

    home: Path
    variables: dict[str, str]

    def launch(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Inside the test process, where no server has to be started."""
        return run_inside(self.home, "launch", *arguments, **{**self.variables, **variables})

    @property
    def record(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.home / "record.json").read_text())
        return document


@pytest.fixture
def place(tmp_path: Path, issuer: dict[str, str]) -> Place:
    for setup in AGENTS:
        assert setup.command is not None
        program(tmp_path / "bin", setup.command, CLIENT.format(python=sys.executable))
    return Place(
        tmp_path,
        {
            **issuer,
            "HOME": str(tmp_path / "user"),
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "RECORD": str(tmp_path / "record.json"),
            "GPTMOCK_PORT": "1",
        },
    )


@pytest.fixture(scope="module")
def serving(played: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server that requires a key, as the variables of a command that is to find it."""
    home = tmp_path_factory.mktemp("serving")
    write_login(home, played.new_login())
    with server_process(home, played.base_url, workers=1, env={"GPTMOCK_API_KEY": API_KEY}) as server:
        yield {"GPTMOCK_PORT": server.base_url.rpartition(":")[2], "GPTMOCK_API_KEY": API_KEY}


# --- Beside a server -----------------------------------------------------------------------


def test_claude_beside_a_server(place: Place, serving: dict[str, str]):
    url = f"http://127.0.0.1:{serving['GPTMOCK_PORT']}"
    given = {**serving, "ANTHROPIC_API_KEY": "sk-of-another-account", "CODE": "7"}
    shown = place.launch("claude", "--model", "gpt-5.5", "--", "-p", "hi", "--model", "--", **given)
    assert (shown.returncode, shown.stderr) == (7, "")
    option, settings, *passed_on = place.record["arguments"]
    assert (option, passed_on) == ("--settings", ["-p", "hi", "--model", "--"])
    environment = place.record["environment"]
    # The settings of the user have precedence over variables, and these over both.
    told = json.loads(settings)
    assert told["env"].pop("ANTHROPIC_AUTH_TOKEN") == ""
    for name, value in told["env"].items():
        assert environment.get(name, "") == value
    # In the place of a token, which would be among the arguments.
    assert told["apiKeyHelper"] == "printenv GPTMOCK_API_KEY"
    assert environment["GPTMOCK_API_KEY"] == API_KEY
    assert API_KEY not in settings
    assert environment["ANTHROPIC_BASE_URL"] == url
    assert environment["ANTHROPIC_AUTH_TOKEN"] == API_KEY
    assert environment["ANTHROPIC_MODEL"] == environment["ANTHROPIC_DEFAULT_OPUS_MODEL"] == "gpt-5.5"
    assert environment["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "272000"
    assert "ANTHROPIC_API_KEY" not in environment
    assert json.loads(place.record["answer"])["type"] == "message"
    # Nothing of the user's was written.
    assert not (place.home / "user").exists()


def test_claude_stays_with_this_server_where_a_switch_names_another_provider(place: Place, serving: dict[str, str]):
    given = dict.fromkeys(CLAUDE_SWITCHES, "1")
    assert {f"CLAUDE_CODE_USE_{name}" for name in ("BEDROCK", "VERTEX", "FOUNDRY")} <= given.keys()
    assert place.launch("claude", **serving, **given).returncode == 0
    _, settings = place.record["arguments"]
    assert not given.keys() & place.record["environment"].keys()
    # For those of the user's own settings.
    assert {name: json.loads(settings)["env"].get(name) for name in given} == dict.fromkeys(given, "")


@pytest.mark.parametrize("form", ["words", "one word", "file"])
def test_settings_of_the_user_are_merged_and_what_reaches_this_server_wins(
    place: Place, serving: dict[str, str], form: str
):
    users = {
        "apiKeyHelper": "echo sk-other",
        "permissions": {"deny": ["Read"]},
        "env": {
            "ANTHROPIC_BASE_URL": "https://x.test",
            "CLAUDE_CODE_USE_VERTEX": "1",
            "MINE": "1",
            "NO_PROXY": "a.test",
        },
    }
    text = json.dumps(users)
    file = place.home / "mine.json"
    file.write_text(f"{text} // of the user")
    given = {"words": ["--settings", text], "one word": [f"--settings={text}"], "file": ["--settings", str(file)]}[form]
    shown = place.launch("claude", "--", "--tools", "Read", *given, "hi", "--", "--settings", **serving)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert place.record["arguments"][:2] == ["--tools", "Read"]
    assert place.record["arguments"][-3:] == ["hi", "--", "--settings"]
    assert text not in place.record["arguments"]
    settings = place.record["settings"]
    assert settings["permissions"] == users["permissions"]
    assert settings["apiKeyHelper"] == "printenv GPTMOCK_API_KEY"
    environment = settings["env"]
    assert environment["ANTHROPIC_BASE_URL"] == f"http://127.0.0.1:{serving['GPTMOCK_PORT']}"
    assert (environment["CLAUDE_CODE_USE_VERTEX"], environment["ANTHROPIC_AUTH_TOKEN"]) == ("", "")
    assert (environment["MINE"], environment["NO_PROXY"]) == ("1", "a.test,127.0.0.1,localhost")
    # It was for this run only.
    assert not Path(place.record["settings_path"]).exists()


def test_several_settings_of_the_user_are_one(place: Place, serving: dict[str, str]):
    given = ("--settings", '{"a": {"b": 1, "c": 1}}', '--settings={"a": {"c": 2}}')
    assert place.launch("claude", "--", *given, **serving).returncode == 0
    assert place.record["settings"]["a"] == {"b": 1, "c": 2}
    option, first, second = place.record["arguments"]
    assert (option, second) == ("--settings", f"--settings={first}")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--settings", "/nowhere/x.json"], "/nowhere/x.json of --settings cannot be read: No such file"),
        (["--settings={"], "the text of --settings is not JSON: it ends too early"),
        (["--settings", "list.json"], "list.json of --settings is not a JSON object"),
        (["--settings", "latin.json"], "latin.json of --settings is not JSON: it is not UTF-8"),
        (["--settings"], "--settings needs a value"),
        (["--settings", "--", "x"], "--settings needs a value"),
    ],
)
def test_settings_of_the_user_that_cannot_be_read_are_refused(
    place: Place, serving: dict[str, str], given: list[str], says: str
):
    (place.home / "list.json").write_text("[]")
    (place.home / "latin.json").write_bytes(b'{"a": "\xe9"}')
    shown = place.launch("claude", "--", *given, **serving)
    (line,) = shown.stderr.splitlines()
    assert shown.returncode in (1, 2)
    assert says in line
    assert not (place.home / "record.json").exists()


def test_settings_of_an_administrator_have_precedence_and_that_is_said(
    place: Place, serving: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    managed, broken = place.home / "managed-settings.json", place.home / "broken.json"
    broken.write_text("{")
    monkeypatch.setattr(client_process, "_MANAGED", {"claude": (str(broken), str(managed), "/nowhere.json")})
    for text, told in (
        ('{"permissions": {}, "env": {"OTHER": "1"}} // nothing of ours', ""),
        ('{"env": {"ANTHROPIC_AUTH_TOKEN": "sk-x"}, "apiKeyHelper": "a"}', "ANTHROPIC_AUTH_TOKEN, apiKeyHelper"),
        ('{"env": {"ANTHROPIC_BASE_URL": "https://x.test"}}', "ANTHROPIC_BASE_URL"),
    ):
        managed.write_text(text)
        shown = place.launch("claude", **serving)
        assert shown.returncode == 0
        assert (f"{managed} sets {told} and has precedence" in shown.stderr) == bool(told)
        assert "sk-x" not in shown.stderr
        assert str(broken) not in shown.stderr


def test_codex_gets_a_provider_for_this_run(place: Place, serving: dict[str, str]):
    assert place.launch("codex", "--", "exec", "hi", **serving).returncode == 0
    *options, verb, prompt = place.record["arguments"]
    assert (verb, prompt) == ("exec", "hi")
    assert set(options[::2]) == {"-c"}
    given = tomllib.loads("\n".join(options[1::2]))
    provider = given["model_providers"]["gptmock-launch"]
    assert given["model_provider"] == "gptmock-launch"
    assert provider["base_url"] == f"http://127.0.0.1:{serving['GPTMOCK_PORT']}/v1"
    assert place.record["environment"][provider["env_key"]] == API_KEY
    assert API_KEY not in "".join(options)


@pytest.mark.parametrize("name", ["claude", "codex", "opencode", "droid", "openclaw"])
def test_no_proxy_is_asked_for_the_server(place: Place, serving: dict[str, str], name: str):
    def told(**given: str) -> list[str]:
        shown = place.launch(name, "--yes", **{**serving, "HTTP_PROXY": "http://127.0.0.1:9", **given})
        assert shown.returncode == 0, shown.stderr
        return [place.record["environment"][variable] for variable in ("NO_PROXY", "no_proxy")]

    assert set(told()[0].split(",")) == {"localhost", "127.0.0.1"}
    # What is there is kept, also for programs that read the other variable only.
    assert told(NO_PROXY="a.test, .b.test,localhost") == ["a.test,.b.test,localhost,127.0.0.1"] * 2
    assert told(NO_PROXY="a.test", no_proxy="b.test") == [f"{one}.test,127.0.0.1,localhost" for one in "ab"]
    assert told(no_proxy="*") == ["*", "*"]


def test_a_server_at_another_address_is_among_the_hosts_without_a_proxy():
    for url, told in (
        ("https://box.test:8443/base", "box.test,localhost,127.0.0.1"),
        ("http://[::1]:8000", "::1,[::1],localhost,127.0.0.1"),
    ):
        assert client_process.without_proxy({}, url) == {"NO_PROXY": told, "no_proxy": told}


def test_opencode_gets_an_inline_configuration(place: Place, serving: dict[str, str]):
    assert place.launch("opencode", **serving).returncode == 0
    content = json.loads(place.record["environment"]["OPENCODE_CONFIG_CONTENT"])
    provider = content["provider"]["gptmock"]
    assert provider["options"]["baseURL"] == f"http://127.0.0.1:{serving['GPTMOCK_PORT']}/v1"
    assert provider["options"]["apiKey"] == "{env:GPTMOCK_API_KEY}"
    assert content["model"].partition("/")[2] in provider["models"]
    assert place.record["arguments"] == []


@pytest.mark.parametrize(("name", "arguments"), [("droid", []), ("openclaw", ["gateway"])])
def test_a_client_that_reads_only_its_file_is_configured_first(
    place: Place, serving: dict[str, str], name: str, arguments: list[str]
):
    refused = place.launch(name, **serving)
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert not (place.home / "record.json").exists()
    assert place.launch(name, "--yes", "--", "more", **serving).returncode == 0
    assert place.record["arguments"] == [*arguments, "more"]
    assert place.record["environment"]["GPTMOCK_API_KEY"] == API_KEY
    (written,) = (place.home / "user").glob(".*/*.json")
    assert f"http://127.0.0.1:{serving['GPTMOCK_PORT']}/v1" in written.read_text()
    # It is right already, so nobody is asked.
    assert place.launch(name, **serving).returncode == 0


@pytest.mark.parametrize(("key", "says"), [("", "requires a client key"), ("sk-wrong-0000", "refuses the key")])
def test_a_missing_or_wrong_key_is_said_before_the_client_starts(
    place: Place, serving: dict[str, str], key: str, says: str
):
    shown = place.launch("claude", **{**serving, "GPTMOCK_API_KEY": key})
    (line,) = shown.stderr.splitlines()
    assert shown.returncode == 1
    assert says in line
    assert "GPTMOCK_API_KEY" in line
    assert "sk-wrong" not in line
    assert not (place.home / "record.json").exists()


def test_a_client_that_is_not_installed(place: Place, serving: dict[str, str]):
    shown = place.launch("claude", **{**serving, "PATH": "/nowhere"})
    (line,) = shown.stderr.splitlines()
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "Claude Code is not installed" in line
    assert "npm install -g @anthropic-ai/claude-code" in line


def test_one_that_cannot_be_started_names_print(place: Place, serving: dict[str, str]):
    shown = place.launch("n8n", **serving)
    assert shown.returncode == 1
    assert "gptmock launch n8n --print" in shown.stderr


# --- With a server of its own --------------------------------------------------------------


def test_a_server_of_its_own_answers_and_is_gone_afterwards(place: Place, simulator: SimulatorProcess):
    write_login(place.home, simulator.new_login())
    shown = run(place.home, "launch", "claude", **place.variables, CODE="3")
    assert shown.returncode == 3, shown.stderr
    url = place.record["environment"]["ANTHROPIC_BASE_URL"]
    assert f"no server answers, so one is started at {url}" in shown.stderr
    log = place.home / "launch" / "server.log"
    assert str(log) in shown.stderr
    assert json.loads(place.record["answer"])["type"] == "message"
    assert "turn" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Exception, match="refused"):
        get(f"{url}/health")


def test_a_killed_launcher_takes_the_server_with_it(place: Place):
    variables = {**place.variables, "WAIT": "1", "GPTMOCK_HOME": str(place.home)}
    with running(place.home, "launch", "claude", **variables) as (process, _, mark):
        wait_until((place.home / "record.json").exists, seconds=60)
        client = place.record["pid"]
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
        wait_until(lambda: processes_of(mark) <= {client}, seconds=30)
        # The client stays at the terminal.
        os.kill(client, signal.SIGKILL)
        wait_until(lambda: not processes_of(mark), seconds=30)


def test_the_reason_is_said_and_ctrl_c_is_for_the_client_and_a_stop_for_both(place: Place):
    variables = {**place.variables, "WAIT": "1", "GPTMOCK_HOME": str(place.home)}
    with running(place.home, "launch", "claude", **variables) as (process, output, mark):
        wait_until((place.home / "record.json").exists, seconds=60)
        assert "is not ready: " in output.read_text()
        assert "gptmock login" in json.loads(place.record["answer"])["error"]["message"]
        process.send_signal(signal.SIGINT)
        assert get(f"{place.record['environment']['ANTHROPIC_BASE_URL']}/health").status_code == 200
        assert process.poll() is None
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
        wait_until(lambda: not processes_of(mark), seconds=30)
