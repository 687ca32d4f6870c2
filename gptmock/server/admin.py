"""
The admin API under ``/admin``: what the commands do, as JSON. A viewer reads, an admin acts, and a user has access to
its own key, usage and bound account only. Every change is in the audit log.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeAlias

import msgspec
from sanic import HTTPResponse, Request

from gptmock.accounts import Secret
from gptmock.clients import ROLES, Client, ClientKey, Given, IssuedKey, KeyTerms, revised
from gptmock.dialects.bodies import decode_body
from gptmock.errors import BadRequest, ClientError, NotLoggedIn, UnknownClientKey
from gptmock.gateway.administration import KeyAdministration
from gptmock.gateway.guesses import source_of
from gptmock.overview import audit_document, key_document
from gptmock.server import admin_views as views
from gptmock.server.admin_bodies import NewKeyBody, RotationBody, SignInBody, TermsBody, given_terms, key_name
from gptmock.server.callers import actor_of, caller, note_lately, permitted, sessions_of, team_of
from gptmock.server.context import App
from gptmock.server.guard import client_source
from gptmock.server.session_cookie import clear_session, session_value, set_session

Handler: TypeAlias = Callable[..., Coroutine[Any, Any, HTTPResponse | None]]
_READ = ("GET", "HEAD")
MAX_COUNT = 1000
MAX_DAYS = 400
DEFAULT_DAYS = 14


def add_admin_routes(app: App) -> None:
    """Add them all."""
    for path, methods, handler, body in (
        ("accounts", _READ, _accounts, None),
        ("accounts/<label>/pause", ("POST",), partial(_pause, paused=True), None),
        ("accounts/<label>/resume", ("POST",), partial(_pause, paused=False), None),
        ("accounts/<label>/default", ("POST",), _make_default, None),
        ("accounts/<label>/sign-out", ("POST",), _sign_out_of_account, None),
        ("keys", _READ, _keys, None),
        ("keys", ("POST",), _create_key, NewKeyBody),
        ("keys/<name>", _READ, _show_key, None),
        ("keys/<name>", ("PATCH",), _update_key, TermsBody),
        ("keys/<name>", ("DELETE",), _revoke_key, None),
        ("keys/<name>/rotate", ("POST",), _rotate_key, RotationBody),
        ("usage", _READ, _usage, None),
        ("models", _READ, _models, None),
        ("problems", _READ, _problems, None),
        ("workers", _READ, _workers, None),
        ("audit", _READ, _audit, None),
        ("session", _READ, _session, None),
        ("session", ("POST",), _sign_in, SignInBody),
        ("session", ("DELETE",), _sign_out, None),
    ):
        add_admin_route(app, path, methods, handler, body)


def add_admin_route(app: App, path: str, methods: tuple[str, ...], handler: Handler, body: Any) -> None:
    """Add one, below ``/admin``; ``body`` is the pydantic model of the request body, ``None`` for none."""
    name = "admin_" + "_".join(word for word in path.split("/") if not word.startswith("<"))
    parts = ["one"] if path.endswith(">") else []
    name = "_".join([name, *parts, methods[0].lower()])

    async def handle(request: Request, **named: str) -> HTTPResponse | None:
        return await handler(request, **named)

    context = {"ctx_body": body} if body is not None else {"ctx_bodiless": True}
    app.add_route(handle, f"/admin/{path}", methods=list(methods), name=name, unquote=True, **context)


def answer(document: Any) -> HTTPResponse:
    """A JSON response that no cache keeps."""
    body = msgspec.json.encode(document)
    return HTTPResponse(body, headers={"cache-control": "no-store"}, content_type="application/json")


# --- Accounts -----------------------------------------------------------------------------------


async def _accounts(request: Request) -> HTTPResponse:
    client = await caller(request)
    return answer(views.accounts(client, await team_of(request).overview(), await team_of(request).broken()))


async def _pause(request: Request, label: str, *, paused: bool) -> HTTPResponse:
    book = team_of(request).accounts(await actor_of(request, await caller(request, "admin")))
    login = await _found(book.find(label))
    await book.pause(login, paused=paused)
    return answer({"label": login.label, "paused": paused})


async def _make_default(request: Request, label: str) -> HTTPResponse:
    book = team_of(request).accounts(await actor_of(request, await caller(request, "admin")))
    login = await _found(book.find(label))
    await book.make_default(login)
    return answer({"label": login.label, "default": True})


async def _sign_out_of_account(request: Request, label: str) -> HTTPResponse:
    client = await caller(request)
    book = team_of(request).accounts(await actor_of(request, client))
    if client.may("admin"):
        login = await _found(book.find(label))
    else:
        # A member takes its own login back; the operator's accounts are an admin's matter, whoever has a key to them.
        own = await _found(book.find(client.account_id)) if client.account_id is not None else None
        if own is None or not own.member or label not in (own.label, own.account.id):
            await permitted(request, client, "admin")
        login = own
    result = await book.sign_out(login)
    return answer({"label": login.label, "signed_out": True, "revoked": result.revoked})


async def _found(search: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await search
    except NotLoggedIn as error:
        # For a model call it is 503: the server lacks an account.
        raise _unknown_account(error.message) from error


def _unknown_account(message: str) -> ClientError:
    return ClientError(message, code="account_not_found", status=404)


# --- Keys ---------------------------------------------------------------------------------------


async def _keys(request: Request) -> HTTPResponse:
    client, team = await caller(request), team_of(request)
    everything = request.args.get("all") in ("1", "true")
    return answer({"keys": await views.keys(client, team, everything=everything)})


async def _show_key(request: Request, name: str) -> HTTPResponse:
    client, team = await caller(request), team_of(request)
    key = await team.keys(await actor_of(request, client)).show(_own(client, name))
    return await _key(request, key)


async def _create_key(request: Request) -> HTTPResponse:
    keys = await _administration(request)
    body = decode_body(request.body, NewKeyBody)
    name, given = key_name(body.name), await _with_account(request, given_terms(body))
    return await _issued(request, await keys.create(name, revised(KeyTerms(), given)))


async def _update_key(request: Request, name: str) -> HTTPResponse:
    keys = await _administration(request)
    given = await _with_account(request, given_terms(decode_body(request.body, TermsBody)))
    if not given:
        raise BadRequest('Say what to change, such as {"rpm": 60}.')
    return await _key(request, await keys.update(name, partial(revised, given=given)))


async def _rotate_key(request: Request, name: str) -> HTTPResponse:
    keys = await _administration(request)
    body = decode_body(request.body or b"{}", RotationBody)
    return await _issued(request, await keys.rotate(name, overlap_seconds=float(body.overlap_seconds)))


async def _revoke_key(request: Request, name: str) -> HTTPResponse:
    client = await caller(request)
    if not (client.key is not None and name in (client.key.id, client.key.name)):
        await permitted(request, client, "admin")
    keys = team_of(request).keys(await actor_of(request, client))
    return await _key(request, await keys.revoke(_own(client, name)))


async def _administration(request: Request) -> KeyAdministration:
    client = await caller(request, "admin")
    return team_of(request).keys(await actor_of(request, client))


def _own(client: Client, name: str) -> str:
    """The key to look up; the caller's own by its id, since an older key may have had its name."""
    if client.key is not None and name in (client.key.id, client.key.name):
        return client.key.id
    if not client.may("viewer"):
        # As if it did not exist: names of other keys are not told.
        raise UnknownClientKey(f"There is no client key {name[:100]!r}.")
    return name


