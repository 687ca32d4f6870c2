"""
The Codex CLI that is signed in with its user's own ChatGPT account, in the three ways of next doors D.1: by
``openai_base_url`` over http, with a key beside its own login, and by ``chatgpt_base_url`` over https with a
certificate authority of the test. Its issuer is a simulator of its own, which has to be left in peace.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from gptmock.simulator.server import Simulator
from tests.certificates import write_certificates
from tests.clients.codex import Run, codex_exec
from tests.clients.environments import Node
from tests.harness import ServerProcess, server_process, serving_simulator, write_login

pytestmark = pytest.mark.clients

MODEL = "gpt-5.5"
KEY = "sk-server-0123456789"
QUIET = "check_for_update_on_startup = false\nanalytics = { enabled = false }\n"
NOWHERE = "http://127.0.0.1:9"
"""A proxy that is not there: nobody's side calls leave this machine."""
WITH_KEY = """
model_provider = "gptmock"

[model_providers.gptmock]
name = "gptmock"
base_url = "{base}"
wire_api = "responses"
requires_openai_auth = true
env_http_headers = {{ "x-api-key" = "GPTMOCK_API_KEY" }}
"""


@dataclass
class SignedIn:
    """A Codex with a login of its own, and the upstream of the server that it asks."""

    node: Node
    home: Path
    issuer: Simulator
    upstream: Simulator

    async def exec(self, config: str, *arguments: str, **variables: str) -> Run:
        """``codex exec`` with a configuration."""
        (self.home / "config.toml").write_text(f"{QUIET}{config}")
        refresh = f"{self.issuer.issuer_url}/oauth/token"
        environment = {"CODEX_REFRESH_TOKEN_URL_OVERRIDE": refresh, "HTTPS_PROXY": NOWHERE, "NO_PROXY": "127.0.0.1"}
        given = ["--model", MODEL, *arguments]
        run = await asyncio.to_thread(codex_exec, self.node, self.home, given, **{**environment, **variables})
        assert "failed to refresh available models" not in run.errors, run
        return run

    def secrets(self) -> list[str]:
        """What its login consists of."""
        tokens = json.loads((self.home / "auth.json").read_text())["tokens"]
        return [str(tokens[name]) for name in ("access_token", "refresh_token", "id_token", "account_id")]

    def check_nothing_went_up(self) -> None:
        """Nothing of the login has reached the upstream, and its issuer was not asked."""
        up = json.dumps([[call.path, call.query, call.headers, call.body] for call in self.upstream.state.requests])
        assert [secret for secret in self.secrets() if secret in up] == []
        assert [one for one in self.issuer.state.requests if "oauth" in one.path] == []


@pytest.fixture
async def signed_in(installed: Callable[[str], Path | Node], tmp_path: Path) -> AsyncIterator[SignedIn]:
    node, home = installed("node"), tmp_path / "client"
    assert isinstance(node, Node)
    async with Simulator() as upstream, Simulator() as issuer:
        write_login(home, issuer.state.logins.issue(account_id="canary-account").auth_json())
        write_login(tmp_path / "server", upstream.state.logins.issue().auth_json())
        yield SignedIn(node, home, issuer, upstream)


@pytest.mark.check(270)
async def test_by_openai_base_url(signed_in: SignedIn, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """One line; its turn, then a conversation that is compacted and goes on."""
    caplog.set_level(logging.INFO)
    async with serving_simulator(signed_in.upstream, tmp_path / "server") as url:
        config = f'openai_base_url = "{url}/v1"\n'
        first = await signed_in.exec(config, "hello")
        assert first.code == 0, first
        assert first.text == "You said: hello"
        compacting = f"{config}model_auto_compact_token_limit = 1\n"
        again = await signed_in.exec(compacting, "resume", first.events[0]["thread_id"], "and now?")
        assert again.code == 0, again
        assert again.text == "You said: and now?"
    inputs = [call.body["input"] for call in signed_in.upstream.state.model_calls()]
    assert [items[-1]["type"] for items in inputs].count("compaction_trigger") == 1
    assert "compaction" in [item["type"] for item in inputs[-1]]
    signed_in.check_nothing_went_up()
    logged = "".join(str(record.__dict__) for record in caplog.records)
    assert [secret for secret in signed_in.secrets() if secret in logged] == []


@pytest.mark.check(351)
async def test_with_a_key_beside_its_own_login(signed_in: SignedIn, tmp_path: Path):
    async with serving_simulator(signed_in.upstream, tmp_path / "server", api_key=KEY) as url:
        config = WITH_KEY.format(base=f"{url}/v1")
        run = await signed_in.exec(config, "hello", GPTMOCK_API_KEY=KEY)
        assert run.code == 0, run
        assert run.text == "You said: hello"
    signed_in.check_nothing_went_up()
    assert KEY not in json.dumps([call.headers for call in signed_in.upstream.state.requests], default=dict)


@pytest.mark.check(352)
@pytest.mark.parametrize("with_key", [False, True])
async def test_by_chatgpt_base_url_over_https(signed_in: SignedIn, tmp_path: Path, *, with_key: bool):
    """All its side calls come here, and none of them gets an error that stops it."""
    authority, certificate, key = write_certificates(tmp_path)
    given = KEY if with_key else ""
    async with https_server(signed_in, tmp_path, authority, certificate, key, api_key=given) as server:
        config = f'chatgpt_base_url = "{server.base_url}/backend-api"\n'
        if not with_key:
            config += f'openai_base_url = "{server.base_url}/backend-api/codex"\n'
        else:
            config += WITH_KEY.format(base=f"{server.base_url}/backend-api/codex")
        trust = {"CODEX_CA_CERTIFICATE": str(authority), "GPTMOCK_API_KEY": KEY}
        run = await signed_in.exec(config, "hello", **trust)
        assert run.code == 0, run
        assert run.text == "You said: hello"
        said = server.text()
        assert [secret for secret in signed_in.secrets() if secret in said] == []
        refused = {(line["path"], line["status"]) for line in server.logs("request")}
        assert {status for _, status in refused} <= {404, 426}
        assert "/backend-api/ps/mcp" in {path for path, _ in refused}
    signed_in.check_nothing_went_up()


@asynccontextmanager
async def https_server(
    signed_in: SignedIn, folder: Path, authority: Path, certificate: Path, key: Path, *, api_key: str
) -> AsyncIterator[ServerProcess]:
    """A server with a certificate of the test."""
    variables = {"GPTMOCK_TLS_CERT": str(certificate), "GPTMOCK_TLS_KEY": str(key)}
    if api_key:
        variables["GPTMOCK_API_KEY"] = api_key
    simulator_url = signed_in.upstream.issuer_url
    with server_process(folder / "server", simulator_url, workers=1, env=variables, wait_ready=False) as server:
        server.base_url = server.base_url.replace("http://", "https://")
        await _until_ready(server, ssl.create_default_context(cafile=authority))
        yield server


async def _until_ready(server: ServerProcess, trust: ssl.SSLContext) -> None:
    async with httpx.AsyncClient(verify=trust, trust_env=False) as client, asyncio.timeout(60):
        while True:
            try:
                if (await client.get(f"{server.base_url}/readyz")).status_code == 200:
                    return
            except httpx.HTTPError:
                assert server.process.poll() is None, server.text()
            await asyncio.sleep(0.1)
