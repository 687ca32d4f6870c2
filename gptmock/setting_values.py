"""Forms of single setting values, and the cores of this machine. Knows no setting by name."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path

_BASE_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]{1,100}){1,10}\Z")
_MAX_PORT = 65535
_HOST_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}\Z")


def is_host(text: str) -> bool:
    """Whether this is a host name or an IP address, without a port."""
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return _HOST_NAME.match(text) is not None and ".." not in text
    return True


def is_network(text: str) -> bool:
    """Whether this is an IP address or a network, such as ``10.0.0.0/8``."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def address_of(text: str) -> tuple[str, int] | None:
    """``host:port`` as host and port, an IPv6 address in brackets; ``None`` if it is none."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or not 1 <= int(port) <= _MAX_PORT:
        return None
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    return (bare, int(port)) if is_host(bare) and (":" not in bare or bare != host) else None


def is_base_path(text: str) -> bool:
    """Whether this is a path of plain segments, without a slash at its end."""
    return _BASE_PATH.match(text) is not None


def usable_cores() -> int:
    """CPU cores that this process may use: its affinity, and the quota of its cgroup (v2, then v1)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, min(cores, int(quota) or 1)) if quota is not None else max(1, cores)


def _cgroup_quota() -> float | None:
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass
    try:
        limit_us = int(Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text())
        period_us = int(Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return limit_us / period_us if limit_us > 0 and period_us > 0 else None


def listed(value: str | None) -> tuple[str, ...]:
    """The parts of a list separated by commas."""
    return tuple(item for one in (value or "").split(",") if (item := one.strip()))


def is_loopback(host: str) -> bool:
    """Whether the address is reachable only from this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
