"""
Streams of a broken upstream against a real server process: what is not complete is never told as complete, in any
dialect, and a broken upstream is a 502, no fault of ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.corpus.cases import Case, cases, name_of
from tests.corpus.upstream import PlayedUpstream, Reply, played_upstream
from tests.harness import CHAT_PATH, NO_TLS, chat, server_process, simulator_process, write_login


@dataclass(frozen=True)
class Pair:
    """A client of a server, and the upstream behind that."""

    client: httpx.Client
    upstream: PlayedUpstream


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    home = tmp_path_factory.mktemp("home")
    with simulator_process() as simulator, played_upstream() as upstream:
        write_login(home, simulator.new_login())
        env = {"GPTMOCK_UPSTREAM_URL": upstream.url}
        with (
            server_process(home, simulator.base_url, workers=1, env=env) as server,
            httpx.Client(base_url=server.base_url, trust_env=False, verify=NO_TLS, timeout=60.0) as client,
        ):
            yield Pair(client, upstream)


@pytest.fixture(params=cases("upstream_sse"), ids=name_of)
def case(request: pytest.FixtureRequest, pair: Pair) -> Case:
    case: Case = request.param
    pair.upstream.play(Reply(case.octets("stream"), is_cut=case.expected.get("ending") == "cut"))
    return case


def _is_complete(case: Case, *, found: bool) -> bool:
    """Whether the reply has to be complete: as expected, or as found where either will do."""
    return found if case.expected.get("any") else "text" in case.expected


def _check_text(case: Case, text: str) -> None:
    if "text" in case.expected:
        assert text == case.expected["text"]


def test_streams_of_the_upstream(pair: Pair, case: Case):
    _check_collected(pair.client.post(CHAT_PATH, json=chat()), case)
    _check_chat(_streamed(pair, CHAT_PATH, chat(stream=True)), case)
    _check_ollama(_streamed(pair, "/api/chat", chat(stream=True)), case)
    _check_responses(_streamed(pair, "/v1/responses", {"model": "gpt-5.5", "input": "Hello", "stream": True}), case)


def _streamed(pair: Pair, path: str, body: dict[str, Any]) -> httpx.Response:
    return pair.client.post(path, json=body)


def _check_collected(answer: httpx.Response, case: Case) -> None:
    assert answer.status_code in (200, 502), (case.about, answer.text[:300])
    assert _is_complete(case, found=answer.status_code == 200) == (answer.status_code == 200), (
        case.about,
        answer.text[:300],
    )
    if answer.status_code == 200:
        _check_text(case, answer.json()["choices"][0]["message"]["content"])
    else:
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def _check_chat(answer: httpx.Response, case: Case) -> None:
    assert answer.status_code in (200, 502)
    if answer.status_code == 502:
        assert not _is_complete(case, found=False)
        return
    frames = [frame for frame in answer.content.split(b"\n\n") if frame.startswith(b"data: ")]
    ended = frames[-1] == b"data: [DONE]"
    documents = [json.loads(frame.removeprefix(b"data: ")) for frame in frames[: len(frames) - ended]]
    failed = [each for each in documents if "error" in each]
    finished = any(choice["finish_reason"] for each in documents for choice in each.get("choices", ()))
    assert ended == finished == (not failed)
    assert ended == _is_complete(case, found=ended), case.about
    if ended:
        deltas = [choice["delta"].get("content") or "" for each in documents for choice in each["choices"]]
        _check_text(case, "".join(deltas))


def _check_ollama(answer: httpx.Response, case: Case) -> None:
    assert answer.status_code in (200, 502)
    if answer.status_code == 502:
        assert not _is_complete(case, found=False)
        assert set(answer.json()) == {"error"}
        return
    lines = [json.loads(line) for line in answer.content.split(b"\n") if line]
    ended = bool(lines[-1].get("done"))
    assert ended == ("error" not in lines[-1])
    assert sum(bool(line.get("done")) for line in lines) == ended
    assert ended == _is_complete(case, found=ended), case.about
    if ended:
        _check_text(case, "".join(line["message"]["content"] for line in lines))


def _check_responses(answer: httpx.Response, case: Case) -> None:
    assert answer.status_code in (200, 502)
    if answer.status_code == 502:
        assert not _is_complete(case, found=False)
        return
    frames = [frame for frame in answer.content.split(b"\n\n") if b"data: " in frame]
    events = [json.loads(frame.partition(b"data: ")[2]) for frame in frames]
    types = [event["type"] for event in events]
    last = types[-1]
    assert last in ("response.completed", "response.failed", "response.incomplete", "error")
    ended = last == "response.completed"
    assert ended == _is_complete(case, found=ended), (case.about, types)
    assert types.count("response.completed") == ended
