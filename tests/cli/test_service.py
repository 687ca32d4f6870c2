"""``gptmock service``: the files that it writes, what it asks of systemd and launchd, and what it refuses."""

from __future__ import annotations

import json
import os
import plistlib
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from gptmock.cli.service_files import launchd_agent, systemd_unit
from tests.cli.inside import run
from tests.harness import plain_environment

ROOT = Path(__file__).parents[2]
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd is not installed")
ODD = ["/opt/my python/bin/python", "-m", "gptmock", "serve", '--debug-model=50%$x"y\\z']


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """
    A home of a user. ``systemctl`` and ``launchctl`` there write down what they are told, and answer as if a service
    ran from its start to its stop: no user's systemd runs where tests do, and no launchd.
    """
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, starts, asks, stops in (
        ("systemctl", "restart", "is-active", "disable"),
        ("launchctl", "bootstrap", "print", "bootout"),
    ):
        script = f"""#!/bin/sh
echo {name} "$@" >>{tmp_path}/told
case " $* " in
  *" {starts} "*) touch {tmp_path}/running ;;
  *" {stops} "*) rm {tmp_path}/running ;;
  *" {asks} "*) test -e {tmp_path}/running ;;
esac
"""
        (tools / name).write_text(script)
        (tools / name).chmod(0o755)
    return tmp_path


def service(place: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    path = f"{place / 'tools'}{os.pathsep}{os.environ['PATH']}"
    home = place / "gptmock home"
    home.mkdir(exist_ok=True)
    environment = {"HOME": str(place), "XDG_CONFIG_HOME": "", "PATH": path, **variables}
    return run(home, "service", *words, **environment)


def told(place: Path) -> list[str]:
    return (place / "told").read_text().splitlines() if (place / "told").exists() else []


def test_systemd_starts_it_now_and_later(place):
    done = service(place, "install", "--port", "9000", "--enable-web-search", "--workers", "2")
    assert (done.returncode, done.stderr) == (0, "")
    unit = (place / ".config/systemd/user/gptmock.service").read_text()
    assert (
        f'ExecStart="{sys.executable}" "-m" "gptmock" "serve" "--port=9000" "--workers=2" "--enable-web-search"' in unit
    )
    assert f"WorkingDirectory={place / 'gptmock home'}\n" in unit
    assert [line.removeprefix("systemctl --user ") for line in told(place)] == [
        "daemon-reload",
        "enable gptmock.service",
        "restart gptmock.service",
    ]
    assert "http://127.0.0.1:9000/v1" in done.stdout
    assert "loginctl enable-linger" in done.stdout


def test_status_and_remove(place):
    assert service(place, "status").returncode == 1
    assert json.loads(service(place, "status", "--json").stdout) == {
        "installed": False,
        "running": False,
        "file": str(place / ".config/systemd/user/gptmock.service"),
    }
    service(place, "install")
    shown = service(place, "status")
    assert (shown.returncode, "Running." in shown.stdout) == (0, True)
    assert service(place, "remove").returncode == 0
    assert told(place)[-1] == "systemctl --user disable --now gptmock.service"
    assert not (place / ".config/systemd/user/gptmock.service").exists()
    assert service(place, "status").returncode == 1
    assert service(place, "remove").stdout == "Not installed.\n"


def test_launchd_starts_it_now_and_later(place):
    with mock.patch.object(sys, "platform", "darwin"):
        done = service(place, "install", "--port", "9000")
        service(place, "install", "--port", "9001")
        shown = service(place, "status")
        removed = service(place, "remove")
    assert (done.returncode, shown.returncode, removed.returncode) == (0, 0, 0), done.stderr
    domain, path = f"gui/{os.getuid()}", place / "Library/LaunchAgents/gptmock.serve.plist"
    assert [line for line in told(place) if " print " not in line] == [
        f"launchctl bootstrap {domain} {path}",
        f"launchctl bootout {domain}/gptmock.serve",
        f"launchctl bootstrap {domain} {path}",
        f"launchctl bootout {domain}/gptmock.serve",
    ]
    assert not path.exists()


def test_the_agent_is_a_property_list(place):
    agent = plistlib.loads(launchd_agent(ODD, home=place, grace_seconds=60))
    assert agent["ProgramArguments"] == ODD
    assert agent["ExitTimeOut"] == 75
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["Umask"] == 0o077


@needs_systemd
def test_systemd_takes_the_unit(place):
    """Odd names too: what systemd does not understand it says."""
    home = place / "a 50% home"
    home.mkdir()
    program = place / "my python"
    program.symlink_to(sys.executable)
    unit = place / "gptmock.service"
    unit.write_text(systemd_unit([str(program), *ODD[1:]], home=home, grace_seconds=60))
    done = subprocess.run([str(ANALYZE), "verify", "--user", unit], capture_output=True, text=True, check=False)
    # Where no user's systemd runs, it complains of that alone.
    complaints = [line for line in done.stderr.splitlines() if "gptmock.service" in line]
    assert complaints == []


@needs_systemd
def test_the_systems_unit_is_hardened():
    unit = ROOT / "deploy" / "gptmock.service"
    command = [str(ANALYZE), "security", "--offline=true", "--threshold=30", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:]
    done = subprocess.run([str(ANALYZE), "verify", unit], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "gptmock.service" in line]
    assert all("/opt/gptmock/bin/gptmock is not executable" in line for line in complaints), complaints


def test_systemd_waits_until_the_server_answers_and_knows_of_a_reload():
    """The supervisor tells it both (tests/faults/test_listening.py)."""
    for unit in ((ROOT / "deploy" / "gptmock.service").read_text(), systemd_unit(ODD, home=ROOT, grace_seconds=60)):
        assert "\nType=notify\n" in unit
        assert "\nExecReload=/bin/kill -HUP $MAINPID\n" in unit


def test_wrong_options_are_told_before_anything_is_written(place):
    done = service(place, "install", "--port", "http", "--workers", "0")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 2)
    assert not (place / ".config").exists()
    assert told(place) == []


