"""``gptmock launch``: starts a client against the server, shows how it is set up, or changes its configuration."""

from __future__ import annotations

import argparse
import shutil
import sys
from contextlib import nullcontext
from typing import Any

from gptmock import __version__
from gptmock.cli.client_arguments import client_arguments
from gptmock.cli.client_files import configure, restore
from gptmock.cli.client_process import client_environment, managed_conflicts, program_of, run_client
from gptmock.cli.errors import CommandFailed, WrongUsage
from gptmock.cli.launch_target import FoundServer, absent_server, find_server, target_of
from gptmock.cli.menu import can_choose, choose
from gptmock.cli.offered_words import with_words
from gptmock.cli.own_server import own_server
from gptmock.cli.settings import given_settings
from gptmock.cli.terminal import show_document, show_table
from gptmock.client_setups.setup import ClientSetup, Target
from gptmock.client_setups.table import SETUPS, setup_document, setup_named
from gptmock.settings import Settings

_EPILOG = """example:
  gptmock launch                          choose a client and a model
  gptmock launch claude                   start Claude Code
  gptmock launch codex --model gpt-6.2-sol -- exec "explain this folder"
  gptmock launch zed --print              show how Zed is set up
  gptmock launch opencode --config        change OpenCode's own configuration
  gptmock launch opencode --restore       take that back

The client gets what it needs for this run only; its own configuration stays as
it is without --config. If no server answers at the configured address, one is
started for as long as the client runs. The client key, where the server
requires one, is read from GPTMOCK_API_KEY.
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the options, and what to run."""
    parser.usage = (
        "gptmock launch [-h] [--model MODEL]\n"
        "                      [--print | --config | --restore] [--yes] [--json]\n"
        "                      [CLIENT] [-- ARGUMENT ...]"
    )
    parser.epilog = _EPILOG
    client = parser.add_argument(
        "client", nargs="?", metavar="CLIENT", help=f"one of: {', '.join(setup.name for setup in SETUPS)}"
    )
    with_words(client, {setup.name: setup.title for setup in SETUPS})
    parser.add_argument("--model", metavar="MODEL", help="the model to use (default the first of the list)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--print", action="store_true", help="show the setup, and start nothing")
    what.add_argument("--config", action="store_true", help="change the client's own configuration, after a question")
    what.add_argument("--restore", action="store_true", help="put the configuration from before --config back")
    parser.add_argument("--json", action="store_true", help="machine-readable output of the list or the setup")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Do what the options say with the client that they name."""
    setup = None if options.client is None else _named(options.client)
    settings = given_settings({})
    if options.config or options.restore:
        return _change(setup, settings, options)
    server = find_server(settings)
    if setup is None and not (options.json or options.print) and can_choose():
        return _choose(server, settings, options)
    if setup is None:
        return _show_list(target_of(server, settings, options.model), as_json=options.json)
    if options.print or options.json:
        return _show_setup(setup, target_of(server, settings, options.model), as_json=options.json)
    return _launch(setup, server, settings, options)


def _choose(server: FoundServer, settings: Settings, options: argparse.Namespace) -> int:
    """The menu of clients, then that of models."""
    wide = max(len(setup.title) for setup in SETUPS)
    place = choose("Which client?", [f"{setup.title:<{wide}}  {state_of(setup)}" for setup in SETUPS])
    if place is None:
        return 0
    setup = SETUPS[place]
    if setup.start is not None:
        # Said before anything else is asked.
        program_of(setup)
    if options.model is None:
        options.model = _chosen_model(server, settings)
        if options.model is None:
            return 0
    if setup.start is None:
        return _show_setup(setup, target_of(server, settings, options.model), as_json=False)
    print(f"$ gptmock launch {setup.name} --model {options.model}", flush=True)
    return _launch(setup, server, settings, options)


def _chosen_model(server: FoundServer, settings: Settings) -> str | None:
    usual, models = target_of(server, settings, None).model, list(server.models)
    if usual.name not in [model.name for model in models]:
        models.insert(0, usual)
    wide = max(len(model.name) for model in models)
    rows = [f"{model.name:<{wide}}  {model.context_tokens:>9,} tokens of context" for model in models]
    first = [model.name for model in models].index(usual.name)
    place = choose("Which model?", rows, first=first)
    return None if place is None else models[place].name


def _change(setup: ClientSetup | None, settings: Settings, options: argparse.Namespace) -> int:
    if setup is None:
        raise WrongUsage("name the client whose configuration is meant")
    if setup.configuration is None:
        raise CommandFailed(
            f"the configuration of {setup.title} is not changed by this command. "
            f"How it is set up: gptmock launch {setup.name} --print"
        )
    if options.restore:
        # Which file it is does not depend on the server, which need not run.
        configuration = setup.configuration(target_of(absent_server(settings), settings, None))
        return 0 if restore(setup, configuration, settings.home, yes=options.yes) else 1
    target = target_of(find_server(settings), settings, options.model)
    return 0 if configure(setup, setup.configuration(target), settings.home, yes=options.yes) else 1


def _launch(setup: ClientSetup, server: FoundServer, settings: Settings, options: argparse.Namespace) -> int:
    program = program_of(setup)
    assert setup.start is not None  # noqa: S101 - it has a program
    # A configuration file has to be right for the next run, too.
    wanted = settings.port if setup.start(target_of(server, settings, options.model)).needs_configuration else 0
    with nullcontext(server) if server.is_running else own_server(settings, wanted) as running:
        return _run(setup, program, running, settings, options)


def _run(setup: ClientSetup, program: str, server: FoundServer, settings: Settings, options: argparse.Namespace) -> int:
    assert setup.start is not None  # noqa: S101 - it has a program
    if server.reasons:
        print(f"gptmock: the server at {server.url} is not ready: {'; '.join(server.reasons)}", file=sys.stderr)
    target = target_of(server, settings, options.model)
    start = setup.start(target)
    for conflict in managed_conflicts(setup, start):
        print(f"gptmock: {conflict}", file=sys.stderr)
    if start.needs_configuration and setup.configuration is not None:
        print(f"gptmock: {setup.title} reads its own configuration only, so that has to be changed", file=sys.stderr)
        if not configure(setup, setup.configuration(target), settings.home, yes=options.yes):
            return 1
    key = None if settings.api_key is None else settings.api_key.get_secret_value()
    environment = client_environment(start, key, target.url)
    with client_arguments(start, options.passed_on, target.url) as arguments:
        return run_client(program, arguments, environment)


def _named(name: str) -> ClientSetup:
    setup = setup_named(name)
    if setup is None:
        raise WrongUsage(f"{name!r} is not a known client; these are: {', '.join(one.name for one in SETUPS)}")
    return setup


def is_installed(setup: ClientSetup) -> bool:
    """Whether its program is on the PATH."""
    return setup.command is not None and shutil.which(setup.command) is not None


def _show_list(target: Target, *, as_json: bool) -> int:
    if as_json:
        clients = [{**setup_document(setup, target), "installed": is_installed(setup)} for setup in SETUPS]
        show_document({**_server_document(target), "clients": clients})
        return 0
    show_table(("CLIENT", "NAME", "STATE"), [(setup.name, setup.title, state_of(setup)) for setup in SETUPS])
    return 0


def state_of(setup: ClientSetup) -> str:
    """One or two words for the list."""
    if setup.start is None:
        return "see --print"
    return "installed" if is_installed(setup) else "not installed"


def _show_setup(setup: ClientSetup, target: Target, *, as_json: bool) -> int:
    if as_json:
        show_document({**_server_document(target), **setup_document(setup, target), "installed": is_installed(setup)})
        return 0
    parts = [f"# {snippet.title}\n{snippet.text}" for snippet in setup.snippets(target)]
    print("\n\n".join(parts))
    return 0


def _server_document(target: Target) -> dict[str, Any]:
    return {
        "version": __version__,
        "url": target.url,
        "needs_key": target.needs_key,
        "model": target.model.name,
        "context_tokens": target.model.context_tokens,
    }
