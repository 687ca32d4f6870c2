"""The value sets that the chart is tested with, good and bad."""

from __future__ import annotations

from typing import Any

GENERATED: dict[str, Any] = {"secrets": {"generate": True}}
VALKEY: dict[str, Any] = {**GENERATED, "valkey": {"enabled": True}}
REDIS: dict[str, Any] = {"secrets": {"existingSecret": "ours"}, "redis": {"existingSecret": "our-redis"}}
EMBEDDED: dict[str, Any] = {**GENERATED, "replicaCount": 1, "persistence": {"enabled": True}}
_DIGEST = "sha256:" + "0123456789abcdef" * 4

GOOD: dict[str, dict[str, Any]] = {
    "valkey": VALKEY,
    "redis": REDIS,
    "redis-url": {**GENERATED, "redis": {"url": "redis+sentinel://one:26379,two:26379/main"}},
    "redis-url-tls": {**GENERATED, "redis": {"url": "rediss+cluster://one,two:6380"}},
    "redis-tls": {
        "secrets": {
            "existingSecret": "ours",
            "keys": {"encryptionKeys": "ring", "adminKey": "root", "apiKey": "client", "pepper": "salt"},
        },
        "redis": {"existingSecret": "our-redis", "existingSecretKey": "url", "tlsSecret": "redis-ca"},
        "networkPolicy": {"storePorts": [6380, 26379], "storeTo": [{"ipBlock": {"cidr": "10.1.2.0/24"}}]},
    },
    "embedded": {**EMBEDDED, "secrets": {"generate": True, "keys": {"apiKey": "api-key", "pepper": "pepper"}}},
    "embedded-claim": {**EMBEDDED, "persistence": {"enabled": True, "existingClaim": "logins", "size": "2Gi"}},
    "ingress-nginx": {
        **VALKEY,
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "hosts": ["chat.example", "llm.example"],
            "tlsSecret": "chat-tls",
            "annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "7200", "cert-manager.io/issuer": "acme"},
        },
        "allowedHosts": ["chat.internal"],
    },
    "ingress-haproxy": {**REDIS, "ingress": {"enabled": True, "controller": "haproxy", "hosts": ["chat.example"]}},
    "ingress-path": {
        **EMBEDDED,
        "config": {"GPTMOCK_BASE_PATH": "/chat/"},
        "ingress": {"enabled": True, "controller": "traefik", "hosts": ["example.org"], "path": "/chat"},
        "metrics": {"serviceMonitor": {"enabled": True}},
    },
    "wildcard": {
        **VALKEY,
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["*.example.org"]},
        "allowedHosts": ["chat.example.org"],
    },
    "http-route": {
        **VALKEY,
        "httpRoute": {
            "enabled": True,
            "parentRefs": [{"name": "public", "namespace": "gateways"}],
            "hostnames": ["chat.example"],
        },
        "service": {"port": 8080},
    },
    "autoscaling": {**REDIS, "autoscaling": {"enabled": True, "maxReplicas": 12}},
    "autoscaling-streams": {
        **REDIS,
        "autoscaling": {
            "enabled": True,
            "targetCPUUtilizationPercentage": 0,
            "metrics": [
                {
                    "type": "Pods",
                    "pods": {"metric": {"name": "streams"}, "target": {"type": "AverageValue", "averageValue": "200"}},
                }
            ],
        },
    },
    "monitoring": {
        **VALKEY,
        "metrics": {
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "prometheusRule": {"enabled": True, "rules": [{"alert": "Ours", "expr": "vector(1)", "for": "5m"}]},
            "dashboard": {"enabled": True},
        },
    },
    "monitoring-port": {
        **VALKEY,
        "metrics": {
            "ownPort": {"enabled": True},
            "serviceMonitor": {"enabled": True},
            "prometheusRule": {"enabled": True},
        },
    },
    "login": {**VALKEY, "login": {"enabled": True, "account": "team@example.org"}},
    "tls": {**VALKEY, "tls": {"existingSecret": "pod-tls"}, "ingress": {"enabled": True, "hosts": ["chat.example"]}},
    "long-streams": {**REDIS, "shutdown": {"drainDelaySeconds": 30, "graceSeconds": 3600, "marginSeconds": 60}},
    "closed": {
        **VALKEY,
        "networkPolicy": {
            "ingressFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "upstream": [{"cidr": "203.0.113.0/24"}],
            "extraEgress": [{"ports": [{"port": 3128}], "to": [{"ipBlock": {"cidr": "10.0.0.5/32"}}]}],
        },
    },
    "bare": {
        **REDIS,
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "tests": {"enabled": False},
        "serviceAccount": {"create": False},
    },
    "everything": {
        **VALKEY,
        "fullnameOverride": "a-name-that-is-much-longer-than-what-kubernetes-allows-for-labels-and-names",
        "image": {"repository": "registry.example/team/gptmock", "digest": _DIGEST, "pullSecrets": ["registry"]},
        "config": {"GPTMOCK_REASONING_EFFORT": "low", "GPTMOCK_VERBOSE": False, "GPTMOCK_MAX_BODY_BYTES": 67108864},
        "extraEnv": [{"name": "TZ", "value": "UTC"}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca", "readOnly": True}],
        "podAnnotations": {"example.org/team": "ml"},
        "podLabels": {"example.org/cost": "ml"},
        "commonLabels": {"example.org/owner": "ml"},
        "annotations": {"example.org/reload": "true"},
        "priorityClassName": "high",
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "tolerations": [{"key": "llm", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "preference": {"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}}
                ]
            }
        },
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "example.org/rack", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
        ],
        "service": {"type": "LoadBalancer", "annotations": {"example.org/lb": "internal"}},
        "podDisruptionBudget": {"maxUnavailable": "25%"},
        "login": {"enabled": True},
    },
}

