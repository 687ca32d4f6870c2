"""The chart, rendered by Helm's own engine: schemas of Kubernetes, policies, upgrades, refusals, and what it runs."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import redis
import yaml

from gptmock.settings import Settings
from gptmock.settings_sources import FROM_FILE, load_settings
from tests.deploy.helm import CHART, KUBERNETES, Helm, Rendering, helm_engine
from tests.deploy.policies import POLICIES
from tests.deploy.value_sets import BAD, GOOD, VALKEY
from tests.harness import (
    START_SECONDS,
    get,
    plain_environment,
    server_process,
    simulator_process,
    wait_until,
)
from tests.ports import free_port
from tests.stores.servers import DEBIAN_REDIS, binary_of

ROOT = CHART.parent.parent
VARIABLES = {f"GPTMOCK_{field.upper()}" for field in Settings.model_fields} | {
    f"GPTMOCK_{field.upper()}_FILE" for field in FROM_FILE
}
NO_SETTINGS = {"GPTMOCK_IMAGE", "GPTMOCK_NAME"}
"""The image of the compose files, and a placeholder in a comment."""


@pytest.fixture(scope="module")
def helm() -> Iterator[Helm]:
    with helm_engine() as engine:
        yield engine


@pytest.fixture(scope="module")
def rendered(helm: Helm) -> dict[str, Rendering]:
    return helm.render(GOOD)


def test_schema_and_readme_are_in_step_with_the_comments():
    command = [sys.executable, str(ROOT / "helm" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_lint_finds_nothing(helm):
    (message,) = helm.ask("lint", chart=str(CHART))["result"]["Messages"]
    # Severity 1 is for information: the chart has no icon.
    assert (message["Severity"], message["Path"]) == (1, "Chart.yaml")


def test_package_has_what_it_needs(helm, tmp_path):
    with tarfile.open(helm.ask("package", chart=str(CHART), folder=str(tmp_path))["file"]) as archive:
        names = {name.removeprefix("gptmock/") for name in archive.getnames()}
    assert {"Chart.yaml", "README.md", "values.yaml", "values.schema.json", "files/check_service.py"} <= names
    assert names == {str(path.relative_to(CHART)) for path in CHART.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", GOOD)
def test_every_object_is_valid(helm, rendered, name):
    found = helm.ask("validate", objects=rendered[name].objects, versions=KUBERNETES)
    assert found["faults"] == []
    assert set(found["unknown"]) <= {"HTTPRoute", "ServiceMonitor", "PrometheusRule"}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.__name__)
def test_every_rendering_keeps_the_policies(rendered, name, policy):
    assert list(policy(rendered[name])) == []


def test_the_value_sets_bring_out_every_object(rendered):
    kinds = {one["kind"] for rendering in rendered.values() for one in rendering.objects}
    assert kinds == {
        *("ConfigMap", "Deployment", "HTTPRoute", "HorizontalPodAutoscaler", "Ingress", "Job", "NetworkPolicy"),
        *("PersistentVolumeClaim", "Pod", "PodDisruptionBudget", "PrometheusRule", "Secret", "Service"),
        *("ServiceAccount", "ServiceMonitor", "StatefulSet"),
    }


@pytest.mark.parametrize("name", GOOD)
def test_the_server_knows_every_variable(rendered, name):
    for _, pod in rendered[name].pods():
        for container in pod["containers"]:
            variables = [one["name"] for one in container.get("env", ())]
            assert len(variables) == len(set(variables))
            assert {one for one in variables if one.startswith("GPTMOCK_")} <= VARIABLES


@pytest.mark.parametrize("name", GOOD)
def test_the_server_takes_every_value(rendered, tmp_path, name):
    """All but files, which are the pod's."""
    (container,) = rendered[name].one("Deployment")["spec"]["template"]["spec"]["containers"]
    environ = {one["name"]: one["value"] for one in container["env"] if not one["value"].startswith("/etc/")}
    if "GPTMOCK_REDIS_URL" in environ:
        environ["GPTMOCK_ENCRYPTION_KEYS"] = base64.b64encode(bytes(range(32))).decode()
    settings = load_settings({}, environ={**environ, "GPTMOCK_HOME": str(tmp_path)}, directory=tmp_path)
    if name == "everything":
        assert settings.max_body_bytes == 64 << 20


