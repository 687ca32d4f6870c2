"""HTTP behaviour that every route of the dialect table must have; new routes are tested automatically."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httpx
import pytest

from gptmock.dialects.families import ANTHROPIC, OLLAMA, OPENAI, family_of
from gptmock.dialects.table import DIALECTS, DialectRoute
from gptmock.protocol.sse import SSE_HEARTBEAT
from gptmock.simulator.scene_replies import GREETING
from gptmock.simulator.server import Simulator
from tests.playbook import as_client, client_of

routes = pytest.mark.parametrize("route", DIALECTS, ids=lambda route: route.name)
streams = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "collected"])
OPENAI_ROUTES = [route for route in DIALECTS if family_of(route.paths[0]) is OPENAI]


async def asked(client: httpx.AsyncClient, route: DialectRoute, **members: Any) -> httpx.Response:
    return await client.post(route.paths[0], content=client_of(route).body(**members))


def error_of(route: DialectRoute, response: httpx.Response) -> dict[str, Any]:
    """The error in the shape of the route's family, as the four members of OpenAI's."""
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    said = response.json()
    if family_of(route.paths[0]) is ANTHROPIC:
        assert set(said) == {"type", "error", "request_id"}
        assert (said["type"], said["request_id"]) == ("error", response.headers["x-request-id"])
        assert response.headers["request-id"] == said["request_id"]
        assert set(said["error"]) == {"type", "message"}
        return {"message": said["error"]["message"]}
    assert set(said) == {"error"}
    if family_of(route.paths[0]) is OLLAMA:
        assert isinstance(said["error"], str)
        return {"message": said["error"]}
    assert set(said["error"]) == {"message", "type", "param", "code"}
    return dict(said["error"])


def as_told(route: DialectRoute, status: int) -> int:
    """The status for what is overloaded: Anthropic's clients know another one."""
    return 529 if status == 503 and family_of(route.paths[0]) is ANTHROPIC else status


# --- Before the first word -------------------------------------------------------------------


@pytest.mark.check(26)
@routes
@streams
async def test_the_upstreams_own_words_are_kept(
    client: httpx.AsyncClient,
    simulator: Simulator,
    route: DialectRoute,
    *,
    stream: bool,
):
    simulator.state.scenes.append("400-detail")
    response = await asked(client, route, stream=stream)
    assert response.status_code == 400
    assert "Unsupported parameter: temperature" in error_of(route, response)["message"]
    assert "detail" not in response.json()


@pytest.mark.check(27)
@routes
@streams
async def test_a_usage_limit_is_told_with_its_end_after_one_call(
    client: httpx.AsyncClient,
    simulator: Simulator,
    route: DialectRoute,
    *,
    stream: bool,
):
    simulator.state.scenes.append("429-usage")
    response = await asked(client, route, stream=stream)
    assert (response.status_code, response.headers["x-should-retry"]) == (429, "false")
    assert int(response.headers["retry-after"]) > 0
    assert simulator.state.model_call_count == 1
    assert error_of(route, response).get("code", "usage_limit_reached") == "usage_limit_reached"


@pytest.mark.check(28)
@routes
@streams
async def test_the_upstreams_401_is_never_the_clients(
    client: httpx.AsyncClient,
    simulator: Simulator,
    route: DialectRoute,
    *,
    stream: bool,
):
    simulator.state.scenes.extend(["401-always"] * 3)
    response = await asked(client, route, stream=stream)
    assert response.status_code == 503
    assert error_of(route, response).get("code", "auth_unavailable") in ("auth_unavailable", "login_required")
    assert "www-authenticate" not in response.headers


@pytest.mark.check(82)
@routes
@streams
async def test_an_unknown_model_is_not_found(client: httpx.AsyncClient, route: DialectRoute, *, stream: bool):
    response = await asked(client, route, stream=stream, model="gpt-nowhere")
    assert response.status_code == 404
    error = error_of(route, response)
    assert "gpt-nowhere" in error["message"]
    assert (error.get("code", "model_not_found"), error.get("param", "model")) == ("model_not_found", "model")


