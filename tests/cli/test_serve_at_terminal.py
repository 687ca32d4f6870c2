"""``gptmock serve`` as a person sees it: the start line, and one short line for each request."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest

from tests.cli.test_login import ready
from tests.harness import CHAT_PATH, SimulatorProcess, chat, processes_of, wait_until, write_login
from tests.ports import free_port
from tests.terminal import at_terminal


@pytest.mark.parametrize(("columns", "variables"), [(100, {}), (80, {"NO_COLOR": "1"})])
def test_a_person_sees_one_short_line_for_each_request_and_no_librarys_talk(
    tmp_path: Path, simulator: SimulatorProcess, issuer: dict[str, str], columns: int, variables: dict[str, str]
):
    write_login(tmp_path, simulator.new_login(email="ada@example.test"))
    port = free_port()
    given = {**issuer, **variables, "COLUMNS": str(columns)}
    with at_terminal(tmp_path, "serve", "--port", str(port), "--workers", "1", **given) as terminal:
        terminal.until("gptmock serves")
        wait_until(lambda: ready(port), seconds=40)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            client.post(CHAT_PATH, json=chat("scene:text", stream=True, reasoning_effort="high"))
            client.post(CHAT_PATH, content=b"{")
            client.get("/v1/embeddings?key=planted")
        terminal.until(r"404 GET /v1/embeddings unsupported_endpoint")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ended() == 0
        wait_until(lambda: not processes_of(terminal.mark))
        lines = [line.rstrip() for line in terminal.text.splitlines()]
        (turn,) = [line for line in lines if " 200 chat " in line]
        assert "gpt-5.5 high" in turn
        assert "tok" in turn
        assert ("ada@example.test" in turn) is (columns == 100)
        assert any(" 400 chat " in line and "invalid_json" in line for line in lines)
        assert all(len(line) <= columns for line in lines if " chat " in line or " GET " in line)
        assert "Sanic" not in terminal.text
        assert "planted" not in terminal.text
        assert ("\x1b[32m200" in terminal.raw) is ("NO_COLOR" not in variables)
        # The start line, what the server has said of itself, and a line for each of the three requests.
        assert all(line.startswith("gptmock serves") or line[2:3] == ":" for line in lines if line)
