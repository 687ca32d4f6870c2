"""
The extra ``gptmock[tokens]``. The tokenizer comes from an environment of its own, since the environment of the tests
does not have it; everything else is from the latter.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.checks import CHECK_SECONDS, SCRIPTS
from tests.clients.environments import Node
from tests.harness import SimulatorProcess, plain_environment, server_process, wait_until, write_login
from tests.timing import generous

pytestmark = pytest.mark.clients

TESTS = Path(__file__).parents[1]
TEXTS = json.loads((TESTS / "dialects" / "token_texts.json").read_text(encoding="utf-8"))["texts"]
LIVE = json.loads((TESTS / "live_exchanges.json").read_text(encoding="utf-8"))
RECORDED = [one for one in LIVE["exchanges"] if one["status"] == 200]
MEGABYTE = 1_000_000


def lines(line: str) -> str:
    """About 1 MB of numbered lines, so that no two places of the text are alike."""
    return "".join(f"{line} {number}\n" for number in range(MEGABYTE // (len(line.encode()) + 7)))


CODE = "def feed(self, chunk: bytes) -> list[Received]:\n    if not chunk:\n\n\n        return []  # nothing\n\n//"
PROSE = {
    "english": lines("Whoever reads this sentence twice will find that it says nothing new"),
    "russian": lines("Сервер читает настройки из окружения и ждёт первого запроса"),
    "chinese": lines("服务器启动时读取设置并等待第一个请求"),
}
RARE = "\N{CUNEIFORM SIGN A}" * (MEGABYTE // 4)
OTHER = {
    "code": lines(CODE),
    "crlf": lines("  value: 12,5;\r"),
    "one line": PROSE["english"].replace("\n", " "),
    "one letter": "a" * MEGABYTE,
    "emoji": "🙂" * (MEGABYTE // 4),
    "four tokens for each character": RARE,
}


@pytest.fixture(scope="session")
def extra(installed: Callable[[str], Path | Node]) -> dict[str, str]:
    """The variables of a process that has the extra."""
    python = installed("tokens")
    assert isinstance(python, Path)
    (packages,) = python.parent.parent.glob("lib/python3*/site-packages")
    plain = plain_environment()
    return {**plain, "PYTHONPATH": os.pathsep.join([plain["PYTHONPATH"], str(packages)])}


def counted(texts: Sequence[str], extra: dict[str, str]) -> list[dict[str, Any]]:
    command = [sys.executable, str(SCRIPTS / "o200k_counts.py")]
    done = subprocess.run(
        command,
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        env=extra,
        timeout=CHECK_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


@pytest.mark.check(362)
def test_texts_have_their_recorded_counts(extra):
    known = {one["text"]: one["tokens"] for one in TEXTS} | LIVE["o200k_tokens"]
    assert [one["tokens"] for one in counted(list(known), extra)] == list(known.values())


@pytest.mark.check(362)
def test_a_long_text_is_cut_without_another_count(extra):
    texts = PROSE | OTHER
    for name, one in zip(texts, counted(list(texts.values()), extra), strict=True):
        # Between the end of a line and a word there is always the end of a token.
        expected = one["whole"] if name in PROSE else pytest.approx(one["whole"], rel=0.001)
        assert one["tokens"] == expected, name
        assert one["seconds"] < generous(0.2), name


@pytest.mark.check(235, 362)
def test_the_server_counts_recorded_requests_within_10_percent(
    extra: dict[str, str], simulator: SimulatorProcess, tmp_path: Path
):
    write_login(tmp_path, simulator.new_login())
    with (
        server_process(tmp_path, simulator.base_url, workers=1, env={"PYTHONPATH": extra["PYTHONPATH"]}) as running,
        httpx.Client(base_url=running.base_url, trust_env=False) as client,
    ):

        def count(body: dict[str, Any]) -> tuple[str, int]:
            answer = client.post("/v1/responses/input_tokens", json=body).raise_for_status()
            return answer.headers["x-gptmock-counted-by"], answer.json()["input_tokens"]

        wait_until(lambda: count(RECORDED[0]["request_body"])[0] == "o200k_base")
        for one in RECORDED:
            recorded = int(re.findall(r'"usage":\{"input_tokens":(\d+)', one["response_body"])[-1])
            counted_by, tokens = count(one["request_body"])
            assert (counted_by, abs(tokens - recorded) <= 0.1 * recorded) == ("o200k_base", True)
        assert count({"model": "gpt-5.5", "input": RARE})[1] > 4 * len(RARE)
