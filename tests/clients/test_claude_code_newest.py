"""
Advice on the newest Claude Code, with ``GPTMOCK_NEWEST_CLAUDE=1``: it is installed anew, and a failure is told without
breaking a run. Not part of CI, which has the versions of ``environments.CLAUDE``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.clients.checks import Server
from tests.clients.claude_code import claude
from tests.clients.environments import newest_claude

pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(
        os.environ.get("GPTMOCK_NEWEST_CLAUDE") != "1", reason="advice only: GPTMOCK_NEWEST_CLAUDE=1 asks for it"
    ),
]


@pytest.mark.timeout(600)
@pytest.mark.xfail(strict=False, reason="advice only")
def test_the_newest_claude_code_reads_a_file_and_searches(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    version, said = "of no known version", "works"
    try:
        version, program = newest_claude(tmp_path)
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "README.md").write_text("The secret word is marmalade.\n")
        for prompt, found in (
            ("Please use the Read tool", "marmalade"),
            ('call:ToolSearch{"query": "select:WebSearch", "max_results": 3}', "Tool loaded"),
        ):
            done = claude(program, server.url, tmp_path, [prompt], ANTHROPIC_AUTH_TOKEN=server.api_key)
            assert done.code == 0, done
            assert found in done.text, done
    except BaseException as error:
        said = f"does not work: {error!r:.2000}"
        raise
    finally:
        with capsys.disabled():
            sys.stdout.write(f"\nadvice: the newest Claude Code, {version}, {said}\n")
