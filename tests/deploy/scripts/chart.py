"""
Runs Helm's own engine (helm-sdkpy) on a chart, in an environment of its own. One JSON object a line on stdin, one
answer a line on stdout:

    {"do": "render", "chart", "values": {NAME: {...}}}    {NAME: {"manifest", "hooks", "notes"} or {"error"}}
    {"do": "upgrade", "chart", "values": [...]}           {"secrets": [...]}, of each revision, or {"error"}
    {"do": "lint", "chart"}                               {"result"}
    {"do": "package", "chart", "folder"}                  {"file"}
    {"do": "validate", "objects", "versions"}             {"faults", "unknown"}
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import sys
from typing import Any

import helm_sdkpy
import kubernetes_validate
from kubernetes_stub import KubernetesStub
from kubernetes_validate import utils

NAMESPACE = "team"
RELEASE = "chat"
# Reads 2 MB of definitions for each object otherwise.
utils.schema_contents = functools.cache(utils.schema_contents)


async def render(chart: str, values: dict[str, dict[str, Any]], version: str = "1.34") -> dict[str, Any]:
    """Each value set as a release of its own, in an empty cluster; side by side, as Helm limits its own requests."""
    releases = await asyncio.gather(*(_render(chart, one, version) for one in values.values()))
    return dict(zip(values, releases, strict=True))


async def _render(chart: str, values: dict[str, Any], version: str) -> dict[str, Any]:
    stub = KubernetesStub(version)
    configuration = helm_sdkpy.Configuration(namespace=NAMESPACE, kubeconfig=stub.kubeconfig())
    try:
        release = await helm_sdkpy.Install(configuration).run(RELEASE, chart, values, wait=False)
    except helm_sdkpy.HelmError as error:
        return {"error": str(error)}
    finally:
        await asyncio.to_thread(stub.shutdown)
    hooks = [hook["manifest"] for hook in release.get("hooks") or ()]
    return {"manifest": release["manifest"], "hooks": hooks, "notes": release["info"]["notes"]}


async def upgrade(chart: str, values: list[dict[str, Any]]) -> dict[str, Any]:
    """One release through several value sets; the Secrets of the cluster after each."""
    stub = KubernetesStub("1.34")
    revisions = []
    configuration = helm_sdkpy.Configuration(namespace=NAMESPACE, kubeconfig=stub.kubeconfig())
    for number, one in enumerate(values):
        action = helm_sdkpy.Upgrade if number else helm_sdkpy.Install
        await action(configuration).run(RELEASE, chart, one, wait=False)
        found = [stored for path, stored in stub.objects.items() if "/secrets/" in path]
        opaque = {stored["metadata"]["name"]: stored["data"] for stored in found if stored["type"] == "Opaque"}
        revisions.append(json.loads(json.dumps(opaque)))
    stub.shutdown()
    return {"secrets": revisions}


def validate(objects: list[dict[str, Any]], versions: list[str]) -> dict[str, Any]:
    """Every object against the strict schemas of each version."""
    faults, unknown = [], set()
    for one in objects:
        where = f"{one['kind']}/{one['metadata']['name']}"
        for version in versions:
            try:
                kubernetes_validate.validate(one, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                faults.append(f"{where} ({version}): {'.'.join(map(str, error.path))}: {error.message}")
            except kubernetes_validate.SchemaNotFoundError:
                unknown.add(one["kind"])
    return {"faults": faults, "unknown": sorted(unknown)}


async def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Do one thing."""
    match asked.pop("do"):
        case "render":
            return await render(**asked)
        case "upgrade":
            return await upgrade(**asked)
        case "validate":
            return validate(**asked)
        case "lint":
            stub = KubernetesStub("1.34")
            configuration = helm_sdkpy.Configuration(namespace=NAMESPACE, kubeconfig=stub.kubeconfig())
            return {"result": await helm_sdkpy.Lint(configuration).run(asked["chart"])}
        case "package":
            stub = KubernetesStub("1.34")
            configuration = helm_sdkpy.Configuration(namespace=NAMESPACE, kubeconfig=stub.kubeconfig())
            return {"file": await helm_sdkpy.Package(configuration).run(asked["chart"], asked["folder"])}
        case other:
            raise ValueError(other)


def main() -> None:
    """Answer until stdin ends."""
    # The engine prints to stdout; the answers go to what stdout was.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            given = asyncio.run(answer(json.loads(line)))
        except helm_sdkpy.HelmError as error:
            given = {"error": str(error)}
        answers.write(json.dumps(given) + "\n")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
