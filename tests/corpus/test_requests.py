"""Bad requests against a real server process: one answer for each request, the right one, and no fault of ours."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given

from gptmock.server.request_head import END, refusal, target_of
from tests.corpus.cases import Case, cases, name_of
from tests.corpus.exchange import REFUSED, Answer, Pings, exchange, heads_of_h11, post
from tests.harness import CHAT_PATH, ServerProcess, SimulatorProcess, server_process, simulator_process, write_login
from tests.server.made_heads import changed_heads, good_heads
from tests.timing import generous


@dataclass(frozen=True)
class Pair:
    """A server and the simulator behind it."""

    server: ServerProcess
    simulator: SimulatorProcess

    @property
    def url(self) -> str:
        return self.server.base_url


BODY_LIMIT_BYTES = 12 * 1024 * 1024
DRIBBLED = {"chunk-good-alone", "length-zero", "pipelined", "pipelined-post", "target-absolute"}
"""Those that are answered to their last byte: closing with unread bytes resets a connection."""
ATTEMPTS = 3
LONGEST_ERROR_BYTES = 2048


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    home = tmp_path_factory.mktemp("home")
    with simulator_process() as simulator:
        write_login(home, simulator.new_login())
        limit = {"GPTMOCK_MAX_BODY_BYTES": str(BODY_LIMIT_BYTES)}
        with server_process(home, simulator.base_url, workers=1, env=limit) as server:
            yield Pair(server, simulator)


def _is_expected(status: int, expected: int | list[int]) -> bool:
    return status in (expected if isinstance(expected, list) else [expected])


@pytest.mark.parametrize("case", [*cases("raw_http"), *cases("headers")], ids=name_of)
def test_raw_requests(pair: Pair, case: Case):
    data = case.octets("sends")
    calls = pair.simulator.stats()["model_calls"]
    answers = exchange(pair.url, data)
    statuses = [answer.status for answer in answers]
    expected = case.expected["answers"]
    assert len(statuses) == len(expected), (case.about, statuses)
    assert all(_is_expected(*each) for each in zip(statuses, expected, strict=True)), (case.about, statuses)
    for answer in answers:
        if answer.status >= 400:
            assert answer.has_shape(case.expected.get("shape", "openai")), answer.body
    last = answers[-1]
    if "code" in case.expected:
        assert last.code == case.expected["code"]
    assert last.headers["connection"] == "close"
    # What h11 refuses is refused here; and nothing reaches the upstream from behind a refused request.
    served = [answer for answer in answers if answer.code not in REFUSED and "is refused" not in str(answer.error)]
    assert len(served) <= heads_of_h11(data)
    reached = sum(answer.status == 200 and b"chat.completion" in answer.body for answer in answers)
    assert pair.simulator.stats()["model_calls"] == calls + reached


@pytest.mark.parametrize("case", cases("json"), ids=name_of)
def test_json_bodies(pair: Pair, case: Case):
    body = case.text("body").encode(case.expected.get("encoding", "utf-8"))
    path = case.expected["path"]
    stalls: list[float] = []
    # Another process may hold up the worker once; a body does so each time.
    while not stalls or (stalls[-1] > generous(0.25) and len(stalls) < ATTEMPTS):
        with Pings().running(pair.url) as pings:
            answer = post(pair.url, path, body)
        _check(answer, case, path)
        stalls.append(pings.slowest_seconds)
    if "code" in case.expected:
        assert answer.code == case.expected["code"]
    assert min(stalls) <= generous(0.25)


def _conversation(path: str, content: object, **more: object) -> dict[str, object]:
    member = "input" if path == "/v1/responses" else "messages"
    return {"model": "gpt-5.5", "stream": False, member: [{"role": "user", "content": content}], **more}


def _check(answer: Answer, case: Case, path: str) -> None:
    assert _is_expected(answer.status, case.expected["status"]), (case.about, answer.status, answer.body[:300])
    if answer.status != 200:
        assert answer.has_shape("ollama" if path.startswith("/api/") else "openai"), answer.body
        assert len(answer.body) < LONGEST_ERROR_BYTES


@pytest.mark.parametrize("case", cases("tools"), ids=name_of)
def test_tool_schemas(pair: Pair, case: Case):
    path = case.expected["path"]
    more = json.loads(case.expected.get("more", "{}"))
    body = _conversation(path, "scene:text", tools=json.loads(case.text("tools")), **more)
    _check(post(pair.url, path, json.dumps(body).encode()), case, path)


@pytest.fixture
def sink() -> Iterator[socket.socket]:
    """Where nobody should come: a listening socket for the addresses of images."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.mark.parametrize("case", cases("images"), ids=name_of)
def test_images(pair: Pair, case: Case, sink: socket.socket):
    path = case.expected.get("path", CHAT_PATH)
    url = case.text("url").replace("SINK", str(sink.getsockname()[1]))
    if path == "/api/chat":
        body = _conversation(path, "x")
        body["messages"] = [{"role": "user", "content": "scene:text", "images": [url]}]
    elif path == "/v1/responses":
        body = _conversation(path, [{"type": "input_image", "image_url": url}])
    else:
        image = {"type": "image_url", "image_url": {"url": url}}
        body = _conversation(path, [{"type": "text", "text": "scene:text"}, image])
    _check(post(pair.url, path, json.dumps(body).encode()), case, path)
    assert select.select([sink], [], [], 0)[0] == []


# --- Made-up requests ----------------------------------------------------------------------


@given(head=good_heads | changed_heads())
def test_any_head_has_one_answer(pair: Pair, head: bytes):
    head = head[: head.index(END) + len(END)] if END in head else head + END
    refused = refusal(head)
    if refused is None:
        # Now the server has to close, and to know that there is no body.
        head = head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        head += b"0\r\n\r\n" if b"\r\nTransfer-Encoding: chunked\r\n" in head else b""
    if head.startswith(b"HEAD "):
        return
    (answer,) = exchange(pair.url, head)
    assert answer.status < 500
    assert refused is None or answer.status == refused.status
    assert answer.status < 400 or answer.has_shape(_shape_of(head)), (head, answer)


def _shape_of(head: bytes) -> str:
    target = target_of(head).removeprefix("http://localhost")
    return "ollama" if target.partition("?")[0] == "/api" or target.startswith("/api/") else "openai"


@pytest.mark.parametrize("case", [case for case in cases("raw_http") if case.name in DRIBBLED], ids=name_of)
def test_one_byte_at_a_time_is_the_same(pair: Pair, case: Case):
    data = case.octets("sends")
    answers = exchange(pair.url, *(data[at : at + 1] for at in range(len(data))))
    assert [answer.status for answer in answers] == case.expected["answers"]