def test_every_name_in_the_chart_and_the_examples_is_a_setting():
    files = [*CHART.rglob("*"), *(ROOT / "deploy").rglob("*")]
    texts = {path: path.read_text("utf-8", errors="replace") for path in files if path.is_file()}
    strange = {
        f"{path.relative_to(ROOT)}: {name}"
        for path, text in texts.items()
        for name in re.findall(r"GPTMOCK_[A-Z_]*[A-Z](?![A-Z_])", text)
        if name not in VARIABLES | NO_SETTINGS
    }
    assert strange == set()


def test_every_setting_can_be_given_to_the_chart():
    """By ``config``, or by a value of its own. Secrets and what the chart computes are refused in ``config``."""
    (pattern,) = json.loads((CHART / "values.schema.json").read_text())["properties"]["config"]["patternProperties"]
    assert [name for name in sorted(VARIABLES) if not re.fullmatch(pattern, name)] == []
    helpers = (CHART / "templates" / "_helpers.tpl").read_text()
    assert [field for field in FROM_FILE if f'"{field.upper()}"' not in helpers] == []


def test_bad_values_are_refused_with_a_reason(helm):
    refusals = helm.refusals({name: values for name, (values, _) in BAD.items()})
    silent = {
        name: refusals[name] for name, (_, words) in BAD.items() if not all(word in refusals[name] for word in words)
    }
    assert silent == {}


def test_an_upgrade_keeps_what_was_generated(helm):
    more_keys = {"secrets": {"generate": True, "keys": {"apiKey": "api-key"}}, "login": {"enabled": True}}
    answer = helm.ask(
        "upgrade", chart=str(CHART), values=[VALKEY, {**VALKEY, "replicaCount": 3}, {**VALKEY, **more_keys}]
    )
    first, second, third = answer["secrets"]
    assert set(first) == {"chat-gptmock-secrets", "chat-gptmock-valkey"}
    assert second == first
    added = third["chat-gptmock-secrets"].pop("api-key")
    assert base64.b64decode(added).startswith(b"sk-")
    assert third == first
    assert len(base64.b64decode(base64.b64decode(first["chat-gptmock-secrets"]["encryption-keys"]))) == 32


def test_an_entry_that_is_renamed_leaves_the_old_one(helm):
    renamed = {**VALKEY, "secrets": {"generate": True, "keys": {"adminKey": "root"}}}
    first, second, third = helm.ask("upgrade", chart=str(CHART), values=[VALKEY, renamed, VALKEY])["secrets"]
    assert second["chat-gptmock-secrets"].pop("root")
    assert second == first
    assert third["chat-gptmock-secrets"].pop("root")
    assert third == first
    ring = {**VALKEY, "secrets": {"generate": True, "keys": {"encryptionKeys": "ring"}}}
    refused = helm.ask("upgrade", chart=str(CHART), values=[VALKEY, ring])["error"]
    assert "the Secret chat-gptmock-secrets has no entry ring" in refused


def test_releases_do_not_share_what_was_generated(rendered):
    secrets = [one for rendering in rendered.values() for one in rendering.of("Secret")]
    generated = [value for one in secrets for value in one["data"].values()]
    assert len(generated) == len(set(generated)) > 20


