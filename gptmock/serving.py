"""The parts of a server's start that know the application: its certificate, its folder, and what one worker does."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path

from gptmock.metrics.traces import lacks_extra
from gptmock.server.temporary_folder import SERVER_PREFIX, ClaimedFolder, claim_folder, clear_left_folders
from gptmock.server.tls import Certificate, UnusableCertificate
from gptmock.settings import Settings
from gptmock.supervision.link import Link
from gptmock.supervision.worker import run_worker
from gptmock.wiring import build_app


def serve(settings: Settings, folder: Path, listening: socket.socket, link: Link) -> int:
    """
    Run one worker; returns an exit code.

    Args:
        settings: the operator's.
        folder: for what the workers of this server share.
        listening: the bound socket.
        link: to the supervisor.
    """
    tls = certificate(settings)
    build = partial(build_app, settings, folder, tls)
    return run_worker(build, listening, link, tls.context if tls is not None else None)


def server_folder() -> ClaimedFolder:
    """
    A new folder for what the workers of one server share; removes those of servers that live no more.

    Raises:
        OSError: the temporary directory cannot be written.
    """
    clear_left_folders()
    return claim_folder(SERVER_PREFIX)


def certificate(settings: Settings) -> Certificate | None:
    """
    The certificate that the settings name.

    Raises:
        UnusableCertificate: its files cannot be used.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Certificate(settings.tls_cert, settings.tls_key)


def certificate_problem(settings: Settings) -> str | None:
    """Why the certificate cannot be used; ``None`` if it can, or none is named."""
    try:
        certificate(settings)
    except UnusableCertificate as error:
        return str(error)
    return None


def traces_problem(settings: Settings) -> str | None:
    """Why traces cannot be made; ``None`` if they can, or are not wanted."""
    if settings.otel and lacks_extra():
        return "needs the extra otel; install it with: pip install 'gptmock[otel]'"
    return None
