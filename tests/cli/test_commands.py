from __future__ import annotations

import argparse
import base64
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gptmock import __version__
from gptmock.cli import full_parser
from gptmock.cli.completion import levels_of
from gptmock.cli.options import serve_flags
from gptmock.cli.serve import prepare as prepare_serve
from gptmock.settings import Settings
from gptmock.simulator.accounts import TokenRegistry
from gptmock.simulator.options import SimulatorOptions
from tests.cli.inside import run as run_inside
from tests.harness import (
    CONSOLE_SCRIPT,
    MARK,
    START_SECONDS,
    STOP_SECONDS,
    end_tree,
    get,
    new_mark,
    plain_environment,
    processes_of,
    server_process,
    simulator_process,
    wait_until,
    write_login,
)
from tests.ports import free_port

COMMANDS = (
    "serve",
    "reload",
    "demo",
    "launch",
    "login",
    "logout",
    "accounts",
    "info",
    "usage",
    "doctor",
    "store",
    "simulator",
    "completion",
)
BOOK = TokenRegistry(SimulatorOptions)


def run(directory: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The console script to its end, in a directory and with a home of its own."""
    variables = {"GPTMOCK_HOME": str(directory), **variables}
    return subprocess.run(
        [CONSOLE_SCRIPT, *arguments],
        env=plain_environment(**variables),
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def runner(command: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A server forks, which a test process with its threads and captured output must not do."""
    return run if command == "serve" else run_inside


@contextmanager
def running(directory: Path, *arguments: str, **variables: str) -> Iterator[tuple[subprocess.Popen[bytes], Path, str]]:
    """The console script while the context lasts: the process, its output so far, and the mark of its tree."""
    mark = new_mark()
    with tempfile.NamedTemporaryFile(prefix="gptmock-test-") as output:
        process = subprocess.Popen(
            [CONSOLE_SCRIPT, *arguments],
            env=plain_environment(**{MARK: mark, "TMPDIR": str(directory), **variables}),
            cwd=directory,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process, Path(output.name), mark
        finally:
            end_tree(process, mark)


# --- Words ---------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(tmp_path: Path, command: str):
    shown = run(tmp_path, command, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "example:" in shown.stdout
    assert f"gptmock {command}" in shown.stdout.partition("example:")[2]


def test_every_help_fits_80_columns(tmp_path: Path):
    for level in levels_of(full_parser()):
        shown = run_inside(tmp_path, *level.path, "--help", COLUMNS="80")
        assert shown.returncode == 0
        lines = shown.stdout.split("\n")
        assert [line for line in lines if len(line) > 79] == [], level.path
        # A sentence says what the command does.
        assert re.search(r"^[A-Z].*\.$", shown.stdout, re.MULTILINE), level.path


def test_every_option_and_argument_has_a_help():
    def silent(parser: argparse.ArgumentParser) -> list[str]:
        found = []
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                found += [one for child in action.choices.values() for one in silent(child)]
            elif not action.help:
                found.append(f"{parser.prog} {action.dest}")
        return found

    assert silent(full_parser()) == []


def test_without_a_command_the_commands_are_shown(tmp_path: Path):
    for arguments in ((), ("--help",)):
        shown = run_inside(tmp_path, *arguments)
        assert shown.returncode == 0
        assert all(command in shown.stdout for command in COMMANDS)
        assert "example:" in shown.stdout


def test_the_version(tmp_path: Path):
    shown = run(tmp_path, "--version")
    assert (shown.returncode, shown.stdout) == (0, f"gptmock {__version__}\n")


def test_the_package_is_the_command(tmp_path: Path):
    shown = subprocess.run(
        [sys.executable, "-m", "gptmock", "--version"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert shown.stdout == f"gptmock {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("serve", "--nonsense"), ("info", "extra"), ("simulator", "--port", "x")]
)
def test_wrong_usage_is_exit_code_2_and_no_traceback(tmp_path: Path, arguments: tuple[str, ...]):
    shown = run_inside(tmp_path, *arguments)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "Traceback" not in shown.stderr


# --- serve ---------------------------------------------------------------------------------


def test_wrong_settings_are_all_listed_and_exit_code_2(tmp_path: Path):
    shown = run(
        tmp_path,
        "serve",
        "--port",
        "99999",
        "--workers",
        "0",
        "--reasoning-effort",
        "huge",
        GPTMOCK_ISSUER="http://x.test",
    )
    assert (shown.returncode, shown.stdout) == (2, "")
    lines = shown.stderr.splitlines()
    assert all(line.startswith("gptmock: GPTMOCK_") for line in lines)
    for name in ("PORT", "WORKERS", "REASONING_EFFORT", "ISSUER"):
        assert f"GPTMOCK_{name}" in shown.stderr


def test_every_flag_arrives_in_the_settings():
    parser = argparse.ArgumentParser()
    prepare_serve(parser)
    given = {action.dest: action for action in parser._actions if action.option_strings and action.dest != "help"}
    words = {name: action.option_strings[0] + ("=1" if action.nargs is None else "") for name, action in given.items()}
    flags = serve_flags(parser.parse_args(list(words.values())))
    assert {name for name, value in flags.items() if value is not None} == given.keys()
    assert given.keys() <= Settings.model_fields.keys()


def test_beyond_loopback_without_a_key_is_exit_code_2(tmp_path: Path):
    shown = run(tmp_path, "serve", "--host", "0.0.0.0")
    (line,) = shown.stderr.splitlines()
    assert shown.returncode == 2
    assert "GPTMOCK_API_KEY" in line
    assert "--allow-unauthenticated" in line


def test_a_port_that_a_server_of_ours_has_is_said_to_be_that(tmp_path: Path):
    # The simulator's /health has the same words.
    with simulator_process() as running:
        shown = runner("serve")(tmp_path, "serve", "--port", running.base_url.rpartition(":")[2])
    (line,) = shown.stderr.splitlines()
    assert shown.returncode == 1
    assert re.match(r"gptmock: port \d+ on 127\.0\.0\.1 is served by gptmock \S+ already\. Use that server, or", line)


@pytest.mark.parametrize("port", ["x", "-1", "65536", "80.5", "²", "99999999999999999999"])
def test_a_wrong_port_is_told_in_our_words(tmp_path: Path, port: str):
    shown = runner("serve")(tmp_path, "serve", f"--port={port}", "--workers", "x")
    assert shown.returncode == 2
    assert "GPTMOCK_PORT (given as --port): must be a port number from 0 to 65535" in shown.stderr
    assert "Input should" not in shown.stderr


def test_a_port_beside_a_socket_has_no_effect_and_that_is_said(tmp_path: Path):
    with tempfile.TemporaryDirectory(prefix="gm") as folder, simulator_process() as upstream:
        path = f"{folder}/s"
        with server_process(tmp_path, upstream.base_url, args=["--unix-socket", path], wait_ready=False) as server:
            wait_until(lambda: "serves http at the socket" in server.text(), seconds=START_SECONDS)
            said = [line for line in server.text().splitlines() if "--port" in line]
    assert said == [f"gptmock: warning: --port has no effect, because the server listens at the socket {path}."]


@pytest.mark.parametrize("command", ["serve", "simulator", "demo"])
def test_a_port_in_use_is_one_clear_line_and_exit_code_1(tmp_path: Path, command: str):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        shown = runner(command)(tmp_path, command, "--port", str(taken.getsockname()[1]))
    (line,) = shown.stderr.splitlines()
    assert shown.returncode == 1
    assert re.match(r"gptmock: port \d+ on 127\.0\.0\.1 is in use", line)
    assert "--port" in line


def test_a_dotenv_may_not_redirect_tokens(tmp_path: Path):
    (tmp_path / ".env").write_text("GPTMOCK_UPSTREAM_URL=https://evil.example.test\n")
    shown = run(tmp_path, "serve")
    assert shown.returncode == 2
    assert "must not be set in .env" in shown.stderr


# --- Stores and keys -----------------------------------------------------------------------


@pytest.mark.parametrize("command", ["info", "serve"])
@pytest.mark.parametrize("key", ["c2hvcnQ=", "planted and not base64"])
def test_a_key_that_must_not_be_used_is_wrong_usage_and_is_not_shown(tmp_path: Path, command: str, key: str):
    shown = runner(command)(tmp_path, command, GPTMOCK_ENCRYPTION_KEYS=key, GPTMOCK_PORT=str(free_port()))
    (line,) = shown.stderr.splitlines()
    assert (shown.returncode, shown.stdout) == (2, "")
    assert line.startswith("gptmock: GPTMOCK_ENCRYPTION_KEYS: ")
    assert key not in line


def test_another_key_than_the_one_of_the_store_is_wrong_usage(tmp_path: Path):
    write_login(tmp_path, BOOK.issue().auth_json())
    assert run_inside(tmp_path, "info", "--offline").returncode == 0
    key = base64.b64encode(os.urandom(32)).decode()
    for command in ("info", "serve"):
        shown = runner(command)(tmp_path, command, GPTMOCK_ENCRYPTION_KEYS=key, GPTMOCK_PORT=str(free_port()))
        (line,) = shown.stderr.splitlines()
        assert (shown.returncode, shown.stdout) == (2, "")
        assert "Nothing was changed" in line
    assert len(json.loads(run_inside(tmp_path, "info", "--offline", "--json").stdout)["accounts"]) == 1


def test_info_of_a_store_that_is_away_is_one_clear_line(tmp_path: Path):
    key = base64.b64encode(os.urandom(32)).decode()
    url = f"redis://:planted@127.0.0.1:{free_port()}"
    shown = run_inside(tmp_path, "info", GPTMOCK_REDIS_URL=url, GPTMOCK_ENCRYPTION_KEYS=key)
    (line,) = shown.stderr.splitlines()
    assert shown.returncode == 1
    assert "Redis" in line
    assert "planted" not in line


def test_info_reads_the_same_settings_as_the_server(tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    write_login(elsewhere, BOOK.issue(email="ada@example.test").auth_json())
    assert (
        "ada@example.test"
        in run_inside(tmp_path, "info", "--offline", GPTMOCK_HOME="", CHATGPT_LOCAL_HOME=str(elsewhere)).stdout
    )
    assert run_inside(tmp_path, "info", GPTMOCK_PORT="x").returncode == 2


# --- simulator -----------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_simulator_plays_until_it_is_stopped(tmp_path: Path, number: signal.Signals):
    with running(tmp_path, "simulator", "--port", "0") as (process, output, _):
        wait_until(lambda: "issuer at" in output.read_text(), seconds=30)
        url = output.read_text().rpartition("issuer at ")[2].strip()
        assert get(f"{url}/health").json() == {"status": "ok"}
        process.send_signal(number)
        assert process.wait(STOP_SECONDS) == 0
        assert "Traceback" not in output.read_text()


# --- demo ----------------------------------------------------------------------------------


def curl_of(text: str) -> list[str]:
    """The words of the curl line that a demo has printed."""
    (line,) = (line for line in text.splitlines() if line.startswith("curl "))
    return shlex.split(line)


def test_the_demo_once_answers_and_leaves_nothing(tmp_path: Path):
    mark = new_mark()
    shown = run(tmp_path, "demo", "--once", **{MARK: mark, "TMPDIR": str(tmp_path)})
    assert shown.returncode == 0, shown.stderr
    assert curl_of(shown.stdout)[0] == "curl"
    answer = json.loads(shown.stdout.partition("# The answer:")[2])
    assert answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    wait_until(lambda: not processes_of(mark), seconds=5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_demo_stays_and_its_curl_line_works(tmp_path: Path, number: signal.Signals):
    with running(tmp_path, "demo", "--port", str(free_port())) as (process, output, mark):
        wait_until(lambda: "Still serving" in output.read_text() or process.poll() is not None, seconds=60)
        command = curl_of(output.read_text())
        asked = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        assert json.loads(asked.stdout)["object"] == "chat.completion"
        body = json.loads(command[-1]) | {"stream": True}
        streamed = subprocess.run(
            [*command[:-1], json.dumps(body)], capture_output=True, text=True, timeout=30, check=True
        )
        assert streamed.stdout.startswith("data: {")
        assert streamed.stdout.endswith("data: [DONE]\n\n")
        process.send_signal(number)
        assert process.wait(STOP_SECONDS) in (0, 130)
        assert "Traceback" not in output.read_text()
        wait_until(lambda: not processes_of(mark), seconds=5)
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_was_killed_ends_its_processes_and_its_folder_goes_with_the_next_start(tmp_path: Path):
    def demos() -> list[Path]:
        return list(tmp_path.glob("gptmock-demo-*"))

    with running(tmp_path, "demo", "--port", str(free_port())) as (killed, output, mark):
        wait_until(lambda: "Still serving" in output.read_text() or killed.poll() is not None, seconds=60)
        (left,) = demos()
        # A start beside a living demo takes nothing away.
        assert run(tmp_path, "demo", "--once", TMPDIR=str(tmp_path)).returncode == 0
        assert demos() == [left]
        killed.kill()
        wait_until(lambda: not processes_of(mark), seconds=STOP_SECONDS)
        assert demos() == [left]
    shown = run(tmp_path, "demo", "--once", TMPDIR=str(tmp_path))
    assert shown.returncode == 0, shown.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_demo_picks_another_port_when_its_own_is_taken(tmp_path: Path):
    with socket.socket() as taken:
        try:
            taken.bind(("127.0.0.1", 8000))
            taken.listen()
        except OSError:
            # Somebody else has taken it: as good.
            pass
        shown = run(tmp_path, "demo", "--once", TMPDIR=str(tmp_path))
    assert shown.returncode == 0, shown.stderr
    assert ":8000/" not in shown.stdout


def test_the_demo_needs_nothing_of_the_users_and_touches_nothing(tmp_path: Path):
    home, work = tmp_path / "home", tmp_path / "work"
    work.mkdir()
    path = write_login(home, BOOK.issue(email="mine@example.test").auth_json())
    before = path.read_bytes()
    (work / ".env").write_text("GPTMOCK_UPSTREAM_PROXY=http://127.0.0.1:9\n")
    shown = run(
        work,
        "demo",
        "--once",
        GPTMOCK_HOME=str(home),
        GPTMOCK_UPSTREAM_URL="http://127.0.0.1:9/backend-api",
        GPTMOCK_ISSUER="http://127.0.0.1:9",
        HTTP_PROXY="http://127.0.0.1:9",
        http_proxy="http://127.0.0.1:9",
        ALL_PROXY="http://127.0.0.1:9",
        TMPDIR=str(tmp_path),
    )
    assert shown.returncode == 0, shown.stderr
    assert path.read_bytes() == before
    assert [each.name for each in home.iterdir()] == ["auth.json"]
    assert {each.name for each in tmp_path.iterdir()} == {"home", "work"}


def test_the_demo_with_a_key_shows_where_it_goes_and_not_what_it_is(tmp_path: Path):
    # The operator's own store and receiver are not for a demo, and secrets travel as they are.
    own = {
        "GPTMOCK_ADMIN_KEY": "planted-admin-key-0123456789",
        "GPTMOCK_REDIS_URL": "redis://:planted@127.0.0.1:9/0",
        "GPTMOCK_ENCRYPTION_KEYS": base64.b64encode(bytes(range(32))).decode(),
        "GPTMOCK_WEBHOOK_URL": "http://127.0.0.1:9/planted",
        "GPTMOCK_WEBHOOK_SECRET": "whsec_" + "QUJD" * 10,
    }
    shown = run(tmp_path, "demo", "--once", GPTMOCK_API_KEY="sk-planted-0123456789", TMPDIR=str(tmp_path), **own)
    assert shown.returncode == 0, shown.stderr
    assert "sk-planted" not in shown.stdout + shown.stderr
    assert "$GPTMOCK_API_KEY" in shown.stdout


def test_traces_need_their_extra(tmp_path: Path):
    # As if it was not installed: whether it is depends on who runs the tests.
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").touch()
    path = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    shown = run(tmp_path, "serve", "--port", "0", GPTMOCK_OTEL="on", PYTHONPATH=path)
    (line,) = shown.stderr.splitlines()
    assert shown.returncode == 2
    assert line == "gptmock: GPTMOCK_OTEL: needs the extra otel; install it with: pip install 'gptmock[otel]'"
