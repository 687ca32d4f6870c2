"""
The pictures of the README: ``python -m tests.screenshots`` runs the commands at a terminal, against the simulator, and
writes what they showed to ``deploy/*.svg``.
"""

from __future__ import annotations

import asyncio
import io
import re
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from gptmock.command_services import open_command_services
from gptmock.settings import load_settings
from tests.harness import SimulatorProcess, free_port, simulator_process, write_login
from tests.terminal import at_terminal

DEPLOY = Path(__file__).parent.parent / "deploy"
SHOWN_HOME = "/home/ada/.config/gptmock"
COMMANDS = {"info": 164, "doctor": 110}
"""The command and how wide its terminal is."""


def main() -> None:
    """Take all pictures."""
    DEPLOY.mkdir(exist_ok=True)
    with simulator_process() as simulator, tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _sign_in(home, simulator)
        for command, columns in COMMANDS.items():
            (DEPLOY / f"{command}.svg").write_text(picture(home, simulator, command, columns=columns))


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
    lines = [line.rstrip() for line in shown.replace("\r", "").split("\n")]
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi("\n".join(lines).strip("\n")))
    # Nothing is fetched from elsewhere when a page shows it.
    svg = re.sub(
        r"@font-face \{.*?\}\s*", "", console.export_svg(title=f"gptmock {command}", unique_id=command), flags=re.DOTALL
    )
    return svg.replace("font-family: Fira Code,", "font-family: Fira Code, Menlo, Consolas, DejaVu Sans Mono,")


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
    main()
