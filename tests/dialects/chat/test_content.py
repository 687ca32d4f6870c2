import base64

import pytest

from tests.dialects.chat.asked import USER, items

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()


def decoded(part, role="user"):
    history = [USER] if role == "assistant" else []
    return items(*history, {"role": role, "content": [part]})[-1]["content"]


@pytest.mark.check(51, 52)
@pytest.mark.parametrize(
    ("part", "sent"),
    [
        ({"type": "text", "text": "a"}, {"type": "input_text", "text": "a"}),
        ({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, {"type": "input_text", "text": "a"}),
        ({"type": "input_text", "text": "a"}, {"type": "input_text", "text": "a"}),
        ({"type": "output_text", "text": "a"}, {"type": "input_text", "text": "a"}),
        # check 51
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
            {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "low"},
        ),
        (
            {"type": "image_url", "image_url": f"data:image/png;base64,{PNG}"},
            {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://e/x.png", "detail": "ultra"}},
            {"type": "input_image", "image_url": "https://e/x.png"},
        ),
        (
            {"type": "input_image", "image_url": "http://e/x.png", "detail": "original"},
            {"type": "input_image", "image_url": "http://e/x.png", "detail": "original"},
        ),
        (
            {"type": "image_url", "image_url": {"url": PNG}},
            {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
        ),
        # check 52
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
            {"type": "input_file", "file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"},
        ),
        (
            {"type": "file", "file": {"file_data": PDF}},
            {"type": "input_file", "file_data": f"data:application/pdf;base64,{PDF}"},
        ),
        (
            {"type": "input_file", "file_data": PDF, "filename": "a.pdf"},
            {"type": "input_file", "file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"},
        ),
    ],
)
def test_a_part_of_a_user(part, sent):
    assert decoded(part) == [sent]


@pytest.mark.parametrize("kind", ["text", "input_text", "output_text"])
def test_text_of_the_assistant_is_output_text(kind):
    assert decoded({"type": kind, "text": "a"}, "assistant") == [{"type": "output_text", "text": "a"}]


@pytest.mark.parametrize("kind", ["thinking", "redacted_thinking", "reasoning"])
def test_display_text_of_earlier_turns_is_dropped(kind):
    parts = [{"type": kind, "thinking": "t", "text": "t"}, {"type": "text", "text": "a"}]
    got = items(USER, {"role": "assistant", "content": parts})
    assert got[1]["content"] == [{"type": "output_text", "text": "a"}]


@pytest.mark.parametrize(
    ("magic", "mime"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF0000WEBP", "image/webp"),
    ],
)
def test_bare_base64_is_known_by_its_first_bytes(magic, mime):
    data = base64.b64encode(magic + b"0000").decode()
    (image,) = decoded({"type": "image_url", "image_url": data})
    assert image["image_url"] == f"data:{mime};base64,{data}"
