"""The simulator's endpoints for images: what they refuse, and that they make whole images of the right size."""

import base64

import pytest

from gptmock.simulator.images import IMAGES_PATH
from gptmock.simulator.options import SimulatorOptions
from gptmock.simulator.pictures import MAX_PIXELS, is_picture, picture
from tests.simulator.wire import RESPONSES, body

GENERATIONS, EDITS = f"{IMAGES_PATH}/generations", f"{IMAGES_PATH}/edits"
ASKED = {"prompt": "a cat", "model": "gpt-image-2"}
IMAGE = {"image_url": f"data:image/png;base64,{picture('8x8')}"}
CUT = {"image_url": f"data:image/png;base64,{picture('8x8')[:-16]}"}


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_its_images_are_images(kind):
    assert is_picture(f"data:image/{kind};base64,{picture('64x32', kind)}")
    assert not is_picture(f"data:image/{kind};base64,{picture('64x32', kind)[:-8]}")


@pytest.mark.parametrize(("asked", "made"), [("80x40", (80, 40)), ("auto", (1024, 1024)), ("4096x4096", (1254, 1254))])
async def test_an_image_has_the_size_that_the_backend_makes(client, asked, made):
    answer = (await client.post(GENERATIONS, json={**ASKED, "size": asked})).json()
    data = base64.b64decode(answer["data"][0]["b64_json"])
    assert (int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) == made
    assert answer["size"] == f"{made[0]}x{made[1]}"
    assert made[0] * made[1] <= MAX_PIXELS


async def test_images_are_edited(client):
    answer = await client.post(EDITS, json={**ASKED, "images": [IMAGE] * 5, "n": 2})
    assert answer.status_code == 200
    assert len(answer.json()["data"]) == 2


@pytest.mark.parametrize(
    ("path", "members", "code"),
    [
        (GENERATIONS, {"prompt": ""}, "missing_required_parameter"),
        (GENERATIONS, {"prompt": 5}, "invalid_type"),
        (GENERATIONS, {"prompt": "x" * 32_001}, "string_above_max_length"),
        (GENERATIONS, {"n": 0}, "invalid_type"),
        (GENERATIONS, {"size": "big"}, "invalid_value"),
        (GENERATIONS, {"quality": "hd"}, "invalid_value"),
        (GENERATIONS, {"background": "red"}, "invalid_value"),
        (GENERATIONS, {"images": [IMAGE]}, "unknown_parameter"),
        (GENERATIONS, {"stream": True}, "unknown_parameter"),
        (GENERATIONS, {"output_format": "png"}, "unknown_parameter"),
        (GENERATIONS, {"prompt": "scene:400-policy"}, "moderation_blocked"),
        (EDITS, {}, "missing_required_parameter"),
        (EDITS, {"images": []}, "missing_required_parameter"),
        (EDITS, {"images": [IMAGE] * 6}, "invalid_value"),
        (EDITS, {"images": [CUT]}, "invalid_image"),
        (EDITS, {"images": [{"image_url": "https://example.test/x.png"}]}, "invalid_image"),
        (EDITS, {"images": [{**IMAGE, "detail": "low"}]}, "missing_required_parameter"),
        (EDITS, {"images": [IMAGE], "mask": IMAGE}, "unknown_parameter"),
    ],
)
async def test_what_the_backend_does_not_take_is_refused(client, path, members, code):
    refused = await client.post(path, json={**ASKED, **members})
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == code


async def test_a_model_for_texts_makes_no_image(client):
    assert "not supported" in (await client.post(GENERATIONS, json={**ASKED, "model": "gpt-5.5"})).json()["detail"]


async def test_a_free_plan_has_no_images(simulator, client):
    login = simulator.state.logins.issue(plan="free").auth_json()["tokens"]
    headers = {"authorization": f"Bearer {login['access_token']}", "chatgpt-account-id": login["account_id"]}
    assert (await client.post(GENERATIONS, json=ASKED, headers=headers)).status_code == 403
    tool = {"tools": [{"type": "image_generation"}], "tool_choice": {"type": "image_generation"}}
    answer = await client.post(RESPONSES, json=body(**tool), headers=headers)
    assert answer.status_code == 200
    assert "image_generation_call" not in answer.text


async def test_the_endpoint_may_be_missing(simulator, client):
    simulator.state.options = SimulatorOptions(image_endpoint=False)
    assert (await client.post(GENERATIONS, json=ASKED)).status_code == 404
    assert simulator.state.image_call_count == 0