@pytest.mark.check(86)
@routes
@streams
@pytest.mark.parametrize(("scene", "status"), [("503-overload", 503), ("429-burst", 429)])
async def test_what_passes_soon_says_when(
    client: httpx.AsyncClient,
    simulator: Simulator,
    route: DialectRoute,
    *,
    stream: bool,
    scene: str,
    status: int,
):
    simulator.state.scenes.extend([scene] * 3)
    response = await asked(client, route, stream=stream)
    assert response.status_code == as_told(route, status)
    assert float(response.headers["retry-after"]) >= 1
    assert response.headers.get("x-should-retry") != "false"
    simulator.state.scenes.clear()
    assert (await asked(client, route, stream=stream)).status_code == 200


@pytest.mark.check(87)
@routes
@streams
@pytest.mark.parametrize("scene", ["403-html", "502-html"])
async def test_no_html_comes_through(
    client: httpx.AsyncClient,
    simulator: Simulator,
    route: DialectRoute,
    *,
    stream: bool,
    scene: str,
):
    simulator.state.scenes.extend([scene] * 3)
    response = await asked(client, route, stream=stream)
    assert response.status_code in (502, 503)
    assert "<" not in error_of(route, response)["message"]


@routes
@streams
@pytest.mark.parametrize(
    ("scene", "status", "code", "words", "calls"),
    [
        ("200-detail", 502, "upstream_error", "The model gateway is closed for maintenance.", 1),
        ("200-error", 429, "rate_limit_exceeded", "Rate limit reached for", 1),
        ("200-401", 503, "auth_unavailable", "does not accept this account's credential", 2),
        ("200-html", 502, "upstream_no_stream", "a web page instead of an event stream", 1),
        ("302", 502, "upstream_redirected", "redirects (302) to sign-in.example.test", 1),
    ],
)
async def test_what_is_no_stream_is_told_in_the_upstreams_words(  # noqa: PLR0917 - one row of the table
    client: httpx.AsyncClient,
    simulator: Simulator,
    route: DialectRoute,
    scene: str,
    status: int,
    code: str,
    words: str,
    calls: int,
    *,
    stream: bool,
):
    simulator.state.scenes.extend([scene] * 3)
    response = await asked(client, route, stream=stream)
    assert response.status_code == status
    error = error_of(route, response)
    assert words in error["message"]
    assert error.get("code", code) == code
    assert not any(word in error["message"] for word in ("planted", "secret", "8443", "<"))
    assert simulator.state.model_call_count == calls


@routes
@streams
@pytest.mark.parametrize("codings", ["gzip", "deflate", "zstd", "gzip.zstd", "zstd.deflate.gzip"])
async def test_an_encoded_stream_is_read_as_any_other(
    client: httpx.AsyncClient,
    simulator: Simulator,
    route: DialectRoute,
    codings: str,
    *,
    stream: bool,
):
    simulator.state.scenes.append(f"encoded:{codings}")
    response = await asked(client, route, stream=stream)
    assert response.status_code == 200
    assert "content-encoding" not in response.headers
    chosen = client_of(route)
    said = response.content.replace(SSE_HEARTBEAT, b"")
    reply = as_client(route, [said]).reply if stream else chosen.document(said)
    assert GREETING in chosen.text(reply)


@routes
@streams
async def test_an_encoding_that_cannot_be_read_is_named(
    client: httpx.AsyncClient,
    simulator: Simulator,
    route: DialectRoute,
    monkeypatch: pytest.MonkeyPatch,
    *,
    stream: bool,
):
    for library in ("brotli", "brotlicffi"):
        monkeypatch.setitem(sys.modules, library, None)
    simulator.state.scenes.append("encoded:gzip.br")
    response = await asked(client, route, stream=stream)
    assert response.status_code == 502
    error = error_of(route, response)
    assert "'gzip, br'" in error["message"]
    assert error.get("code", "upstream_bad_encoding") == "upstream_bad_encoding"


# --- Bad requests, paths, ids -----------------------------------------------------------------


