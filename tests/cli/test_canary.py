"""
The canary scan: 40 planted secrets, all commands and a server under every kind of trouble, and then a search through
whatever was shown, logged, answered, kept or put on a command line. Tokens and keys: nowhere, ever. Prompts: nowhere,
unless ``--verbose`` asks for them.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.command_services import open_command_services
from gptmock.settings_sources import load_settings
from gptmock.shared_state import open_state
from tests.cli.inside import run
from tests.cli.test_login import browse, redirect_of, waiting
from tests.harness import CHAT_PATH, ServerProcess, SimulatorProcess, server_process, until, write_login
from tests.terminal import at_terminal, the_login_ports

PEOPLE = ("ada", "bob", "cid")


def planted(prefix: str) -> str:
    return f"{prefix}{secrets.token_hex(16)}"


@dataclass
class Canaries:
    """What is planted, and where it turned up."""

    api_key: str = field(default_factory=lambda: planted("sk-"))
    encryption_key: str = field(default_factory=lambda: base64.b64encode(os.urandom(32)).decode())
    strangers: list[str] = field(default_factory=lambda: [planted("sk-"), planted("gm_00000000_"), planted("x")])
    """Keys of clients that are not let in."""
    other_files: list[str] = field(default_factory=lambda: [planted("sk-"), planted("rt_")])
    """In files that are no login."""
    cookies: list[str] = field(default_factory=lambda: [planted("c")])
    tokens: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    prompts: list[str] = field(default_factory=lambda: [planted("prompt") for _ in range(20)])

    @property
    def never(self) -> list[str]:
        """What may turn up nowhere."""
        kept = (self.strangers, self.other_files, self.cookies, self.tokens, self.codes)
        return [self.api_key, self.encryption_key, *(one for group in kept for one in group)]

    def check(self, where: str, text: str, *, prompts: bool = False) -> None:
        """
        See that none of them is in a text.

        Args:
            where: named when one is.
            text: what is searched.
            prompts: prompts may be there.
        """
        wanted = self.never if prompts else [*self.never, *self.prompts]
        found = [one[:12] for one in wanted if one in text]
        assert found == [], f"{where}: {found}"


@contextmanager
def command_lines() -> Iterator[set[str]]:
    """Every command line of this machine, looked at again and again while the context lasts."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
                except OSError:
                    continue

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        over.set()
        looking.join()


@pytest.fixture
def canaries() -> Canaries:
    return Canaries()


@pytest.fixture
def variables(canaries: Canaries, issuer: dict[str, str]) -> dict[str, str]:
    return {**issuer, "GPTMOCK_API_KEY": canaries.api_key, "GPTMOCK_ENCRYPTION_KEYS": canaries.encryption_key}


@pytest.fixture
def home(tmp_path: Path, simulator: SimulatorProcess, canaries: Canaries, variables: dict[str, str]) -> Path:
    """A home with three accounts, one of them imported from a file outside of it."""
    home = tmp_path / "home"
    home.mkdir()

    async def fill() -> None:
        settings = load_settings({"home": str(home)}, environ=variables, directory=tmp_path)
        async with open_command_services(settings) as services:
            for name in PEOPLE:
                document = simulator.new_login(email=f"{name}@example.test")
                canaries.tokens += [document["tokens"][kind] for kind in ("access_token", "refresh_token", "id_token")]
                await services.import_login(write_login(tmp_path / name, document), label=name)

    asyncio.run(fill())
    return home


def scan_files(canaries: Canaries, folder: Path) -> None:
    """All that lies in the home; what the environment holds, the home does not."""
    for path in folder.rglob("*"):
        if path.is_file():
            canaries.check(str(path), path.read_bytes().decode("latin-1"))


def held_tokens(home: Path, variables: dict[str, str]) -> list[str]:
    """What the vault holds by now."""

    async def look() -> list[str]:
        async with open_state(load_settings({"home": str(home)}, environ=variables, directory=home)) as state:
            sets = [await state.vault.load(login.account.id) for login in await state.vault.logins()]
            secret = [one for held in sets for one in (held.access_token, held.refresh_token, held.id_token)]
            return [one.reveal() for one in secret if one is not None]

    return asyncio.run(look())