def test_streams_pass_the_ingress(rendered):
    nginx = rendered["ingress-nginx"].one("Ingress")["metadata"]["annotations"]
    assert nginx["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    assert nginx["nginx.ingress.kubernetes.io/proxy-read-timeout"] == "7200", "annotations have precedence"
    haproxy = rendered["ingress-haproxy"].one("Ingress")["metadata"]["annotations"]
    assert haproxy["haproxy.org/timeout-server"] == "3600s"
    tls = rendered["tls"].one("Ingress")["metadata"]["annotations"]
    assert tls["nginx.ingress.kubernetes.io/backend-protocol"] == "HTTPS"


def test_pods_go_slowly(rendered):
    behavior = rendered["autoscaling"].one("HorizontalPodAutoscaler")["spec"]["behavior"]["scaleDown"]
    assert behavior["stabilizationWindowSeconds"] == 300
    assert behavior["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 120}]


def test_the_pods_reach_the_upstream_and_the_store_only(rendered):
    egress = rendered["valkey"].one("NetworkPolicy", "gptmock")["spec"]["egress"]
    assert [sorted(port["port"] for port in rule["ports"]) for rule in egress] == [[53, 53], [443], [6379], [8000]]
    assert "10.0.0.0/8" in egress[1]["to"][0]["ipBlock"]["except"]
    assert rendered["valkey"].one("NetworkPolicy", "valkey")["spec"]["egress"] == []
    ports = [
        port["port"] for rule in rendered["redis-tls"].one("NetworkPolicy")["spec"]["egress"] for port in rule["ports"]
    ]
    assert ports == [53, 53, 443, 6380, 26379, 8000]


def test_the_login_shows_its_code_in_the_log_of_a_job(rendered):
    job = rendered["login"].one("Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["login", "--headless", "--account=team@example.org"]
    assert f"logs -f job/{job['metadata']['name']}" in rendered["login"].notes


def test_the_alerts_are_those_of_deploy_and_ours(rendered):
    (group,) = rendered["monitoring"].one("PrometheusRule")["spec"]["groups"]
    alerts = [rule["alert"] for rule in group["rules"]]
    (source,) = yaml.safe_load((ROOT / "deploy" / "prometheus" / "gptmock.rules.yml").read_text())["groups"]
    assert alerts == ["GptmockDown", *(rule["alert"] for rule in source["rules"]), "Ours"]
    assert group["rules"][1:-1] == source["rules"], "templates of alerts are left as they are"


def test_the_dashboard_is_json(rendered):
    dashboard = rendered["monitoring"].one("ConfigMap", "dashboard")
    assert json.loads(dashboard["data"]["gptmock.json"])["uid"] == "gptmock"
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"


@pytest.mark.parametrize("name", ["embedded-claim", "ingress-path"])
def test_the_server_starts_as_the_pod_says_and_the_test_pod_approves(rendered, tmp_path, name):
    """The pod's own variables and Secret, with its folders in a temporary one; then the script of ``helm test``."""
    rendering = rendered[name]
    (container,) = rendering.one("Deployment")["spec"]["template"]["spec"]["containers"]
    env, admin_key = _mounted(rendering, container["env"], tmp_path)
    base = env.get("GPTMOCK_BASE_PATH", "").rstrip("/")
    # As the kubelet, Prometheus and other pods ask: by an address and by the names of the Service.
    hosts = ["10.0.0.7:8000", "chat-gptmock", "chat-gptmock.team.svc"]
    with ExitStack() as stack:
        simulator = stack.enter_context(simulator_process())
        running = stack.enter_context(
            server_process(tmp_path / "data", simulator.base_url, workers=1, wait_ready=False, env=env)
        )

        def asked(path, host, key=None):
            headers = {"Host": host, **({} if key is None else {"Authorization": f"Bearer {key}"})}
            return get(f"{running.base_url}{path}", headers=headers)

        wait_until(lambda: _status(f"{running.base_url}{base}/health") == 200, seconds=START_SECONDS)
        for host in hosts:
            assert asked(container["livenessProbe"]["httpGet"]["path"], host).status_code == 200
            # No account has signed in: the key is accepted, the model call is not, and the pod is not ready.
            assert asked(container["readinessProbe"]["httpGet"]["path"], host).status_code == 503
            assert asked(f"{base}/v1/models", host, "wrong").status_code == 401
            assert asked(f"{base}/v1/models", host, admin_key).status_code not in (401, 404, 421)
            assert "gptmock_workers" in asked(_scraped(rendering), host, admin_key).text
        (checks, _) = rendering.one("Pod")["spec"]["containers"]
        service, expects_key = (one["value"] for one in checks["env"])
        script = [sys.executable, "-c", *checks["args"]]
        environment = plain_environment(BASE_URL=f"{running.base_url}{urlsplit(service).path}", EXPECT_KEY=expects_key)
        done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "/v1/models without a key: 401" in done.stdout


def _mounted(rendering, variables, folder):
    """What a server is told by its pod, with the pod's folders below ``folder``; and the admin key."""
    places = {"/etc/gptmock/secrets": folder / "secrets", "/data": folder / "data", "/tmp": folder / "tmp"}  # noqa: S108
    for place in places.values():
        place.mkdir()
    for key, value in rendering.one("Secret")["data"].items():
        (places["/etc/gptmock/secrets"] / key).write_bytes(base64.b64decode(value))
    inside = re.compile("|".join(places))
    own = ("GPTMOCK_PORT", "GPTMOCK_HOME", "GPTMOCK_WORKERS", "GPTMOCK_METRICS_BIND")
    env = {
        one["name"]: inside.sub(lambda place: str(places[place[0]]), one["value"])
        for one in variables
        if one["name"] not in own
    }
    return env, (places["/etc/gptmock/secrets"] / "admin-key").read_text()


def _scraped(rendering):
    """The path that Prometheus asks for."""
    (endpoint,) = [one["spec"]["endpoints"][0] for one in rendering.of("ServiceMonitor")] or [{"path": "/metrics"}]
    return endpoint["path"]


def test_the_login_waits_for_the_store_and_says_what_is_wrong(rendered, tmp_path):
    """The script of the Job's first container, with a store that comes later; then with settings that are wrong."""
    (container,) = rendered["login"].one("Job")["spec"]["template"]["spec"]["initContainers"]
    script = [sys.executable, "-c", *container["args"]]
    binaries = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    told = {
        "PATH": binaries,
        "GPTMOCK_HOME": str(tmp_path),
        "GPTMOCK_ENCRYPTION_KEYS": base64.b64encode(bytes(range(32))).decode(),
    }
    binary = binary_of("valkey") or (DEBIAN_REDIS if DEBIAN_REDIS.exists() else None)
    if binary is None:
        pytest.skip("there is no Valkey or Redis server here")
    port = free_port()
    environment = plain_environment(**told, GPTMOCK_REDIS_URL=f"redis://127.0.0.1:{port}")
    with subprocess.Popen(script, env=environment, stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "gptmock: Redis cannot be reached.\n"
        with subprocess.Popen([binary, "--port", str(port), "--save", ""], stdout=subprocess.DEVNULL) as store:
            try:
                assert waiting.communicate(timeout=START_SECONDS)[0].endswith("The store answers.\n")
            finally:
                store.terminate()
    assert waiting.returncode == 0
    wrong = plain_environment(**told, GPTMOCK_REDIS_URL="http://127.0.0.1")
    done = subprocess.run(script, env=wrong, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "The settings are wrong.\n")
    assert "GPTMOCK_REDIS_URL" in done.stdout


def test_the_store_starts_as_its_pod_says(rendered, tmp_path):
    """Valkey's own server with the rendered configuration and Secret: a password, an AOF, no eviction."""
    binary = binary_of("valkey") or (DEBIAN_REDIS if DEBIAN_REDIS.exists() else None)
    if binary is None:
        pytest.skip("there is no Valkey or Redis server here")
    rendering, port = rendered["valkey"], free_port()
    secret = {key: base64.b64decode(value).decode() for key, value in rendering.one("Secret", "valkey")["data"].items()}
    (tmp_path / "secret.conf").write_text(secret["valkey.conf"])
    conf = rendering.one("ConfigMap", "valkey")["data"]["valkey.conf"]
    conf = conf.replace("/etc/valkey/secret/valkey.conf", str(tmp_path / "secret.conf"))
    conf = (
        conf.replace("dir /data", f"dir {tmp_path}")
        .replace("port 6379", f"port {port}")
        .replace("bind * -::*", "bind 127.0.0.1")
    )
    (tmp_path / "valkey.conf").write_text(conf)
    url = secret["redis-url"].replace("chat-gptmock-valkey.team.svc:6379", f"127.0.0.1:{port}")
    with subprocess.Popen([binary, tmp_path / "valkey.conf"], stdout=subprocess.DEVNULL) as process:
        try:
            with redis.Redis.from_url(url) as client:
                wait_until(partial(_answers, client))
                settings = client.config_get("maxmemory*", "append*")
            with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
                stranger.ping()
        finally:
            process.terminate()
    assert settings["maxmemory-policy"] == "noeviction"
    assert (settings["appendonly"], settings["maxmemory"]) == ("yes", str(256 << 20))


def _answers(client):
    try:
        return client.ping()
    except redis.ConnectionError:
        return False


def _status(url):
    try:
        return get(url).status_code
    except httpx.HTTPError:
        return None
