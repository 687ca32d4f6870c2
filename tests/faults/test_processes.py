"""Starting and stopping: early signals, failed starts, workers that die, supervisors that die."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.cli.errors import CommandFailed
from gptmock.cli.ports import check_port
from tests.faults.state import report, statuses
from tests.harness import (
    CHAT_PATH,
    MARK,
    ServerProcess,
    SimulatorProcess,
    chat,
    client,
    get,
    new_mark,
    plain_environment,
    processes_of,
    server_process,
    until,
    until_all_serve,
    wait_until,
    write_login,
)
from tests.ports import free_port
from tests.timing import generous

pytestmark = pytest.mark.faults
RESPAWN_SECONDS = generous(5)
STOP_SECONDS = generous(3)
EXIT_SECONDS = generous(5)

FAILING_START = """
import sys
from gptmock import serving
from gptmock.__main__ import main

def build(*_):
    raise ZeroDivisionError("planted")

if __name__ == "__main__":
    serving.build_app = build
    sys.exit(main())
"""

STOPPED_START = """
import os, signal, sys, time
from gptmock.__main__ import main
from gptmock.supervision.supervisor import Supervisor

start = Supervisor._start_worker

def stopped(supervisor, starter):
    when = os.environ.pop("STOP_WHEN", None)
    if when == "before":
        os.kill(os.getpid(), signal.SIGTERM)
    start(supervisor, starter)
    if when == "after":
        os.kill(os.getpid(), signal.SIGTERM)

if __name__ == "__main__":
    Supervisor._start_worker = stopped
    sys.exit(main())
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_stop_before_the_workers_are_started_reaches_them(simulator: SimulatorProcess, home: Path, when: str):
    """The workers are just being forked."""
    script = home / "stopped.py"
    script.write_text(STOPPED_START)
    env = {"STOP_WHEN": when, "PYTHONPATH": os.pathsep.join(sys.path)}
    program = (sys.executable, str(script))
    with server_process(home, simulator.base_url, env=env, program=program, wait_ready=False) as server:
        assert server.process.wait(EXIT_SECONDS) == 0
        wait_until(lambda: not server.tree(), seconds=STOP_SECONDS)


STOPPED_AS_THE_STARTER_TELLS = """
import os, selectors, signal, sys
from gptmock.__main__ import main
from gptmock.supervision.signals import Signals

select = selectors.DefaultSelector.select
supervisor = os.getpid()

def selected(selector, timeout=None):
    ready = select(selector, timeout)
    links = [key for key, _ in ready if not isinstance(key.fileobj, Signals)]
    if os.getpid() == supervisor and links and os.environ.pop("STOP", None):
        os.kill(supervisor, signal.SIGTERM)
        ready = sorted(select(selector, 0), key=lambda one: not isinstance(one[0].fileobj, Signals))
        print("heard at once:", len(ready), flush=True)
    return ready

if __name__ == "__main__":
    selectors.DefaultSelector.select = selected
    sys.exit(main())
"""