# --- Commands -------------------------------------------------------------------------------


def test_no_command_shows_a_secret(
    home: Path, canaries: Canaries, variables: dict[str, str], simulator: SimulatorProcess, tmp_path: Path
):
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps({"OPENAI_API_KEY": canaries.other_files[0], "junk": canaries.other_files[1]}))
    worse = tmp_path / "worse.json"
    worse.write_text('{"tokens": ' + canaries.other_files[1])
    wrong_key = {"GPTMOCK_ENCRYPTION_KEYS": f"{canaries.encryption_key}x"}
    commands: list[tuple[tuple[str, ...], dict[str, str], int]] = [
        (("info",), {}, 0),
        (("info", "--json"), {}, 0),
        (("info",), wrong_key, 2),
        (("accounts", "list"), {}, 0),
        (("accounts", "list", "--json"), {}, 0),
        (("accounts", "default", "bob"), {}, 0),
        (("accounts", "pause", "cid"), {}, 0),
        (("accounts", "resume", "cid"), {}, 0),
        (("accounts", "export", "bob", "--output", str(tmp_path / "exported.json")), {}, 0),
        (("accounts", "export", "bob", "--output", "-"), {}, 2),
        (("accounts", "import", str(tmp_path / "ada" / "auth.json")), {}, 1),
        (("accounts", "import", str(bad)), {}, 1),
        (("accounts", "import", str(worse)), {}, 1),
        (("usage",), {}, 0),
        (("usage", "--json"), {}, 0),
        (("doctor",), {"GPTMOCK_PORT": "0"}, 0),
        (("doctor", "--json"), {"GPTMOCK_PORT": "0"}, 0),
        (("doctor",), {**wrong_key, "GPTMOCK_PORT": "0"}, 1),
        (("login", "--headless"), {"GPTMOCK_ISSUER": "http://127.0.0.1:9"}, 1),
        (("logout", "cid"), {}, 0),
        (("logout", "nobody"), {}, 1),
    ]
    for faults in ((), ("401",), ("500",)):
        simulator.expire()
        simulator.token_faults(*faults)
        for arguments, more, code in commands if not faults else commands[:2]:
            shown = run(home, *arguments, **(variables | more))
            assert shown.returncode == code, (arguments, shown.stderr)
            canaries.tokens += [token for token in held_tokens(home, variables) if token not in canaries.tokens]
            canaries.check(" ".join(arguments), shown.stdout + shown.stderr)
    scan_files(canaries, home)


def test_no_login_shows_a_secret(
    home: Path, canaries: Canaries, variables: dict[str, str], simulator: SimulatorProcess
):
    with the_login_ports(), command_lines() as lines:
        with waiting(home, "login", "--account", "new", **variables) as (terminal, url):
            right = redirect_of(url, login_hint="dan@example.test")
            canaries.codes.append(httpx.URL(right).params["code"])
            stray = httpx.URL(right).copy_set_param("state", "x")
            page = httpx.get(stray, trust_env=False).text + httpx.get(right, trust_env=False).text
            assert terminal.ended() == 0
            shown = terminal.raw
        with waiting(home, "login", **variables) as (terminal, url):
            simulator.token_faults("400")
            page += browse(url).text
            assert terminal.ended() == 1
            shown += terminal.raw
        with at_terminal(home, "login", "--headless", **variables) as terminal:
            code = terminal.until(r"\b[A-Z]{4}-[A-Z]{4}\b")[0]
            simulator.control.post("/simulator/device/approve", json={"user_code": code, "email": "eve@example.test"})
            assert terminal.ended() == 0
            shown += terminal.raw
    canaries.tokens += [token for token in held_tokens(home, variables) if token not in canaries.tokens]
    assert len(canaries.tokens) == 15
    canaries.check("terminal and page", shown + page)
    canaries.check("command lines", "\n".join(lines))
    assert any(" login" in line for line in lines)
    scan_files(canaries, home)


# --- A server -------------------------------------------------------------------------------


