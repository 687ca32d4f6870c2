"""
The pictures of the README: ``python -m tests.screenshots`` runs the commands at a terminal, against the simulator, and
writes what they showed to ``deploy/*.svg``. With names, such as ``answer``, it takes only these.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from gptmock.command_services import open_command_services
from gptmock.settings_sources import load_settings
from tests.clients.environments import client_python
from tests.harness import CONSOLE_SCRIPT, SimulatorProcess, plain_environment, simulator_process, write_login
from tests.ports import free_port
from tests.recording import Session
from tests.recording import picture as replayed
from tests.terminal import at_terminal

DEPLOY = Path(__file__).parent.parent / "deploy"
SHOWN_HOME = "/home/ada/.config/gptmock"
COMMANDS = {"info": 164, "doctor": 110}
"""The command and how wide its terminal is."""
ANSWER_COLUMNS = 96
MENU_COLUMNS = 64
PACE_SECONDS = 0.07
"""Between two events of the simulated model, so that a reader can follow."""
QUESTION = "Please answer word by word, so that I can watch the stream arrive."
ASK = f"""\
from openai import OpenAI
client = OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="anything")
question = "{QUESTION}"
for event in client.responses.create(model="gpt-6.2-sol", input=question, stream=True):
    if event.type == "response.output_text.delta":
        print(event.delta, end="", flush=True)
print()
"""


def main(names: Sequence[str]) -> None:
    """Take these pictures, or all."""
    DEPLOY.mkdir(exist_ok=True)
    with simulator_process() as simulator, tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _sign_in(home, simulator)
        for command, columns in COMMANDS.items():
            if not names or command in names:
                (DEPLOY / f"{command}.svg").write_text(picture(home, simulator, command, columns=columns))
        if not names or "launch" in names:
            (DEPLOY / "launch.svg").write_text(menu(home, simulator))
        if not names or "answer" in names:
            (DEPLOY / "answer.svg").write_text(answer(home, simulator))


def picture(home: Path, simulator: SimulatorProcess, command: str, *, columns: int) -> str:
    """What a command shows at a terminal, as SVG."""
    variables = {
        "GPTMOCK_ISSUER": simulator.base_url,
        "GPTMOCK_UPSTREAM_URL": f"{simulator.base_url}/backend-api",
        "GPTMOCK_PORT": str(free_port()),
        "COLUMNS": str(columns),
    }
    with at_terminal(home, command, **variables) as terminal:
        code = terminal.ended()
        assert code == 0, terminal.text
        shown = terminal.raw.replace(str(home), SHOWN_HOME).replace(variables["GPTMOCK_PORT"], "8000")
    shown = shown.replace(simulator.base_url.removeprefix("http://"), "127.0.0.1:8765")
    return _drawn(shown, command, columns=columns)


def menu(home: Path, simulator: SimulatorProcess) -> str:
    """The menu of ``gptmock launch`` for somebody who has some of the clients, as SVG."""
    (home / "bin").mkdir()
    for name in ("claude", "codex", "opencode"):
        (home / "bin" / name).touch(mode=0o755)
    variables = {
        "GPTMOCK_ISSUER": simulator.base_url,
        "GPTMOCK_UPSTREAM_URL": f"{simulator.base_url}/backend-api",
        "GPTMOCK_PORT": str(free_port()),
        "PATH": f"{home / 'bin'}{os.pathsep}/usr/bin",
        "COLUMNS": str(MENU_COLUMNS),
    }
    with at_terminal(home, "launch", **variables) as terminal:
        terminal.until("to leave")
        shown = terminal.raw.partition("to leave")
        terminal.type("q")
        assert terminal.ended() == 0
    # Colours are kept, movements of the cursor are not.
    return _drawn(re.sub(r"\x1b\[[0-9;?]*[A-Zlh]", "", "".join(shown[:2])), "launch", columns=MENU_COLUMNS)


def _drawn(shown: str, command: str, *, columns: int) -> str:
    lines = [line.rstrip() for line in shown.replace("\r", "").split("\n")]
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi("\n".join(lines).strip("\n")))
    # Nothing is fetched from elsewhere when a page shows it.
    svg = re.sub(
        r"@font-face \{.*?\}\s*", "", console.export_svg(title=f"gptmock {command}", unique_id=command), flags=re.DOTALL
    )
    return svg.replace("font-family: Fira Code,", "font-family: Fira Code, Menlo, Consolas, DejaVu Sans Mono,")


def answer(home: Path, simulator: SimulatorProcess) -> str:
    """A server that is started and asked, recorded at two terminals with the times at which each word came, as SVG."""
    simulator.options(pace_seconds=PACE_SECONDS)
    (home / "ask.py").write_text(ASK)
    server = plain_environment(
        GPTMOCK_HOME=str(home),
        GPTMOCK_ISSUER=simulator.base_url,
        GPTMOCK_UPSTREAM_URL=f"{simulator.base_url}/backend-api",
        PATH=f"{Path(CONSOLE_SCRIPT).parent}{os.pathsep}{os.environ['PATH']}",
    )
    client = {**server, "PATH": f"{client_python('openai3').parent}{os.pathsep}{os.environ['PATH']}"}
    session = Session()
    with (
        session.shell("the server", home, server, columns=ANSWER_COLUMNS) as serving,
        session.shell("any client: here the OpenAI SDK", home, client, columns=ANSWER_COLUMNS) as asking,
    ):
        session.type(serving, "gptmock serve")
        session.until(serving, "gptmock serves http")
        session.until(serving, "catalogue.refreshed")
        session.type(asking, "cat ask.py")
        session.until(asking, r"print\(\)\s+\$ ")
        session.type(asking, "python ask.py")
        session.until(asking, r"arrive\.\s+\$ ")
        session.until(serving, "200 responses")
    return replayed(session.panes(), columns=ANSWER_COLUMNS)


def _sign_in(home: Path, simulator: SimulatorProcess) -> None:
    people = {"ada@example.test": "plus", "work": "team"}

    async def work() -> None:
        async with open_command_services(load_settings({"home": str(home)}, environ={}, directory=home)) as services:
            for label, plan in people.items():
                login = simulator.new_login(email=label if "@" in label else f"{label}@example.test", plan=plan)
                await services.import_login(write_login(home / label, login), label=label)

    asyncio.run(work())
    simulator.options(used_percent=72.0)


if __name__ == "__main__":
    main(sys.argv[1:])