def test_a_stop_heard_together_with_the_starter_is_a_clean_stop(simulator: SimulatorProcess, home: Path):
    """The signal is taken first, and closes what the starter has just written to."""
    script = home / "stopped.py"
    script.write_text(STOPPED_AS_THE_STARTER_TELLS)
    env = {"STOP": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    program = (sys.executable, str(script))
    with server_process(home, simulator.base_url, env=env, program=program, wait_ready=False) as server:
        assert server.process.wait(EXIT_SECONDS) == 0, server.text()
        assert "heard at once: 2" in server.text()
        assert "Traceback" not in server.text()
        wait_until(lambda: not server.tree(), seconds=STOP_SECONDS)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("manner", ["SIGTERM", "Ctrl-C"])
@pytest.mark.parametrize("delay", [0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0, 1.25, 1.5])
def test_a_stop_at_any_moment_of_the_start_is_a_clean_stop(
    simulator: SimulatorProcess, home: Path, delay: float, manner: str, workers: int
):
    with server_process(home, simulator.base_url, workers=workers, wait_ready=False) as server:
        time.sleep(delay)
        began = time.monotonic()
        if manner == "SIGTERM":
            server.process.send_signal(signal.SIGTERM)
        else:
            # What a terminal does: everybody in its foreground group hears it.
            os.killpg(server.process.pid, signal.SIGINT)
        code = server.process.wait(20)
        took = time.monotonic() - began
        is_clean = code == 0 or (manner == "Ctrl-C" and code == 130)
        # The interpreter itself takes a moment before any program can hear a signal.
        # So does the first import of the entry, that of the module which knows signals.
        is_early = delay <= generous(0.2) and "gptmock" not in server.text().replace("gptmock/__main__.py", "")
        assert is_clean or is_early, (code, server.text())
        assert is_early or "Traceback" not in server.text(), server.text()
        assert took < STOP_SECONDS
        wait_until(lambda: not server.tree(), seconds=STOP_SECONDS)


STOPPED_IMPORT = """
import os, signal, sys

class Stop:
    first = os.getpid()

    def find_spec(self, name, path=None, target=None):
        if name == os.environ["STOP_AT"]:
            victim = self.first if os.environ["STOP_WHOM"] == "supervisor" else os.getpid()
            os.kill(victim, int(os.environ["STOP_BY"]))
        return None

sys.meta_path.insert(0, Stop())

if __name__ == "__main__":
    from gptmock.__main__ import main
    sys.exit(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("whom", "module"),
    [
        *(("supervisor", name) for name in ("gptmock.cli", "argparse", "gptmock.cli.serve", "numbers")),
        *((whom, "gptmock.gateway.refresh") for whom in ("supervisor", "starter")),
    ],
)
def test_a_stop_while_the_program_is_imported_is_heard(
    simulator: SimulatorProcess, home: Path, module: str, number: signal.Signals, whom: str
):
    """
    An exception out of a signal handler is lost wherever an import takes it for its own failure. The later modules are
    imported by the starter.
    """
    script = home / "stopped.py"
    script.write_text(STOPPED_IMPORT)
    paths = os.pathsep.join(sys.path)
    env = {"STOP_AT": module, "STOP_BY": str(int(number)), "STOP_WHOM": whom, "PYTHONPATH": paths}
    program = (sys.executable, str(script))
    with server_process(home, simulator.base_url, workers=1, env=env, program=program, wait_ready=False) as server:
        assert server.process.wait(EXIT_SECONDS) == (0 if number == signal.SIGTERM else 130)
        assert server.text() == ""
        wait_until(lambda: not server.tree(), seconds=STOP_SECONDS)


SWALLOWED_STOP = """
import os, signal, sys
from gptmock import wiring
from gptmock.__main__ import main

def swallowed(settings):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except SystemExit:
        print("swallowed", flush=True)

if __name__ == "__main__":
    wiring.start_logs = swallowed
    sys.exit(main())
"""


def test_a_stop_that_somebody_has_swallowed_is_heard_before_the_server_starts(simulator: SimulatorProcess, home: Path):
    script = home / "swallowed.py"
    script.write_text(SWALLOWED_STOP)
    env = {"PYTHONPATH": os.pathsep.join(sys.path)}
    program = (sys.executable, str(script))
    with server_process(home, simulator.base_url, env=env, program=program, wait_ready=False) as server:
        assert server.process.wait(EXIT_SECONDS) == 0
        assert server.text() == "swallowed\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_other_processes_of_the_server_harms_nobody(
    simulator: SimulatorProcess, home: Path, number: signal.Signals
):
    """A terminal and some service managers signal all processes; the server's first one tells the others itself."""
    with server_process(home, simulator.base_url) as server:
        others = server.tree() - {server.process.pid}
        assert len(others) == 3
        for pid in others:
            os.kill(pid, number)
        assert httpx.post(server.base_url + CHAT_PATH, json=chat("scene:text"), trust_env=False).status_code == 200
        assert server.tree() - {server.process.pid} == others
        assert server.stop() == 0
        assert "Traceback" not in server.text()
        assert server.logs("server.worker_died") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_serving_is_a_clean_stop(simulator: SimulatorProcess, home: Path, number: signal.Signals):
    with server_process(home, simulator.base_url, workers=2) as server:
        assert httpx.post(server.base_url + CHAT_PATH, json=chat("scene:text"), trust_env=False).status_code == 200
        began = time.monotonic()
        server.process.send_signal(number)
        assert server.process.wait(20) == 0
        assert time.monotonic() - began < EXIT_SECONDS
        wait_until(lambda: not server.tree(), seconds=STOP_SECONDS)
        assert [line for line in server.logs() if line["level"] == "error"] == []


def test_a_stop_just_after_the_first_answer_is_heard(simulator: SimulatorProcess, home: Path):
    # The supervisor is still taking note of its workers.
    for number in range(12):
        with server_process(home, simulator.base_url, workers=1 + number % 2) as server:
            began = time.monotonic()
            assert server.stop(seconds=20) == 0, server.text()
            assert time.monotonic() - began < EXIT_SECONDS
            assert "Experienced exception" not in server.text()


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("manner", ["SIGTERM", "Ctrl-C"])
async def test_a_stream_that_runs_is_finished_before_the_stop(
    simulator: SimulatorProcess, home: Path, workers: int, manner: str
):
    with server_process(home, simulator.base_url, workers=workers) as server:
        await until_all_serve(server, workers)
        async with client(server.base_url) as opened:
            running = [
                asyncio.ensure_future(opened.post(CHAT_PATH, json=chat("scene:stall:3", stream=True)))
                for _ in range(10)
            ]
            await until(lambda: simulator.stats()["open_streams"] == 10)
            if manner == "SIGTERM":
                server.process.send_signal(signal.SIGTERM)
            else:
                # What a terminal does: everybody in its foreground group hears it.
                os.killpg(server.process.pid, signal.SIGINT)
            answers = await asyncio.gather(*running)
        assert all(answer.content.endswith(b"data: [DONE]\n\n") for answer in answers)
        assert await asyncio.to_thread(server.process.wait, 20) == 0
        assert [line for line in server.logs() if line["level"] == "error"] == []


async def test_who_asks_twice_does_not_wait_for_streams(simulator: SimulatorProcess, home: Path):
    with server_process(home, simulator.base_url, workers=2) as server:
        async with client(server.base_url) as opened:
            running = asyncio.ensure_future(opened.post(CHAT_PATH, json=chat("scene:stall:30", stream=True)))
            await until(lambda: simulator.stats()["open_streams"] == 1)
            server.process.send_signal(signal.SIGTERM)
            with pytest.raises(TimeoutError):
                await until(lambda: server.process.poll() is not None, seconds=1)
            server.process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            await until(lambda: server.process.poll() is not None, seconds=EXIT_SECONDS)
            report(exit_seconds=round(time.monotonic() - began, 2), code=server.process.returncode)
            with pytest.raises(httpx.RemoteProtocolError):
                await running
        assert time.monotonic() - began <= EXIT_SECONDS
        await until(lambda: not server.tree(), seconds=STOP_SECONDS)


def test_a_port_in_use_is_one_clear_line_and_exit_code_1(simulator: SimulatorProcess, home: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        args = ["--port", str(port)]
        with server_process(home, simulator.base_url, args=args, wait_ready=False) as server:
            assert server.process.wait(30) == 1
            (line,) = server.text().splitlines()
    assert line.startswith(f"gptmock: port {port} on 127.0.0.1 is in use")


def test_a_start_that_fails_is_exit_code_1_and_takes_nobody_with_it(tmp_path: Path):
    script, mark, port = tmp_path / "failing.py", new_mark(), str(free_port())
    script.write_text(FAILING_START)
    # A shell leads the process group, as a terminal or a test run would; it must live to tell the code.
    shell = subprocess.run(
        ["sh", "-c", '"$0" "$1" serve --port "$2" --workers 2; echo "code $?"', sys.executable, str(script), port],
        env=plain_environment(**{MARK: mark, "PYTHONPATH": os.pathsep.join(sys.path), "GPTMOCK_HOME": str(tmp_path)}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=90,
        check=False,
    )
    assert shell.returncode == 0, shell.stderr[-2000:]
    assert shell.stdout == "code 1\n", shell.stderr[-2000:]
    assert "planted" in shell.stderr
    assert shell.stderr.splitlines()[-1] == "gptmock: the server could not start; see the log above"
    wait_until(lambda: not processes_of(mark), seconds=10)


async def test_a_worker_that_dies_is_replaced_and_the_others_serve_on(simulator: SimulatorProcess, home: Path):
    with server_process(home, simulator.base_url, workers=2) as server:
        await until_all_serve(server, 2)
        before = server.workers()
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        began = time.monotonic()
        await until(lambda: len(server.workers() - {victim}) == 2, seconds=RESPAWN_SECONDS)
        report(respawn_seconds=round(time.monotonic() - began, 2))
        async with client(server.base_url) as opened:
            asked = (opened.post(CHAT_PATH, json=chat("scene:text")) for _ in range(20))
            assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
        assert [line["died_pid"] for line in server.logs("server.worker_died")] == [victim]


async def test_all_workers_may_die_at_once(simulator: SimulatorProcess, home: Path):
    with server_process(home, simulator.base_url, workers=2) as server:
        await until_all_serve(server, 2)
        before = server.workers()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        async with client(server.base_url) as opened:
            # The kernel takes the connection, so it only waits.
            assert (await opened.post(CHAT_PATH, json=chat("scene:text"))).status_code == 200
            took = time.monotonic() - began
            assert took <= RESPAWN_SECONDS
        await until(lambda: len(server.workers() - before) == 2, seconds=RESPAWN_SECONDS)
        report(answering_seconds=round(took, 2), respawn_seconds=round(time.monotonic() - began, 2))


@pytest.mark.parametrize(("workers", "kills"), [(1, 8), (8, 24)])
def test_workers_that_are_killed_again_and_again_do_not_end_the_server(
    simulator: SimulatorProcess, home: Path, workers: int, kills: int
):
    with server_process(home, simulator.base_url, workers=workers) as server:
        killed = set[int]()
        while len(killed) < kills:
            wait_until(lambda: bool(server.workers() - killed), seconds=RESPAWN_SECONDS)
            for pid in server.workers() - killed:
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
            assert server.process.poll() is None
        began = time.monotonic()
        assert get(f"{server.base_url}/health", timeout=RESPAWN_SECONDS).status_code == 200
        report(kills=len(killed), answering_seconds=round(time.monotonic() - began, 2))
        wait_until(lambda: len(server.workers() - killed) == workers, seconds=RESPAWN_SECONDS)
        assert server.logs("server.gave_up") == []
        assert server.stop() == 0


DYING_START = """
import os, sys
from gptmock import serving
from gptmock.__main__ import main

build = serving.build_app

def dying(*arguments):
    if os.environ["DIES"] == "silently":
        os._exit(3)
    if os.path.exists(os.environ["DIES"]):
        raise ZeroDivisionError("planted")
    return build(*arguments)

if __name__ == "__main__":
    serving.build_app = dying
    sys.exit(main())
"""
GAVE_UP = "gptmock: the workers kept dying, so the server has stopped; see the log above"


def _dying(home: Path, dies: str) -> dict[str, Any]:
    script = home / "dying.py"
    script.write_text(DYING_START)
    env = {"DIES": dies, "PYTHONPATH": os.pathsep.join(sys.path)}
    return {"env": env, "program": (sys.executable, str(script)), "workers": 2}


def test_workers_that_die_at_every_start_end_the_server_with_a_clear_line(simulator: SimulatorProcess, home: Path):
    with server_process(home, simulator.base_url, **_dying(home, "silently"), wait_ready=False) as server:
        assert server.process.wait(60) == 1
        assert server.text().splitlines()[-1] == GAVE_UP
        assert len(server.logs("server.gave_up")) == 1
        assert len(server.logs("server.worker_died")) == 11
        wait_until(lambda: not server.tree(), seconds=5)


def test_a_server_gives_up_only_when_no_worker_serves_and_none_starts(simulator: SimulatorProcess, home: Path):
    fails = home / "fails"
    with server_process(home, simulator.base_url, **_dying(home, str(fails))) as server:
        wait_until(lambda: len(server.workers()) == 2, seconds=RESPAWN_SECONDS)
        first, second = sorted(server.workers())
        fails.touch()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len(server.logs("server.worker_died")) > 11, seconds=60)
        assert server.process.poll() is None
        assert second in server.workers()
        os.kill(second, signal.SIGKILL)
        assert server.process.wait(60) == 1
        assert server.text().splitlines()[-1] == GAVE_UP
        wait_until(lambda: not server.tree(), seconds=5)


async def test_a_stream_whose_worker_dies_breaks_off_and_never_looks_complete(simulator: SimulatorProcess, home: Path):
    with server_process(home, simulator.base_url, workers=1) as server:
        async with client(server.base_url) as opened:
            running = asyncio.ensure_future(opened.post(CHAT_PATH, json=chat("scene:stall:20", stream=True)))
            await until(lambda: simulator.stats()["open_streams"] == 1)
            for pid in server.workers():
                os.kill(pid, signal.SIGKILL)
            with pytest.raises(httpx.RemoteProtocolError):
                await running
        await until(lambda: simulator.stats()["open_streams"] == 0, seconds=generous(1))


def test_workers_do_not_outlive_a_supervisor_that_was_killed(simulator: SimulatorProcess, home: Path):
    with server_process(home, simulator.base_url, workers=2) as server:
        wait_until(lambda: len(server.workers()) == 2)
        workers = server.workers()
        server.process.kill()
        wait_until(lambda: not server.tree() & workers, seconds=10)
        # Nor does their starter.
        wait_until(lambda: not server.tree(), seconds=STOP_SECONDS)
        port = int(server.base_url.rpartition(":")[2])
        try:
            check_port("127.0.0.1", port)
        except CommandFailed as error:
            pytest.fail(str(error))


NETSTAT = Path("/proc/net/netstat")
SOMAXCONN = Path("/proc/sys/net/core/somaxconn")


@pytest.mark.skipif(
    not SOMAXCONN.exists() or int(SOMAXCONN.read_text()) < 1000, reason="the system has no room for a crowd"
)
async def test_a_crowd_that_comes_while_all_workers_are_busy_finds_room(simulator: SimulatorProcess, home: Path):
    with server_process(home, simulator.base_url, workers=2) as server:
        await until_all_serve(server, 2)
        before = _without_room()
        for pid in server.workers():
            os.kill(pid, signal.SIGSTOP)
        crowd = asyncio.ensure_future(statuses(server.base_url, 600))
        await asyncio.sleep(1.5)
        for pid in server.workers():
            os.kill(pid, signal.SIGCONT)
        assert await crowd == {200: 600}
        assert _without_room() == before


def _without_room() -> int:
    """``ListenOverflows``, of the whole machine since its start."""
    names, values = (line.split() for line in NETSTAT.read_text().splitlines()[:2])
    return int(values[names.index("ListenOverflows")])


def test_a_server_leaves_nothing_behind_even_if_it_is_killed(simulator: SimulatorProcess, home: Path):
    with tempfile.TemporaryDirectory(prefix="gm-") as name:
        for victims in ("all", "supervisor", "none"):
            with server_process(home, simulator.base_url, env={"TMPDIR": name}) as server:
                # A start removes what a server has left that is gone altogether.
                assert len(list(Path(name).iterdir())) == 1
                killed = {"all": server.tree(), "supervisor": {server.process.pid}, "none": set[int]()}[victims]
                for pid in killed:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                if not killed:
                    server.stop()
                wait_until(partial(_is_over, server), seconds=generous(8))
            if victims != "all":
                assert list(Path(name).iterdir()) == []


def _is_over(server: ServerProcess) -> bool:
    return not server.tree()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_the_supervisor_is_small(simulator: SimulatorProcess, home: Path):
    with server_process(home, simulator.base_url) as server:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        resident = int(status.partition("VmRSS:")[2].split()[0]) / 1024
        report(resident_megabytes=round(resident, 1))
        assert resident <= 25


async def test_a_starter_that_dies_is_replaced_and_no_stream_is_cut(simulator: SimulatorProcess, home: Path):
    with server_process(home, simulator.base_url, workers=2) as server:
        await until_all_serve(server, 2)
        starter, before = server.starter(), server.workers()
        async with client(server.base_url) as opened:
            running = asyncio.ensure_future(opened.post(CHAT_PATH, json=chat("scene:stall:2", stream=True)))
            await until(lambda: simulator.stats()["open_streams"] == 1)
            os.kill(starter, signal.SIGKILL)
            assert (await running).content.endswith(b"data: [DONE]\n\n")
        # Its children are replaced by those of its successor, so that nobody is missing whom it could not replace.
        await until(lambda: len(server.workers()) == 2 and not server.workers() & before, seconds=generous(10))
        assert server.starter() != starter


async def test_a_client_that_keeps_its_connection_does_not_hold_up_the_stop(tmp_path, simulator):
    """Every proxy keeps the connection of a stream for the next request."""
    write_login(tmp_path, simulator.new_login())
    with server_process(tmp_path, simulator.base_url, workers=1) as server:
        async with client(server.base_url) as opened:
            async with opened.stream("POST", CHAT_PATH, json=chat("scene:stall:2", stream=True)) as response:
                chunks = response.aiter_raw()
                await anext(chunks)
                server.process.send_signal(signal.SIGTERM)
                rest = [chunk async for chunk in chunks]
            # The connection is still in the client's pool: it is the server that closes it.
            assert rest[-1].endswith(b"data: [DONE]\n\n")
            assert await asyncio.to_thread(server.process.wait, EXIT_SECONDS) == 0
