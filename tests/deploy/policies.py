"""What must be true of every rendering of the chart: each function returns what is wrong, in words."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.deploy.helm import WORKLOADS, Manifest, Rendering

_VOLUME_KINDS = {"emptyDir", "projected", "secret", "configMap", "persistentVolumeClaim", "csi", "ephemeral"}
"""What the restricted profile allows (Kubernetes, "Pod Security Standards"), without the downward API."""
_DRAINING_SECONDS = 15
"""More than the server needs to close after the grace of its streams."""


def restricted(rendering: Rendering) -> Iterator[str]:
    """Every pod keeps the restricted profile, with a read-only root, no token and no variables of other Services."""
    for labels, pod in rendering.pods():
        where = labels["app.kubernetes.io/component"]
        context = pod["securityContext"]
        if not (context["runAsNonRoot"] and context["runAsUser"] > 0 and context["fsGroup"] > 0):
            yield f"{where}: root"
        if context["seccompProfile"] != {"type": "RuntimeDefault"}:
            yield f"{where}: seccomp"
        if pod["automountServiceAccountToken"] is not False or pod["enableServiceLinks"] is not False:
            yield f"{where}: token or Service links"
        if {"hostNetwork", "hostPID", "hostIPC"} & pod.keys():
            yield f"{where}: host namespaces"
        for volume in pod.get("volumes", ()):
            if not (volume.keys() - {"name"}) <= _VOLUME_KINDS:
                yield f"{where}: volume {volume}"
        for container in all_containers(pod):
            yield from _container(f"{where}/{container['name']}", container)


def all_containers(pod: Manifest) -> list[Manifest]:
    """Of a pod, those before the others included."""
    return [*pod.get("initContainers", ()), *pod["containers"]]


def _container(where: str, container: Manifest) -> Iterator[str]:
    context = container["securityContext"]
    if context["allowPrivilegeEscalation"] is not False or context["capabilities"] != {"drop": ["ALL"]}:
        yield f"{where}: privileges"
    if context["readOnlyRootFilesystem"] is not True:
        yield f"{where}: writable root"
    if not {"cpu", "memory"} <= container["resources"]["requests"].keys():
        yield f"{where}: no requests"
    if "cpu" in container["resources"].get("limits", {}):
        yield f"{where}: a CPU limit"


def secrets_in_secrets(rendering: Rendering) -> Iterator[str]:
    """A generated secret is nowhere but in its Secret; and no container gets one by its environment."""
    canaries = set()
    for secret in rendering.of("Secret"):
        for encoded in secret["data"].values():
            decoded = base64.b64decode(encoded).decode()
            canaries |= {encoded, decoded, *re.findall(r"[A-Za-z0-9+/=]{30,}", decoded)}
    rest = json.dumps([one for one in rendering.objects if one["kind"] != "Secret"]) + rendering.notes
    if any(canary in rest for canary in canaries):
        yield "a secret outside Secrets"
    for _, pod in rendering.pods():
        for container in all_containers(pod):
            if any("valueFrom" in one for one in container.get("env", ())) or "envFrom" in container:
                yield f"{container['name']}: environment from elsewhere"
        for volume in pod.get("volumes", ()):
            mode = (volume.get("secret") or volume.get("projected") or {"defaultMode": 0o400})["defaultMode"]
            if mode != 0o400:
                yield f"{volume['name']}: mode {mode:o}"


def mounts_and_ports(rendering: Rendering) -> Iterator[str]:
    """Mounts have volumes, and probes have ports."""
    claims = {
        claim["metadata"]["name"]
        for one in rendering.of("StatefulSet")
        for claim in one["spec"]["volumeClaimTemplates"]
    }
    for labels, pod in rendering.pods():
        volumes = {one["name"] for one in pod.get("volumes", ())}
        if labels["app.kubernetes.io/component"] == "valkey":
            volumes |= claims
        for container in all_containers(pod):
            for mount in container.get("volumeMounts", ()):
                if mount["name"] not in volumes:
                    yield f"{container['name']}: no volume {mount['name']}"
            ports = {port["name"] for port in container.get("ports", ())}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                check = container.get(probe)
                if check and (check.get("httpGet") or check.get("tcpSocket"))["port"] not in ports:
                    yield f"{container['name']}: {probe} without a port"


def probes(rendering: Rendering) -> Iterator[str]:
    """The server is alive by a route that needs no store, and ready by the one that does; all below its base path."""
    (server,) = rendering.one("Deployment")["spec"]["template"]["spec"]["containers"]
    base = {one["name"]: one.get("value") for one in server["env"]}.get("GPTMOCK_BASE_PATH", "").rstrip("/")
    paths = [server[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    if paths != [f"{base}/health", f"{base}/health", f"{base}/readyz"]:
        yield f"probes: {paths}"
    tls = any(one["name"] == "GPTMOCK_TLS_CERT" for one in server["env"])
    if {server[one]["httpGet"]["scheme"] for one in ("startupProbe", "livenessProbe", "readinessProbe")} != {
        "HTTPS" if tls else "HTTP"
    }:
        yield "probes: scheme"


def services(rendering: Rendering) -> Iterator[str]:
    """Each Service selects the pods of one workload, which have its ports."""
    for service in rendering.of("Service"):
        chosen = [pod for labels, pod in rendering.pods() if _selects(service["spec"]["selector"], labels)]
        if len(chosen) != 1:
            yield f"{service['metadata']['name']} selects {len(chosen)} workloads"
            continue
        names = {port["name"] for container in chosen[0]["containers"] for port in container.get("ports", ())}
        for port in service["spec"]["ports"]:
            if port["targetPort"] not in names:
                yield f"{service['metadata']['name']}: no port {port['targetPort']}"


def workloads(rendering: Rendering) -> Iterator[str]:
    """Workloads select their own pods and no others."""
    for one in rendering.objects:
        if one["kind"] in ("Deployment", "StatefulSet"):
            selector = one["spec"]["selector"]["matchLabels"]
            if [_selects(selector, labels) for labels, _ in rendering.pods()].count(True) != 1:
                yield f"{one['kind']} {one['metadata']['name']}: selector"


def references(rendering: Rendering) -> Iterator[str]:
    """Disruption budgets, autoscalers and monitors find what they refer to."""
    for one in rendering.of("PodDisruptionBudget"):
        if [_selects(one["spec"]["selector"]["matchLabels"], labels) for labels, _ in rendering.pods()].count(
            True
        ) != 1:
            yield "PodDisruptionBudget: selector"
    for one in rendering.of("HorizontalPodAutoscaler"):
        target = one["spec"]["scaleTargetRef"]
        if rendering.one(target["kind"])["metadata"]["name"] != target["name"]:
            yield "HorizontalPodAutoscaler: target"
        if "replicas" in rendering.one("Deployment")["spec"]:
            yield "HorizontalPodAutoscaler: fights with replicas"
    for one in rendering.of("ServiceMonitor"):
        found = [
            service
            for service in rendering.of("Service")
            if _selects(one["spec"]["selector"]["matchLabels"], service["metadata"]["labels"])
        ]
        (endpoint,) = one["spec"]["endpoints"]
        if [port["name"] for service in found for port in service["spec"]["ports"]] != [endpoint["port"]]:
            yield "ServiceMonitor: selector"


def routes(rendering: Rendering) -> Iterator[str]:
    """Ingress and HTTPRoute lead to a port of the Service, and browsers may use their hosts."""
    (server,) = rendering.one("Deployment")["spec"]["template"]["spec"]["containers"]
    allowed = {one["name"]: one.get("value") for one in server["env"]}.get("GPTMOCK_ALLOWED_HOSTS", "").split(",")
    service = next(
        one for one in rendering.of("Service") if not one["metadata"]["name"].endswith(("-metrics", "-valkey"))
    )
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    for ingress in rendering.of("Ingress"):
        for rule in ingress["spec"]["rules"]:
            backend = rule["http"]["paths"][0]["backend"]["service"]
            if backend["name"] != service["metadata"]["name"] or backend["port"]["name"] not in ports:
                yield "Ingress: backend"
            if rule["host"] not in allowed and not rule["host"].startswith("*"):
                yield f"Ingress: {rule['host']} is not allowed"
    for route in rendering.of("HTTPRoute"):
        (rule,) = route["spec"]["rules"]
        (backend,) = rule["backendRefs"]
        if (backend["name"], backend["port"]) != (service["metadata"]["name"], ports["http"]):
            yield "HTTPRoute: backend"
        if rule["timeouts"] != {"request": "0s", "backendRequest": "0s"}:
            yield "HTTPRoute: a timeout"
        if not {one for one in route["spec"].get("hostnames", ()) if not one.startswith("*")} <= set(allowed):
            yield "HTTPRoute: a host is not allowed"


def draining(rendering: Rendering) -> Iterator[str]:
    """Kubernetes waits longer than the server; an update takes no pod before its successor is ready."""
    spec = rendering.one("Deployment")["spec"]
    (server,) = spec["template"]["spec"]["containers"]
    env = {one["name"]: one.get("value") for one in server["env"]}
    needed = int(env["GPTMOCK_DRAIN_DELAY"]) + int(env["GPTMOCK_SHUTDOWN_GRACE"]) + _DRAINING_SECONDS
    if spec["template"]["spec"]["terminationGracePeriodSeconds"] < needed:
        yield "terminationGracePeriodSeconds is too short"
    embedded = any("persistentVolumeClaim" in one for one in spec["template"]["spec"]["volumes"])
    if embedded:
        if spec["strategy"] != {"type": "Recreate"} or spec["replicas"] != 1:
            yield "two pods may open the embedded store"
    elif (spec["strategy"]["rollingUpdate"], spec["minReadySeconds"]) != ({"maxSurge": 1, "maxUnavailable": 0}, 30):
        yield "an update takes pods away"


def networks(rendering: Rendering) -> Iterator[str]:
    """If there are policies, every pod has exactly one."""
    policies = rendering.of("NetworkPolicy")
    for labels, _ in rendering.pods() if policies else ():
        count = sum(_chosen(one["spec"]["podSelector"], labels) for one in policies)
        if count != 1:
            yield f"{labels['app.kubernetes.io/component']}: {count} policies"
    for policy in policies:
        if policy["spec"]["policyTypes"] != ["Ingress", "Egress"]:
            yield "a direction is open"


def names(rendering: Rendering) -> Iterator[str]:
    """Names and labels are as long as Kubernetes allows, and each object has its own."""
    seen = [(one["kind"], one["metadata"]["name"]) for one in rendering.objects]
    if len(seen) != len(set(seen)):
        yield "two objects have one name"
    for one in rendering.objects:
        values = [one["metadata"]["name"], *one["metadata"].get("labels", {}).values()]
        if any(len(value) > 63 for value in values):
            yield f"{one['kind']}: too long"
        if one["kind"] not in WORKLOADS and one["metadata"].get("namespace") != "team":
            yield f"{one['kind']}: namespace"


def _selects(selector: dict[str, Any], labels: dict[str, Any]) -> bool:
    return bool(selector) and selector.items() <= labels.items()


def _chosen(selector: Manifest, labels: dict[str, Any]) -> bool:
    return _selects(selector["matchLabels"], labels) and all(
        labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", ())
    )


POLICIES: tuple[Callable[[Rendering], Iterator[str]], ...] = (
    restricted,
    secrets_in_secrets,
    mounts_and_ports,
    probes,
    services,
    workloads,
    references,
    routes,
    draining,
    networks,
    names,
)