async def _with_account(request: Request, given: Given) -> Given:
    """Replace the label of the account by its id."""
    if "account" not in given:
        return given
    others = {name: value for name, value in given.items() if name != "account"}
    label = given["account"]
    if label is None:
        return {**others, "account_id": None}
    found = [one for one, known in (await team_of(request).labels()).items() if label in (one, known)]
    if not found:
        raise _unknown_account(f"There is no account {label[:100]!r}.")
    return {**others, "account_id": found[0]}


async def _key(request: Request, key: ClientKey) -> HTTPResponse:
    team = team_of(request)
    return answer(key_document(key, await team.labels(), now=team.clock()))


async def _issued(request: Request, issued: IssuedKey) -> HTTPResponse:
    team = team_of(request)
    document = key_document(issued.key, await team.labels(), now=team.clock())
    return answer({"key": issued.text.reveal(), **document})


# --- What is shown ------------------------------------------------------------------------------


async def _usage(request: Request) -> HTTPResponse:
    client, team = await caller(request), team_of(request)
    days = _number(request, "days", DEFAULT_DAYS, MAX_DAYS)
    by = tuple((request.args.get("by") or "day,key,account,model").split(","))
    if not set(by) <= set(views.GROUPS) or len(set(by)) != len(by):
        raise BadRequest(f"'by' must be words of: {', '.join(views.GROUPS)}.", param="by")
    return answer(await views.usage(client, team, days=days, by=by))


async def _models(request: Request) -> HTTPResponse:
    client = await caller(request)
    return answer({"models": views.models(client, request.app.ctx.services.terms.catalog)})


async def _problems(request: Request) -> HTTPResponse:
    client, team = await caller(request), team_of(request)
    count = _number(request, "count", 50, MAX_COUNT)
    return answer({"problems": await views.problems(client, team, count=count)})


async def _workers(request: Request) -> HTTPResponse:
    await caller(request, "viewer")
    return answer({"workers": [views.worker(one) for one in await team_of(request).workers()]})


async def _audit(request: Request) -> HTTPResponse:
    await caller(request, "viewer")
    events = await team_of(request).audit_events(_number(request, "count", 50, MAX_COUNT))
    return answer({"events": [audit_document(event) for event in events]})


# --- The session of the page ----------------------------------------------------------------------


async def _session(request: Request) -> HTTPResponse:
    client, team = await caller(request), team_of(request)
    names = await team.key_names()
    role = next(role for role in reversed(ROLES) if client.may(role))
    name = names.get(client.tenant, client.tenant) if client.tenant else None
    return answer({"role": role, "name": name, "signed_in": session_value(request) is not None and bool(client.tenant)})


async def _sign_in(request: Request) -> HTTPResponse:
    key = Secret(decode_body(request.body, SignInBody).key)
    sessions = sessions_of(request)
    value = await sessions.sign_in(key, source=source_of(client_source(request)))
    former = session_value(request)
    if former is not None:
        await sessions.sign_out(former)
    if (client := await sessions.client_of(value)) is not None:
        await note_lately(request, client, "page.signed_in", each=f"{client.tenant} {client_source(request)}")
    response = answer({"signed_in": True})
    set_session(request, response, value)
    return response


async def _sign_out(request: Request) -> HTTPResponse:
    value = session_value(request)
    if value is not None:
        client = await sessions_of(request).client_of(value)
        await sessions_of(request).sign_out(value)
        if client is not None:
            await note_lately(request, client, "page.signed_out", each=f"{client.tenant} {client_source(request)}")
    response = answer({"signed_in": False})
    clear_session(request, response)
    return response


def _number(request: Request, name: str, default: int, most: int) -> int:
    text = request.args.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 6 or not 1 <= int(text) <= most:
        raise BadRequest(f"'{name}' must be a number from 1 to {most}.", param=name)
    return int(text)