@pytest.mark.check(84)
@routes
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"17", b'"x"', b"\xff", b"[" * 9999, b'{"model": 5}', b'{"stream": "yes"}']
)
async def test_a_bad_body_is_a_400_and_nothing_is_spent(
    client: httpx.AsyncClient, simulator: Simulator, route: DialectRoute, body: bytes
):
    response = await client.post(route.paths[0], content=body)
    assert response.status_code == 400
    error = error_of(route, response)
    if body.startswith(b'{"'):
        assert error.get("param", "model") in ("model", "stream")
    assert simulator.state.model_call_count == 0


@routes
@streams
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
async def test_half_an_emoji_is_sent_on_as_the_replacement_character(
    client: httpx.AsyncClient, simulator: Simulator, route: DialectRoute, bom: bytes, *, stream: bool
):
    body = client_of(route).body(stream=stream, unknown={"HALF": "HALF"}).replace(b"Hello", rb"Hello \ud83d!")
    response = await client.post(route.paths[0], content=bom + body.replace(b"HALF", rb"\ude00"))
    assert response.status_code == 200
    assert "Hello \ufffd!" in json.dumps(simulator.state.model_calls()[-1].body, ensure_ascii=False)


@routes
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32-be"])
async def test_a_body_in_another_unicode_encoding_is_a_400_that_names_it(
    client: httpx.AsyncClient, route: DialectRoute, encoding: str
):
    response = await client.post(route.paths[0], content=client_of(route).body().decode().encode(encoding))
    assert response.status_code == 400
    assert encoding[:6].upper() in error_of(route, response)["message"]


@pytest.mark.parametrize("path", ["/api/show", "/api/pull", "/v1/responses/compact"])
async def test_the_other_bodies_are_read_alike(client: httpx.AsyncClient, path: str):
    body = b'\xef\xbb\xbf{"model":"gpt-5.5","input":"Hello \\ud83d","stream":false,"\\ude00":["\\ud83d"]}'
    assert (await client.post(path, content=body)).status_code == 200
    assert (await client.post(path, content=body.decode().encode("utf-16"))).status_code == 400


@routes
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense"])
async def test_a_body_is_read_whatever_it_is_called(client: httpx.AsyncClient, route: DialectRoute, kind: str):
    body = client_of(route).body(stream=False)
    assert (await client.post(route.paths[0], content=body, headers={"content-type": kind})).status_code == 200


@pytest.mark.check(93)
@routes
async def test_slashes_and_prefixes_are_forgiven_without_a_redirect(client: httpx.AsyncClient, route: DialectRoute):
    body, base = client_of(route).body(stream=False), client.base_url
    answers = set()
    for path in route.paths:
        for variant in (path, path + "/", path.replace("/", "//"), f"/{path}"):
            response = await client.post(base.copy_with(raw_path=variant.encode()), content=body)
            assert (response.status_code, response.is_redirect) == (200, False)
            answers.add(client_of(route).text(client_of(route).document(response.content)))
    assert len(answers) == 1


@pytest.mark.check(83)
@routes
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
async def test_a_wrong_method_names_the_right_one(client: httpx.AsyncClient, route: DialectRoute, method: str):
    response = await client.request(method, route.paths[0])
    if response.status_code == 405:
        assert route.method in response.headers["allow"].split(", ")
    error_of(route, response)


@pytest.mark.check(85)
@routes
@pytest.mark.parametrize(
    ("scene", "stream", "status"),
    [("text", True, 200), ("text", False, 200), ("failed-mid", True, 200), ("503-overload", True, 503)],
)
async def test_every_answer_has_the_id_of_its_request(
    client: httpx.AsyncClient,
    simulator: Simulator,
    route: DialectRoute,
    scene: str,
    *,
    stream: bool,
    status: int,
):
    simulator.state.scenes.extend([scene] * 3)
    body = client_of(route).body(stream=stream)
    response = await client.post(route.paths[0], content=body, headers={"x-request-id": "mine-1"})
    assert (response.status_code, response.headers["x-request-id"]) == (as_told(route, status), "mine-1")
    simulator.state.scenes.clear()
    assert (await client.post(route.paths[0], content=body)).headers["x-request-id"] not in ("", "mine-1")


