"""
As much of the Kubernetes API as Helm needs to install and upgrade a release, kept in memory on loopback: discovery,
and the objects that it stores, reads and changes. It validates nothing; kubernetes-validate does that.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

# Group and version to the plural and the kind of each resource; all are namespaced except Namespace.
RESOURCES = {
    "v1": {
        "namespaces": "Namespace",
        "configmaps": "ConfigMap",
        "persistentvolumeclaims": "PersistentVolumeClaim",
        "pods": "Pod",
        "secrets": "Secret",
        "serviceaccounts": "ServiceAccount",
        "services": "Service",
    },
    "apps/v1": {"deployments": "Deployment", "statefulsets": "StatefulSet"},
    "autoscaling/v2": {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    "batch/v1": {"jobs": "Job"},
    "networking.k8s.io/v1": {"ingresses": "Ingress", "networkpolicies": "NetworkPolicy"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "gateway.networking.k8s.io/v1": {"httproutes": "HTTPRoute"},
    "monitoring.coreos.com/v1": {"servicemonitors": "ServiceMonitor", "prometheusrules": "PrometheusRule"},
}
_OBJECT = re.compile(
    r"/(?:api|apis)/(?P<api>v1|[a-z0-9.]+/v\d)/(?:namespaces/(?P<namespace>[^/]+)/)?(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?$"
)
_PROTOBUF_MAGIC = b"k8s\x00"


class KubernetesStub(ThreadingHTTPServer):
    """The server; ``objects`` has what is stored, by the path of each object."""

    daemon_threads = True

    def __init__(self, version: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.version = version
        self.objects: dict[str, dict[str, Any]] = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def kubeconfig(self) -> str:
        """A kubeconfig, as YAML, that leads here."""
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "stub", "cluster": {"server": f"http://127.0.0.1:{self.server_address[1]}"}}],
                "users": [{"name": "stub", "user": {}}],
                "contexts": [{"name": "stub", "context": {"cluster": "stub", "user": "stub"}}],
                "current-context": "stub",
            }
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: KubernetesStub

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        document = self._discovery(url.path)
        if document is None and (match := _OBJECT.match(url.path)):
            found = self.server.objects.get(url.path)
            document = found if match["name"] else self._list(url.path, match, parse_qs(url.query))
        self._answer(document)

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        stored = self._body()
        self.server.objects[f"{path}/{stored['metadata']['name']}"] = stored
        self._answer(stored, 201)

    def do_PUT(self) -> None:
        self.server.objects[urlsplit(self.path).path] = stored = self._body()
        self._answer(stored)

    def do_PATCH(self) -> None:
        path = urlsplit(self.path).path
        stored = self.server.objects.get(path, {})
        _merge(stored, self._body())
        self.server.objects[path] = stored
        self._answer(stored)

    def do_DELETE(self) -> None:
        gone = self.server.objects.pop(urlsplit(self.path).path, None)
        self._answer(gone)

    def _discovery(self, path: str) -> dict[str, Any] | None:
        if path == "/version":
            major, minor = self.server.version.split(".")
            return {"major": major, "minor": minor, "gitVersion": f"v{major}.{minor}.0"}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            groups = [api.split("/") for api in RESOURCES if "/" in api]
            versions = [
                (group, {"groupVersion": f"{group}/{version}", "version": version}) for group, version in groups
            ]
            listed = [{"name": group, "versions": [one], "preferredVersion": one} for group, one in versions]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        api = path.removeprefix("/apis/").removeprefix("/api/")
        if api not in RESOURCES:
            return None
        verbs = ["create", "delete", "get", "list", "patch", "update"]
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": api,
            "resources": [
                {"name": plural, "singularName": "", "namespaced": kind != "Namespace", "kind": kind, "verbs": verbs}
                for plural, kind in RESOURCES[api].items()
            ],
        }

    def _list(self, path: str, match: re.Match[str], query: dict[str, list[str]]) -> dict[str, Any]:
        wanted = dict(label.split("=", 1) for label in query.get("labelSelector", [""])[0].split(",") if "=" in label)
        kind = RESOURCES[match["api"]][match["plural"]]
        items = [
            one
            for place, one in self.server.objects.items()
            if place.rpartition("/")[0] == path and wanted.items() <= one["metadata"].get("labels", {}).items()
        ]
        return {"kind": f"{kind}List", "apiVersion": match["api"], "metadata": {}, "items": items}

    def _body(self) -> dict[str, Any]:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        document: dict[str, Any] = _secret(raw) if raw.startswith(_PROTOBUF_MAGIC) else json.loads(raw)
        return document

    def _answer(self, document: dict[str, Any] | None, status: int = 200) -> None:
        if document is None:
            status = 404
            document = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _merge(stored: dict[str, Any], patch: dict[str, Any]) -> None:
    """RFC 7386. Lists are replaced: enough for what tests read afterwards, Secrets and releases."""
    for name, value in patch.items():
        if value is None:
            stored.pop(name, None)
        elif isinstance(value, dict):
            inner = stored.setdefault(name, {})
            _merge(inner, value)
        else:
            stored[name] = value


def _secret(raw: bytes) -> dict[str, Any]:
    """A Secret (Helm's releases) in Kubernetes' protobuf: fields by the numbers of ``core/v1/generated.proto``."""
    unknown = dict(_fields(raw[len(_PROTOBUF_MAGIC) :]))
    secret = list(_fields(unknown[2]))
    metadata = list(_fields(next(value for number, value in secret if number == 1)))
    labels = dict(_entry(value) for number, value in metadata if number == 11)
    return {
        "kind": "Secret",
        "apiVersion": "v1",
        "metadata": {
            "name": next(value for number, value in metadata if number == 1).decode(),
            "labels": {name: value.decode() for name, value in labels.items()},
        },
        "data": {name: base64.b64encode(value).decode() for name, value in (_entry(v) for n, v in secret if n == 2)},
        "type": next(value for number, value in secret if number == 3).decode(),
    }


def _entry(raw: bytes) -> tuple[str, bytes]:
    entry = dict(_fields(raw))
    return entry[1].decode(), entry.get(2, b"")


def _fields(raw: bytes) -> list[tuple[int, bytes]]:
    """Field number and content of each length-delimited field; numbers (varints) are passed by."""
    found, place = [], 0
    while place < len(raw):
        tag, place = _varint(raw, place)
        size, place = _varint(raw, place)
        if tag & 7 == 2:
            found.append((tag >> 3, raw[place : place + size]))
            place += size
    return found


def _varint(raw: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[place]
        value |= (byte & 0x7F) << shift
        shift, place = shift + 7, place + 1
        if byte < 0x80:
            return value, place
