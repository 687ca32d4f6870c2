"""
Parses the URLs of Redis: one endpoint, Sentinel, Cluster. Opens nothing and imports no client.

    redis://[USER:PASSWORD@]HOST[:PORT][/DB]                                    one endpoint; rediss:// with TLS
    unix://[USER:PASSWORD@]PATH                                                 one endpoint
    redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/SERVICE[/DB]  rediss+sentinel:// with TLS
    redis+cluster://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]                rediss+cluster:// with TLS

No message of this module repeats a part of a URL, which may hold a password.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

Kind = Literal["single", "sentinel", "cluster"]

SCHEMES: dict[str, Kind] = {
    "redis": "single",
    "rediss": "single",
    "unix": "single",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
REDIS_PORT = 6379
SENTINEL_PORT = 26379
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
TLS_OPTIONS = (*TLS_FILES, "ssl_check_hostname", "ssl_cert_reqs")
SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
_NO_ADDRESS = (
    "the address of Redis begins with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://, "
    "and its port is a number"
)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """The parts of a Redis URL; ``nodes`` are sentinels, nodes of a cluster, or nothing for one endpoint."""

    url: str = field(repr=False)
    kind: Kind
    tls: bool
    user_info: str = field(default="", repr=False)
    """``USER:PASSWORD``, percent-encoded as it was given."""
    nodes: tuple[tuple[str, int], ...] = ()
    service: str = ""
    """The name of the master at the sentinels."""
    database: int = 0
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def parse(cls, url: str) -> RedisAddress:
        """
        Parse a URL.

        Raises:
            ValueError: it is none of the four forms; the message does not repeat it.
        """
        scheme, separator, _ = url.partition("://")
        kind = SCHEMES.get(scheme.lower()) if separator else None
        if kind is None:
            raise ValueError(_NO_ADDRESS)
        tls = scheme.lower().startswith("rediss")
        try:
            parts = urlsplit(url)
            if kind == "single":
                if parts.port == 0:
                    raise ValueError(_NO_ADDRESS)  # noqa: TRY301 - as for a port that is no number
                return cls(url, kind, tls=tls)
            user_info, _, hosts = parts.netloc.rpartition("@")
            nodes = tuple(_node(one, SENTINEL_PORT if kind == "sentinel" else REDIS_PORT) for one in hosts.split(","))
        except ValueError:
            # Without the parser's own message: it may quote a part of the password.
            raise ValueError(_NO_ADDRESS) from None
        service, database = _path(kind, parts.path)
        options = _options(kind, parts.query)
        return cls(url, kind, tls, user_info, nodes, service, database, options)

    @property
    def shown(self) -> str:
        """The URL for output, without user, password and options."""
        parts = urlsplit(self.url)
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.nodes)
        if self.kind == "single":
            hosts = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
        return f"{parts.scheme}://{hosts}{parts.path}"


def tls_files(url: str) -> dict[str, str]:
    """The files that a URL names, by option."""
    return {name: path for name, path in parse_qsl(urlsplit(url).query) if name in TLS_FILES}


def holds_password(url: str) -> bool:
    """Whether a URL has a password in it."""
    parts = urlsplit(url)
    return bool(parts.password) or any(name.endswith("password") for name, _ in parse_qsl(parts.query))


def _node(word: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{word}")
    if not parts.hostname or parts.path or parts.port == 0:
        raise ValueError("no host")
    return parts.hostname, parts.port or default_port


def _path(kind: Kind, path: str) -> tuple[str, int]:
    words = [unquote(word) for word in path.strip("/").split("/")] if path.strip("/") else []
    if kind == "cluster":
        if words not in ([], ["0"]):
            raise ValueError("a Redis Cluster has one database; its address has no path: redis+cluster://HOST:PORT")
        return "", 0
    service = words[0] if words else ""
    database = words[1] if len(words) > 1 else "0"
    if not service or len(words) > 2 or not (database.isascii() and database.isdigit()):
        raise ValueError(
            "the address of a Redis behind Sentinel ends with the name of its master: "
            "redis+sentinel://HOST:PORT[,HOST:PORT...]/SERVICE[/DB]"
        )
    return service, int(database)


def _options(kind: Kind, query: str) -> tuple[tuple[str, str], ...]:
    known = TLS_OPTIONS + (SENTINEL_OPTIONS if kind == "sentinel" else ())
    found = tuple(parse_qsl(query, keep_blank_values=True))
    if any(name not in known for name, _ in found):
        raise ValueError(f"the address of Redis has an option that is unknown; known are {', '.join(known)}")
    return found
