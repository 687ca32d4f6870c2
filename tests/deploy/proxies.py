"""Starts nginx, Caddy and HAProxy with our examples, on free ports of loopback and with a certificate of the test."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.deploy.programs import need
from tests.harness import wait_until
from tests.ports import free_port

EXAMPLES = Path(__file__).parents[2] / "deploy" / "proxies"
_NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/log;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {example}
}}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """What the example is changed by: its own address, the server's, and files."""

    folder: Path
    port: int
    upstream: str
    """Host and port of gptmock."""

    @property
    def certificate(self) -> Path:
        """PEM of the certificate and then of its key."""
        return self.folder / "both.pem"


def _nginx(place: Place) -> list[str]:
    example = (EXAMPLES / "nginx.conf").read_text()
    example = example.replace("server 127.0.0.1:8000", f"server {place.upstream}")
    example = example.replace("listen 443 ssl", f"listen 127.0.0.1:{place.port} ssl")
    for ending in ("crt", "key"):
        example = example.replace(f"/etc/ssl/llm.example.org.{ending}", str(place.certificate))
    (place.folder / "nginx.conf").write_text(_NGINX.format(folder=place.folder, example=example))
    return [need("nginx"), "-p", str(place.folder), "-e", str(place.folder / "log"), "-c", "nginx.conf"]


def _caddy(place: Place) -> list[str]:
    example = (EXAMPLES / "Caddyfile").read_text().replace("127.0.0.1:8000", place.upstream)
    site = f"https://127.0.0.1:{place.port} {{\n\ttls {place.certificate} {place.certificate}"
    example = example.replace("llm.example.org {", site, 1)
    options = "{\n\tadmin off\n\tauto_https off\n}\n"
    (place.folder / "Caddyfile").write_text(options + example)
    return [need("caddy"), "run", "--adapter", "caddyfile", "--config", str(place.folder / "Caddyfile")]


def _haproxy(place: Place) -> list[str]:
    example = (
        (EXAMPLES / "haproxy.cfg").read_text().replace("server one 127.0.0.1:8000", f"server one {place.upstream}")
    )
    example = example.replace("bind :443", f"bind 127.0.0.1:{place.port}")
    example = example.replace("/etc/haproxy/llm.example.org.pem", str(place.certificate))
    (place.folder / "haproxy.cfg").write_text(example)
    return [need("haproxy"), "-db", "-f", str(place.folder / "haproxy.cfg")]


PROXIES = {"nginx": _nginx, "caddy": _caddy, "haproxy": _haproxy}


@contextmanager
def proxy(name: str, folder: Path, upstream: str) -> Iterator[str]:
    """One proxy in front of the server at ``upstream``; yields its base URL."""
    place = Place(folder, free_port(), upstream)
    _write_certificate(place.certificate)
    command = PROXIES[name](place)
    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    base_url = f"https://127.0.0.1:{place.port}"
    try:
        wait_until(lambda: _answers(base_url, process), seconds=60)
        yield base_url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(base_url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "the proxy has ended; see its file output"
    try:
        return httpx.get(f"{base_url}/health", verify=False, trust_env=False).status_code == 200  # noqa: S501
    except httpx.HTTPError:
        return False


def _write_certificate(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.touch(mode=0o600)
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(*plain))
