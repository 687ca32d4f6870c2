from __future__ import annotations

import json
from typing import Any

import pytest

from gptmock.conversations import item_id
from gptmock.dialects.stored import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    Page,
    deleted_document,
    input_items_document,
    page_of,
    refuse_stream,
)
from gptmock.errors import BadRequest
from tests.conversations import raw, snapshot, user

TEN = snapshot(asked=tuple(user(f"{number}", id=f"msg_{number}") for number in range(10)))


def listed(page: Page) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(input_items_document(TEN, page))
    return document


def ids(document: dict[str, Any]) -> list[str]:
    return [item["id"] for item in document["data"]]


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ({}, Page(20, "desc", None)),
        ({"limit": "1", "order": "asc", "after": "msg_1"}, Page(1, "asc", "msg_1")),
        ({"limit": "100", "include": "message.input_image.image_url", "after": ""}, Page(100, "desc", None)),
    ],
)
def test_a_query_says_which_part_is_meant(query: dict[str, str], page: Page):
    assert page_of(query) == page
    assert (DEFAULT_LIMIT, MAX_LIMIT) == (20, 100)


@pytest.mark.parametrize(
    ("query", "param"),
    [({"limit": limit}, "limit") for limit in ("0", "101", "-1", "x", "1.5", "", "٣", "9" * 5000)]
    + [({"order": order}, "order") for order in ("", "up", "ASC")],
)
def test_a_query_that_means_nothing_is_refused(query: dict[str, str], param: str):
    with pytest.raises(BadRequest) as caught:
        page_of(query)
    assert caught.value.param == param


@pytest.mark.check(80)
def test_the_list_has_the_shape_of_the_api():
    document = listed(Page())
    assert document == {
        "object": "list",
        "data": [json.loads(bytes(item)) for item in reversed(TEN.input)],
        "first_id": "msg_9",
        "last_id": "msg_0",
        "has_more": False,
    }


def test_pages_follow_one_another_without_gap():
    for order, expected in (("asc", range(10)), ("desc", range(9, -1, -1))):
        seen: list[str] = []
        more, after = True, None
        while more:
            document = listed(Page(3, "asc" if order == "asc" else "desc", after))
            seen += ids(document)
            assert (document["first_id"], document["last_id"]) == (ids(document)[0], ids(document)[-1])
            more, after = document["has_more"], document["last_id"]
        assert seen == [f"msg_{number}" for number in expected]


def test_after_the_last_one_comes_nothing():
    assert listed(Page(after="msg_0")) == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


def test_a_page_ends_exactly_with_the_list():
    assert listed(Page(limit=10))["has_more"] is False
    assert listed(Page(limit=9))["has_more"] is True


def test_after_an_item_that_is_not_there_is_refused():
    with pytest.raises(BadRequest) as caught:
        listed(Page(after="msg_10"))
    assert caught.value.param == "after"


def test_items_without_an_id_are_listed_with_one():
    bare = (user("x"), user("y", id=None), raw({"type": "from_the_future"}))
    document = json.loads(input_items_document(snapshot(asked=bare), Page(order="asc")))
    assert ids(document) == [item_id(place, item) for place, item in enumerate(bare)]
    assert all(isinstance(one, str) for one in ids(document))


def test_earlier_turns_are_listed_too():
    child = snapshot("resp_2", after=snapshot("resp_1"))
    document = json.loads(input_items_document(child, Page(order="asc")))
    said = [item["content"][0]["text"] for item in document["data"]]
    assert said == ["question of resp_1", "answer of resp_1", "question of resp_2"]


def test_line_separators_are_escaped():
    document = input_items_document(snapshot(asked=(user("\u2028"),)), Page())
    assert "\u2028" not in document.decode()
    assert json.loads(document)["data"][0]["content"][0]["text"] == "\u2028"


@pytest.mark.parametrize("query", [{"stream": "true"}, {"stream": "True"}, {"stream": "1", "starting_after": "3"}])
def test_a_stored_response_is_not_streamed(query: dict[str, str]):
    with pytest.raises(BadRequest) as caught:
        refuse_stream(query)
    assert (caught.value.param, caught.value.code) == ("stream", "unsupported_parameter")


@pytest.mark.parametrize("query", [{}, {"stream": "false"}, {"include": "x"}])
def test_other_queries_have_no_effect(query: dict[str, str]):
    refuse_stream(query)


@pytest.mark.check(80)
def test_what_a_deletion_answers():
    assert json.loads(deleted_document("resp_1")) == {"id": "resp_1", "object": "response", "deleted": True}