def test_a_password_does_not_become_an_argument(place):
    keys = {"GPTMOCK_ENCRYPTION_KEYS": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}
    done = service(place, "install", "--redis-url", "redis://:hush@redis:6379", **keys)
    assert done.returncode == 2
    assert ".env" in done.stderr
    assert "hush" not in done.stderr + done.stdout
    assert not (place / ".config").exists()


def test_variables_of_the_shell_are_named_and_not_taken_over(place):
    done = service(place, "install", GPTMOCK_API_KEY="sk-hush")
    assert "not taken over from your shell: GPTMOCK_API_KEY" in done.stderr
    assert "hush" not in done.stderr + done.stdout + (place / ".config/systemd/user/gptmock.service").read_text()


def test_a_failure_of_systemd_is_one_line(place):
    (place / "tools" / "systemctl").write_text(
        "#!/bin/sh\necho 'Failed to connect to bus: No medium found' >&2\nexit 1\n"
    )
    done = service(place, "install")
    assert done.returncode == 1
    assert done.stderr == "gptmock: systemctl --user daemon-reload failed: Failed to connect to bus: No medium found\n"


def test_where_nothing_starts_services_it_says_so(place):
    done = service(place, "install", PATH=str(place))
    assert done.returncode == 1
    assert "neither systemd nor launchd" in done.stderr


def test_an_environment_of_uvx_is_refused(place):
    with mock.patch.object(sys, "executable", "/home/me/.cache/uv/archive-v0/x/bin/python"):
        done = service(place, "install")
    assert (done.returncode, "uv tool install" in done.stderr) == (1, True)


def test_on_windows_one_line_says_what_works(tmp_path):
    """Without the modules that Windows lacks."""
    script = """
import os, sys
import gptmock.__main__ as program
for name in ("fcntl", "termios", "pwd", "grp", "resource", "tty", "pty"):
    sys.modules[name] = None
os.name = "nt"
sys.exit(program.main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=plain_environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "WSL 2" in done.stderr
    assert "Docker" in done.stderr