def bodies(canaries: Canaries) -> Iterator[tuple[str, Any]]:
    """Requests of every kind, each with a prompt of its own somewhere in it."""
    prompt = iter(canaries.prompts)
    image = base64.b64encode(next(prompt).encode()).decode()
    canaries.prompts.append(image)

    def messages(text: str) -> list[dict[str, Any]]:
        return [{"role": "user", "content": text}]

    for stream in (False, True):
        yield CHAT_PATH, {"model": "gpt-5.5", "messages": messages(next(prompt)), "stream": stream}
    for scene in ("401", "429", "500", "failed-mid", "eof-mid", "overload"):
        text = f"scene:{scene} {next(prompt)}"
        yield CHAT_PATH, {"model": "gpt-5.5", "messages": messages(text), "stream": scene != "500"}
    yield CHAT_PATH, {"model": "gpt-5.5", "messages": messages("hi"), "metadata": {"note": next(prompt)}, "n": 7}
    yield CHAT_PATH, {"model": "gpt-5.5", "messages": [{"role": "nobody", "content": next(prompt)}]}
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
    yield CHAT_PATH, {"model": "gpt-5.5", "messages": [{"role": "user", "content": [picture]}]}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": json.dumps({"a": next(prompt)})}}
    result = {"role": "tool", "tool_call_id": "c", "content": next(prompt)}
    talk = [*messages("hi"), {"role": "assistant", "tool_calls": [call]}, result]
    yield CHAT_PATH, {"model": "gpt-5.5", "messages": talk}
    yield CHAT_PATH, f'{{"model": "gpt-5.5", "messages": [{{"role": "user", "content": "{next(prompt)}"'.encode()
    # Stored as well, with its instructions.
    yield "/v1/responses", {"model": "gpt-5.5", "input": next(prompt), "instructions": next(prompt)}
    yield "/v1/completions", {"model": "gpt-5.5", "prompt": next(prompt)}
    yield "/api/chat", {"model": "gpt-5.5", "messages": messages(next(prompt))}
    yield "/api/generate", {"model": "gpt-5.5", "prompt": next(prompt), "system": next(prompt)}


async def ask_everything(server: ServerProcess, canaries: Canaries, simulator: SimulatorProcess) -> None:
    """By those who may and those who may not; what is answered to strangers is searched too."""
    headers = {"authorization": f"Bearer {canaries.api_key}", "cookie": canaries.cookies[0]}
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False, timeout=60) as client:
        for number, (path, body) in enumerate(bodies(canaries)):
            if number == 5:
                simulator.expire()
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            answer = await client.post(path, content=content, headers=headers)
            assert answer.status_code == 200 or not path.startswith(("/v1/responses", "/api/")), answer.text
            # What an answer says is the asker's own; what it says of us is not.
            canaries.check(f"answer {number}", answer.text + str(answer.headers), prompts=True)
        for stranger in canaries.strangers:
            for header in ({"authorization": f"Bearer {stranger}"}, {"x-api-key": stranger}):
                answer = await client.post(CHAT_PATH, json={"model": "x"}, headers=header)
                assert answer.status_code == 401
                canaries.check("answer to a stranger", answer.text + str(answer.headers))
        canaries.check("readyz", (await client.get("/readyz")).text)


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("verbose", ["false", "true"])
def test_a_server_keeps_and_logs_no_secret(  # noqa: PLR0917 - fixtures and parameters
    home: Path,
    canaries: Canaries,
    variables: dict[str, str],
    simulator: SimulatorProcess,
    verbose: str,
    log_format: str,
):
    env = {**variables, "GPTMOCK_LOG_FORMAT": log_format, "GPTMOCK_VERBOSE": verbose}
    with command_lines() as lines, server_process(home, simulator.base_url, workers=2, env=env) as server:

        async def work() -> None:
            await ask_everything(server, canaries, simulator)
            await until(lambda: server.text().count("dialect") >= 18)

        asyncio.run(work())
        assert server.stop() == 0
        logged = server.text()
    canaries.tokens += [token for token in held_tokens(home, variables) if token not in canaries.tokens]
    assert len(canaries.never) + len(canaries.prompts) >= 40
    canaries.check("log", logged, prompts=verbose == "true")
    canaries.check("command lines", "\n".join(lines))
    # The search finds what is there: asked for, the prompts are in the log.
    shown = sum(prompt in logged for prompt in canaries.prompts)
    assert shown == 0 if verbose == "false" else shown >= 15
    scan_files(canaries, home)