# --- Streams --------------------------------------------------------------------------------


@pytest.mark.check(90)
@routes
async def test_a_stream_is_neither_cached_nor_held_up_nor_packed(client: httpx.AsyncClient, route: DialectRoute):
    body = client_of(route).body()
    response = await client.post(route.paths[0], content=body, headers={"accept-encoding": "gzip, deflate, zstd"})
    kind = response.headers["content-type"].partition(";")[0]
    assert kind == route.dialect.content_type.partition(";")[0]
    assert kind in ("text/event-stream", "application/x-ndjson")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in response.headers
    assert as_client(route, [response.content]).succeeded


@pytest.mark.check(109)
@routes
async def test_no_empty_data_and_no_error_in_a_stream_that_is_well(
    client: httpx.AsyncClient, simulator: Simulator, route: DialectRoute
):
    for scene in ("text", "tools2", "search", "reasoning"):
        simulator.state.scenes.append(scene)
        response = await asked(client, route)
        lines = [line for line in response.text.split("\n") if line.startswith(("data:", "{"))]
        assert lines
        for line in lines:
            data = line.removeprefix("data:").strip()
            assert data
            if data != "[DONE]":
                assert "error" not in json.loads(data) or json.loads(data)["error"] is None


@pytest.mark.check(112)
@routes
async def test_streams_at_the_same_time_have_their_own_ids_and_texts(client: httpx.AsyncClient, route: DialectRoute):
    def body(number: int) -> bytes:
        return client_of(route).body().replace(b"Hello", f"Number {number} of many".encode())

    responses = await asyncio.gather(*(client.post(route.paths[0], content=body(number)) for number in range(10)))
    replies = [as_client(route, [response.content]).reply for response in responses]
    for number, reply in enumerate(replies):
        assert f"Number {number} of many" in client_of(route).text(reply)
    if "id" in replies[0]:
        assert len({reply["id"] for reply in replies}) == 10


@pytest.mark.check(30, 31, 120)
@routes
@pytest.mark.parametrize("scene", ["failed-mid", "eof-mid", "abort-mid", "truncated-chunk", "error-event"])
async def test_what_breaks_in_the_middle_never_looks_like_success(
    client: httpx.AsyncClient, simulator: Simulator, route: DialectRoute, scene: str
):
    simulator.state.scenes.extend([scene] * 2)
    streamed = await asked(client, route)
    assert streamed.status_code == 200
    assert not as_client(route, [streamed.content]).succeeded
    collected = await asked(client, route, stream=False)
    assert collected.status_code >= 500
    error_of(route, collected)


@pytest.mark.check(116)
@pytest.mark.parametrize("route", OPENAI_ROUTES, ids=lambda route: route.name)
@streams
async def test_exactly_what_had_no_effect_is_named(
    client: httpx.AsyncClient,
    route: DialectRoute,
    *,
    stream: bool,
):
    assert "x-gptmock-ignored" not in (await asked(client, route, stream=stream)).headers
    response = await asked(client, route, stream=stream, temperature=0.5, top_p=0.5, unheard_of=1)
    assert response.status_code == 200
    assert set(response.headers["x-gptmock-ignored"].split(",")) == {"temperature", "top_p", "unheard_of"}


@pytest.mark.check(116)
@routes
@streams
async def test_unknown_names_are_safe_in_a_header(client: httpx.AsyncClient, route: DialectRoute, *, stream: bool):
    unknown = {"top_k": 1, "a\r\nset-cookie: x": 1, "größe": 1, "n" * 100_000: 1}
    response = await asked(client, route, stream=stream, **unknown)
    assert response.status_code == 200
    assert "set-cookie" not in response.headers
    written = "top_k,a%0D%0Aset-cookie%3A%20x,gr%C3%B6%C3%9Fe," + "n" * 64 + "..."
    assert response.headers["x-gptmock-ignored"] == written
    many = await asked(client, route, stream=stream, **{f"n{number}": 1 for number in range(5000)})
    assert many.headers["x-gptmock-ignored"].split(",") == [*(f"n{number}" for number in range(32)), "...+4968"]
