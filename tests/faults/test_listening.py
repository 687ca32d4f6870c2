"""Other ways to listen: a Unix socket, TLS, sockets of a service manager; and what a service manager hears."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.harness import (
    CHAT_PATH,
    PROGRAM,
    ServerProcess,
    SimulatorProcess,
    chat,
    plain_environment,
    server_process,
    until,
    wait_until,
)
from tests.timing import generous

pytestmark = pytest.mark.faults
START_SECONDS = generous(5)
EXIT_SECONDS = generous(3)
DONE = b"data: [DONE]\n\n"


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path: that of a socket is limited."""
    with tempfile.TemporaryDirectory(prefix="gm-") as name:
        yield Path(name)


# --- A path --------------------------------------------------------------------------------


async def test_a_unix_socket_serves_who_may_write_to_it(simulator: SimulatorProcess, home: Path, short: Path):
    path = short / "socket"
    args = ["--unix-socket", str(path)]
    with server_process(home, simulator.base_url, args=args, wait_ready=False) as server:
        await until(lambda: f"serves http at the socket {path} with 2 workers" in server.text(), seconds=START_SECONDS)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        async with at(path) as opened:
            assert (await opened.get("/health")).status_code == 200
            answer = await opened.post(CHAT_PATH, json=chat("scene:text", stream=True))
            assert answer.content.endswith(DONE)
            # A second server does not take the path away.
            with server_process(home, simulator.base_url, args=args, wait_ready=False) as second:
                assert await asyncio.to_thread(second.process.wait, START_SECONDS) == 1
                assert second.text().startswith(f"gptmock: {path} is in use")
            running = asyncio.ensure_future(opened.post(CHAT_PATH, json=chat("scene:stall:2", stream=True)))
            await until(lambda: simulator.stats()["open_streams"] == 1)
            server.process.send_signal(signal.SIGHUP)
            await until(lambda: len(server.logs("server.reloaded")) == 1, seconds=START_SECONDS)
            assert (await opened.get("/health")).status_code == 200
            assert (await running).content.endswith(DONE)
        assert await asyncio.to_thread(server.stop) == 0
        assert not path.exists()


async def test_a_path_that_a_killed_server_has_left_is_taken(simulator: SimulatorProcess, home: Path, short: Path):
    path = short / "socket"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    env = {"GPTMOCK_UNIX_SOCKET": str(path), "GPTMOCK_UNIX_SOCKET_MODE": "660"}
    with server_process(home, simulator.base_url, env=env, wait_ready=False) as server:
        await until(lambda: "serves" in server.text(), seconds=START_SECONDS)
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        async with at(path) as opened:
            assert (await opened.get("/health")).status_code == 200


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({"GPTMOCK_UNIX_SOCKET": "file"}, 1, "file exists and is no socket"),
        ({"GPTMOCK_UNIX_SOCKET": "nowhere/socket"}, 1, "nowhere/socket: No such file"),
        ({"GPTMOCK_UNIX_SOCKET": "s", "GPTMOCK_UNIX_SOCKET_MODE": "rw"}, 2, "GPTMOCK_UNIX_SOCKET_MODE"),
        ({"GPTMOCK_UNIX_SOCKET": "s", "GPTMOCK_UNIX_SOCKET_OWNER": "no-such-user"}, 2, "GPTMOCK_UNIX_SOCKET_OWNER"),
        ({"GPTMOCK_TLS_CERT": "file"}, 2, "GPTMOCK_TLS_KEY: required with GPTMOCK_TLS_CERT"),
        ({"GPTMOCK_TLS_CERT": "gone", "GPTMOCK_TLS_KEY": "file"}, 2, "the certificate"),
        ({"GPTMOCK_TLS_CERT": "file", "GPTMOCK_TLS_KEY": "file"}, 2, "are no certificate and key in PEM"),
        ({"GPTMOCK_PID_FILE": "nowhere/pid"}, 2, "GPTMOCK_PID_FILE"),
    ],
)
def test_what_cannot_be_listened_with_is_one_clear_line(
    tmp_path: Path, settings: dict[str, str], code: int, words: str
):
    (tmp_path / "file").touch()
    ended = subprocess.run(
        [*PROGRAM, "serve", "--port", "0"],
        env=plain_environment(GPTMOCK_HOME=str(tmp_path), **settings),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (code, "")
    assert len(ended.stderr.splitlines()) == 1
    assert words in ended.stderr


def at(path: Path) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url="http://localhost", timeout=60.0
    )


# --- TLS -----------------------------------------------------------------------------------


