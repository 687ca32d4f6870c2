"""The start of a server, in a process of its own: checks the settings, offers the login, prepares the state, binds."""

from __future__ import annotations

import grp
import pwd
import socket
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gptmock import serving, shared_state, wiring
from gptmock.cli.errors import CommandFailed, WrongUsage
from gptmock.cli.login import first_login
from gptmock.cli.ports import bound_sockets
from gptmock.cli.settings import given_settings, prepare_state, run_async
from gptmock.settings import Settings
from gptmock.supervision.listening import Unlistenable, bind_unix
from gptmock.supervision.pid_file import running
from gptmock.supervision.plan import Inherited, Plan


def plan_of(flags: Mapping[str, Any], inherited: Inherited) -> Plan:
    """
    What a start or a reload comes to.

    Raises:
        WrongUsage: settings that cannot be used.
        CommandFailed: the address cannot be bound.
    """
    settings = given_settings(flags)
    if settings.tls_cert is not None:
        _check_certificate(settings)
    if (problem := serving.traces_problem(settings)) is not None:
        raise WrongUsage(f"GPTMOCK_OTEL: {problem}")
    if not inherited.is_reload and len(inherited.sockets) > 1:
        raise CommandFailed(f"the service manager passes {len(inherited.sockets)} sockets, and only one can be served")
    sockets = inherited.sockets or _bound(settings)
    if inherited.is_activated:
        settings = _with_address(settings, sockets[0])
    if settings.pid_file is not None and not inherited.is_reload:
        _check_pid_file(settings.pid_file)
    notes = prepare_state(settings)
    if (lacking := run_async(shared_state.lacks_pepper(settings))) is not None:
        raise WrongUsage(lacking)
    check_keys(settings)
    if not inherited.is_reload and _is_somebody_there() and not run_async(shared_state.has_account(settings)):
        first_login(settings)
        notes = prepare_state(settings)
    for note in [*_unused(flags, settings), *notes, *exposure(settings)]:
        print(f"gptmock: {note}", file=sys.stderr)
    wiring.start_logs(settings)
    folder, lock = (inherited.folder, None) if inherited.folder is not None else _new_folder()
    return Plan(
        work=partial(serving.serve, settings, folder),
        sockets=sockets,
        workers=inherited.workers or settings.worker_count,
        folder=folder,
        lock=lock,
        announcement=announcement(settings, sockets[0]),
        grace_seconds=settings.shutdown_grace,
        turn_seconds=wiring.LONGEST_TURN_SECONDS,
        drain_delay_seconds=settings.drain_delay,
        pid_file=settings.pid_file,
        home=settings.home,
    )


def announcement(settings: Settings, listening: socket.socket) -> str:
    """Where clients connect to."""
    workers = f"{settings.worker_count} worker{'s' if settings.worker_count > 1 else ''}"
    return f"gptmock serves {_address(settings, listening)} with {workers}"


def _with_address(settings: Settings, listening: socket.socket) -> Settings:
    """The settings with the address that a service manager has bound: whether others can connect depends on it."""
    bound = listening.getsockname()
    if listening.family == socket.AF_UNIX:
        return settings.model_copy(update={"unix_socket": Path(bound)})
    return settings.model_copy(update={"host": bound[0], "port": bound[1], "unix_socket": None})


def _address(settings: Settings, listening: socket.socket) -> str:
    scheme = "http" if settings.tls_cert is None else "https"
    bound = listening.getsockname()
    if listening.family == socket.AF_UNIX:
        return f"{scheme} at the socket {bound}"
    host, port = settings.host, bound[1]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{settings.base_path or ''}/v1"


def _bound(settings: Settings) -> list[socket.socket]:
    if settings.unix_socket is None:
        return bound_sockets(settings.host, settings.port, workers=settings.worker_count)
    owner = _owner(settings.unix_socket_owner) if settings.unix_socket_owner else None
    try:
        return [bind_unix(settings.unix_socket, mode=int(settings.unix_socket_mode, 8), owner=owner)]
    except Unlistenable as error:
        raise CommandFailed(str(error)) from error
    except OSError as error:
        raise CommandFailed(f"cannot listen at {settings.unix_socket}: {error.strerror or error}") from error


def _owner(text: str) -> tuple[int, int]:
    user, _, group = text.partition(":")
    try:
        return pwd.getpwnam(user).pw_uid if user else -1, grp.getgrnam(group).gr_gid if group else -1
    except KeyError as error:
        raise WrongUsage(f"GPTMOCK_UNIX_SOCKET_OWNER: there is no user or group of that name: {text}") from error


def _new_folder() -> tuple[Path, int]:
    try:
        folder = serving.server_folder()
    except OSError as error:
        raise CommandFailed(f"the temporary directory cannot be written: {error.strerror}") from error
    return folder.path, folder.lock


def check_keys(settings: Settings) -> None:
    """
    The binding rule: beyond this machine nobody is served without a client key, unless the operator says so.

    Raises:
        WrongUsage: other machines can connect, and there is no key.
    """
    if not settings.is_exposed or not settings.requires_key:
        return
    if not run_async(shared_state.has_client_key(settings)) and not _first_key(settings):
        raise WrongUsage(
            f"GPTMOCK_API_KEY: a client key is required to listen on {settings.host}, which is not a loopback address: "
            "set this variable, or create a key with: gptmock keys create NAME. If something else protects the port, "
            "use --allow-unauthenticated (GPTMOCK_ALLOW_UNAUTHENTICATED=true)"
        )


def _first_key(settings: Settings) -> bool:
    """Whether there is a key now; one that is created is printed at once, since nothing can show it later."""
    if not settings.create_first_key:
        return False
    if (text := run_async(shared_state.create_first_key(settings))) is None:
        return run_async(shared_state.has_client_key(settings))
    print(
        f"gptmock: a client key was created, because other machines can connect and there was none: {text}\n"
        "gptmock: it is shown only now. Clients send it as their API key. A new one: gptmock keys rotate "
        f"{shared_state.FIRST_KEY}",
        file=sys.stderr,
        flush=True,
    )
    return True


def exposure(settings: Settings) -> list[str]:
    """A warning if other machines can use the account without a key; else nothing."""
    if not settings.is_exposed or settings.requires_key:
        return []
    where = f"{settings.host}:{settings.port}"
    return [f"warning: --allow-unauthenticated is set: whoever can connect to {where} can use your account."]


def _unused(flags: Mapping[str, Any], settings: Settings) -> list[str]:
    """A warning if a port was given, and is not used."""
    if flags.get("port") is None or settings.unix_socket is None:
        return []
    return [f"warning: --port has no effect, because the server listens at the socket {settings.unix_socket}."]


def _check_certificate(settings: Settings) -> None:
    if (problem := serving.certificate_problem(settings)) is not None:
        raise WrongUsage(f"GPTMOCK_TLS_CERT, GPTMOCK_TLS_KEY: {problem}")


def _check_pid_file(path: Path) -> None:
    try:
        holder = running(path)
        path.touch(mode=0o600)
    except OSError as error:
        raise WrongUsage(f"GPTMOCK_PID_FILE: {path} cannot be written: {error.strerror}") from error
    if holder is not None:
        raise CommandFailed(f"{path} belongs to the running server with pid {holder}. Choose another --pid-file.")


def _is_somebody_there() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()
