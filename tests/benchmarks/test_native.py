"""The compiled upstream and load generator do what the figures rest on."""

from __future__ import annotations

import json
import re
import socket

import httpx
import pytest

from tests.benchmarks import native, replies
from tests.benchmarks.cells import Cell
from tests.timing import generous

RATE = 200.0


@pytest.fixture(scope="module")
def programs():
    try:
        return native.build()
    except native.NoCompiler as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("replies")
    kinds: tuple[replies.Kind, ...] = ("text", "reasoning", "tool", "json")
    replies.write(path, [(kind, deltas, stamped) for kind in kinds for deltas in (0, 30) for stamped in (False, True)])
    replies.write(path, [("text", 4000, False), ("text", 4000, True)])
    return path


@pytest.fixture(scope="module")
def port(programs, directory):
    with native.running_upstream(programs, directory) as (_, port):
        yield port


@pytest.fixture
def load(programs, port, tmp_path):
    def run(cell, **options):
        body = tmp_path / "body.json"
        body.write_text(json.dumps(cell.body("upstream")))
        given = {**cell.options("upstream"), "ramp": 0, **options}
        order = native.Order(port=port, path=cell.path("upstream"), options=given)
        return native.finish_load(native.start_load(programs, body, order))

    return run


def a_cell(**changes):
    return Cell(name="a", title="a", **{"deltas": 30, "connections": 1, "seconds": 0, "requests": 1, **changes})


def raw_reply(port, marker):
    """The body as it came, in one HTTP/1.1 exchange."""
    with httpx.stream("POST", f"http://127.0.0.1:{port}/codex/responses", content=marker, trust_env=False) as response:
        assert response.status_code == 200
        return response.read()


@pytest.mark.parametrize("kind", ["text", "reasoning", "tool", "json"])
@pytest.mark.parametrize("deltas", [0, 30])
def test_a_fast_reply_arrives_as_it_was_written(load, directory, kind, deltas):
    run = load(a_cell(kind=kind, deltas=deltas))
    written = (directory / f"{kind}-{deltas}.sse").read_bytes()
    assert (run.requests, run.failed, run.fault) == (1, 0, "")
    assert run.bytes == len(written)
    assert run.frames == written.count(b"data: {")
    assert 0 < run.cpu < generous(0.1)


@pytest.mark.parametrize("kind", ["text", "reasoning", "tool"])
def test_every_delta_of_a_paced_reply_has_its_delay(load, kind):
    run = load(a_cell(kind=kind, rate=RATE, connections=3, requests=3))
    assert (run.requests, run.failed, run.stamps) == (3, 0, 90)
    assert run.delay is not None
    assert 0 <= run.delay.p50 <= run.delay.p99 < generous(0.1)
    assert run.latency is not None
    # One delta at each tick, and the end at one more.
    assert run.latency.p50 >= 31 / RATE


def test_what_is_repeated_at_the_end_is_what_was_streamed(port):
    body = raw_reply(port, replies.marker("text", 30, rate=RATE)).decode()
    events = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: ")]
    streamed = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    (done,) = [event["text"] for event in events if event["type"] == "response.output_text.done"]
    assert done == streamed
    stamps = [int(stamp, 16) for stamp in re.findall("@([0-9a-f]{12})", streamed)]
    assert len(stamps) == 30
    assert stamps == sorted(stamps)
    assert stamps[0] > 0


@pytest.mark.parametrize("rate", [0, 1_000_000])
def test_a_slow_reader_gets_everything(port, directory, rate):
    marker = replies.marker("text", 4000, rate=rate)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port))
        head = f"POST /codex/responses HTTP/1.1\r\ncontent-length: {len(marker)}\r\n\r\n"
        connection.sendall(head.encode() + marker.encode())
        received = b""
        while not received.endswith(b"\r\n0\r\n\r\n"):
            received += connection.recv(1000)
    blocks = re.split(rb"\r\n[0-9a-f]*\r\n", received.partition(b"\r\n\r\n")[2].partition(b"\r\n")[2])
    body = re.sub(rb"@[0-9a-f]{12}", b"@000000000000", b"".join(blocks).removesuffix(b"\r\n"))
    name = replies.name_of("text", 4000, stamped=rate > 0)
    assert body == (directory / f"{name}.sse").read_bytes()


def test_the_first_delta_waits_as_long_as_asked(load):
    run = load(a_cell(deltas=30, wait_seconds=0.3))
    assert run.failed == 0
    assert run.latency is not None
    assert run.latency.p50 >= 0.3
    assert run.first_frame is not None
    assert run.first_frame.p50 < 0.3


def test_connections_are_used_again_until_the_time_is_over(load):
    run = load(a_cell(connections=4, requests=0, seconds=0.3))
    assert run.failed == 0
    assert run.requests > 4
    assert run.seconds >= 0.3


def test_an_answer_that_is_no_200_counts_as_failed(load):
    run = load(a_cell(kind="text", deltas=31))
    assert (run.requests, run.failed) == (0, 1)
    assert "404" in run.fault


def test_an_answer_with_too_few_deltas_counts_as_failed(load):
    assert load(a_cell(), deltas=300).failed == 1
    assert load(a_cell(rate=RATE), deltas=31).failed == 1


def test_an_answer_without_its_end_counts_as_failed(load):
    assert load(a_cell(), end="response.never").failed == 1


def test_an_answer_that_does_not_come_counts_as_failed(load):
    run = load(a_cell(wait_seconds=600), timeout=0.2)
    assert (run.requests, run.failed) == (0, 1)


def test_the_lists_around_the_replies_are_there(port):
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/backend-api", trust_env=False) as client:
        models = client.get("/codex/models", params={"client_version": "0.169.0"})
        assert replies.MODEL in [model["slug"] for model in models.json()["models"]]
        assert models.headers["etag"]
        assert client.get("/wham/usage").json()["plan_type"] == "plus"
        assert client.get("/anything").status_code == 404


def test_a_missing_compiler_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(native.NoCompiler, match="pip install ziglang"):
        native.compiler()