class Authority:
    """Issues certificates for 127.0.0.1 to the files of a server."""

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        self.chain, self.key = folder / "cert.pem", folder / "key.pem"
        self.trusted = ssl.create_default_context()
        own = self._signed(self._name, self._key, is_authority=True)
        self.trusted.load_verify_locations(cadata=own.public_bytes(serialization.Encoding.PEM).decode())

    def issue(self) -> int:
        """Write a new pair; returns its serial number."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        certificate = self._signed(name, key)
        self.chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
        return certificate.serial_number

    def _signed(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_authority: bool = False
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .sign(self._key, hashes.SHA256())
        )


async def test_a_new_certificate_is_used_without_a_restart(simulator: SimulatorProcess, home: Path, tmp_path: Path):
    authority = Authority(tmp_path)
    first = authority.issue()
    args = ["--tls-cert", str(authority.chain), "--tls-key", str(authority.key)]
    with server_process(home, simulator.base_url, args=args, wait_ready=False) as server:
        await until(lambda: "gptmock serves https://127.0.0.1:" in server.text(), seconds=START_SECONDS)
        url = server.base_url.replace("http:", "https:")
        async with httpx.AsyncClient(base_url=url, verify=authority.trusted, timeout=60.0, trust_env=False) as opened:
            assert (await opened.get("/health")).status_code == 200
            answer = await opened.post(CHAT_PATH, json=chat("scene:text", stream=True))
            assert answer.content.endswith(DONE)
            running = asyncio.ensure_future(opened.post(CHAT_PATH, json=chat("scene:stall:3", stream=True)))
            await until(lambda: simulator.stats()["open_streams"] == 1)
            assert await asyncio.to_thread(_serials, server, authority) == {first}
            second = authority.issue()
            # Each worker looks at the files; it may see them between two writes, which changes nothing.
            await until(lambda: _workers_that_log(server, "tls.reloaded") == 2, seconds=generous(3))
            assert await asyncio.to_thread(_serials, server, authority) == {second}
            shutil.copy(authority.chain, authority.key)
            await until(lambda: _workers_that_log(server, "tls.reload_failed") == 2, seconds=generous(3))
            assert await asyncio.to_thread(_serials, server, authority) == {second}
            assert (await running).content.endswith(DONE)
        assert await asyncio.to_thread(server.stop) == 0


def _workers_that_log(server: ServerProcess, event: str) -> int:
    return len({line["pid"] for line in server.logs(event)})


def _serials(server: ServerProcess, authority: Authority) -> set[int]:
    """Of the certificates that new connections see."""
    address = ("127.0.0.1", int(server.base_url.rpartition(":")[2]))
    serials = set()
    for _ in range(12):
        with (
            socket.create_connection(address, timeout=10) as plain,
            authority.trusted.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
        ):
            found = wrapped.getpeercert()
            assert found is not None
            serials.add(int(str(found["serialNumber"]), 16))
    return serials


# --- Service managers ----------------------------------------------------------------------

ACTIVATE = """
import os, socket, sys
listening = socket.socket()
listening.bind(("127.0.0.1", int(sys.argv[1])))
listening.listen()
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.executable, [sys.executable, "-m", "gptmock", *sys.argv[2:]])
"""


async def test_a_socket_of_the_service_manager_is_served_and_it_is_told(
    simulator: SimulatorProcess, home: Path, short: Path
):
    script, path = home / "activate.py", short / "notify"
    script.write_text(ACTIVATE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, socket.socket() as probe:
        manager.bind(str(path))
        manager.settimeout(START_SECONDS)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        program = (sys.executable, str(script), str(port))
        with server_process(
            home, simulator.base_url, program=program, env={"NOTIFY_SOCKET": str(path)}, wait_ready=False
        ) as server:
            assert await asyncio.to_thread(manager.recv, 4096) == b"READY=1\n"
            assert f"serves http://127.0.0.1:{port}/v1" in server.text()
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as opened:
                assert (await opened.get("/health")).status_code == 200
            server.process.send_signal(signal.SIGHUP)
            reloading = await asyncio.to_thread(manager.recv, 4096)
            assert reloading.startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert await asyncio.to_thread(manager.recv, 4096) == b"READY=1\n"
            server.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(manager.recv, 4096) == b"STOPPING=1\n"
            assert await asyncio.to_thread(server.process.wait, EXIT_SECONDS) == 0


ORPHANS = """
import os, subprocess, sys, time
# A grandchild whose parent ends first: its parent is then process 1.
for _ in range(3):
    subprocess.run([sys.executable, "-c", "import subprocess; subprocess.Popen(['sleep', '0.2'])"], check=True)
"""


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(["unshare", "-pf", "--mount-proc", "true"], capture_output=True, check=False).returncode != 0,
    reason="no pid namespaces here",
)
def test_as_process_1_it_stops_cleanly_and_leaves_no_zombie(simulator: SimulatorProcess, home: Path):
    program = ("unshare", "-pf", "--mount-proc", "--kill-child", *PROGRAM)
    with server_process(home, simulator.base_url, program=program) as server:
        (inner,) = _children(server.process.pid)
        namespace = ("nsenter", "-t", str(inner), "-p", "-m")
        subprocess.run([*namespace, sys.executable, "-c", ORPHANS], check=True)
        # Those that entered the namespace have a parent outside of it; their children have process 1.
        wait_until(lambda: "Z" not in _states(inner), seconds=generous(2))
        os.kill(inner, signal.SIGTERM)
        assert server.process.wait(EXIT_SECONDS) == 0
        assert "Traceback" not in server.text()


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _states(pid: int) -> str:
    """The states of a process's children, one letter each."""
    states = ""
    for child in _children(pid):
        try:
            states += Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
    return states