# What is wrong, and words of the message that names it.
BAD: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no-secrets": ({"valkey": {"enabled": True}}, ("secrets.existingSecret", "secrets.generate=true")),
    "both-secrets": ({**VALKEY, "secrets": {"generate": True, "existingSecret": "ours"}}, ("exclude each other",)),
    "no-store": (GENERATED, ("choose one store, not 0", "valkey.enabled")),
    "two-stores": ({**VALKEY, "redis": {"existingSecret": "our-redis"}}, ("choose one store, not 2",)),
    "embedded-pods": ({**EMBEDDED, "replicaCount": 2}, ("persistence.enabled", "replicaCount=1")),
    "embedded-login": ({**EMBEDDED, "login": {"enabled": True}}, ("login.enabled", "kubectl exec")),
    "password": ({**GENERATED, "redis": {"url": "redis://:secret@redis:6379"}}, ("/redis/url", "pattern")),
    "password-in-query": (
        {**GENERATED, "redis": {"url": "redis+sentinel://one/team?sentinel_password=hush"}},
        ("redis.url has a password", "redis.existingSecret"),
    ),
    "webhook-secret-in-config": (
        {**VALKEY, "config": {"GPTMOCK_WEBHOOK_SECRET": "hush"}},
        ("config.GPTMOCK_WEBHOOK_SECRET is a secret", "config.GPTMOCK_WEBHOOK_SECRET_FILE"),
    ),
    "webhook-url-in-config": (
        {**VALKEY, "config": {"GPTMOCK_WEBHOOK_URL": "https://hooks.example/T0K3N"}},
        ("config.GPTMOCK_WEBHOOK_URL is a secret",),
    ),
    "secret-in-extra-env": (
        {**VALKEY, "extraEnv": [{"name": "GPTMOCK_ADMIN_KEY", "value": "sk-1"}]},
        ("extraEnv has the secret GPTMOCK_ADMIN_KEY", "secretKeyRef"),
    ),
    "only-a-wildcard": (
        {**VALKEY, "ingress": {"enabled": True, "hosts": ["*.example.org"]}},
        ("wildcard *.example.org", "allowedHosts"),
    ),
    "secret-in-config": (
        {**VALKEY, "config": {"GPTMOCK_ADMIN_KEY": "sk-1"}},
        ("config.GPTMOCK_ADMIN_KEY is a secret",),
    ),
    "computed-in-config": ({**VALKEY, "config": {"GPTMOCK_PORT": 9000}}, ("config.GPTMOCK_PORT is computed",)),
    "foreign-config": ({**VALKEY, "config": {"port": 9000}}, ("/config", "'port' not allowed")),
    "unknown-value": ({**VALKEY, "replicas": 3}, ("additional properties 'replicas' not allowed",)),
    "unknown-member": ({**VALKEY, "image": {"name": "x"}}, ("/image", "'name' not allowed")),
    "no-workers": ({**VALKEY, "workers": 0}, ("/workers", "minimum")),
    "workers-auto": ({**VALKEY, "workers": "auto"}, ("/workers", "want integer")),
    "digest": ({**VALKEY, "image": {"digest": "latest"}}, ("/image/digest", "pattern")),
    "pull-policy": ({**VALKEY, "image": {"pullPolicy": "Sometimes"}}, ("/image/pullPolicy", "IfNotPresent")),
    "short-margin": ({**VALKEY, "shutdown": {"marginSeconds": 5}}, ("/shutdown/marginSeconds", "minimum")),
    "no-hosts": ({**VALKEY, "ingress": {"enabled": True}}, ("ingress.enabled needs ingress.hosts",)),
    "no-gateway": ({**VALKEY, "httpRoute": {"enabled": True}}, ("needs httpRoute.parentRefs",)),
    "few-pods": (
        {**VALKEY, "autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 2}},
        ("autoscaling.minReplicas is greater",),
    ),
    "metrics-port": ({**VALKEY, "metrics": {"ownPort": {"port": 80}}}, ("/metrics/ownPort/port", "minimum")),
}
