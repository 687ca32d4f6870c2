"""Multipart forms: what the clients' libraries send is read as it is, anything else is refused and never shortened."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.dialects.forms import Form, FormFile
from gptmock.errors import BadRequest
from gptmock.server.multipart import MAX_PARTS, is_form, read_form

KIND = 'multipart/form-data; boundary="edge"'


def sent(**form):
    request = httpx.Request("POST", "http://test/", **form)
    return request.read(), request.headers["content-type"]


def form_of(*parts: bytes, end: bytes = b"--edge--\r\n") -> bytes:
    return b"".join(b"--edge\r\n" + part + b"\r\n" for part in parts) + end


def field(name: str, text: bytes) -> bytes:
    return b'Content-Disposition: form-data; name="%b"\r\n\r\n%b' % (name.encode(), text)


def test_fields_and_files_are_read_as_they_were_sent():
    data = bytes(range(256)) * 10 + b"\r\n--other\r\n\r\n"
    body, kind = sent(
        data={"prompt": "a cät\r\non a mat", "n": "2"},
        files=[("image[]", ("a.png", data, "image/png")), ("image[]", ("b.png", b"", "image/png"))],
    )
    assert is_form(kind)
    assert read_form(body, kind) == Form(
        (("prompt", "a cät\r\non a mat"), ("n", "2")),
        (FormFile("image[]", "a.png", "image/png", data), FormFile("image[]", "b.png", "image/png", b"")),
    )


@given(texts=st.lists(st.binary(max_size=60).filter(lambda data: b"edge" not in data), max_size=5))
def test_any_data_comes_out_as_it_went_in(texts):
    parts = [b'Content-Disposition: form-data; name="f"; filename="x"\r\n\r\n' + text for text in texts]
    assert [file.data for file in read_form(form_of(*parts), KIND).files] == texts


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (form_of(field("a", b"1")), "multipart/form-data", "no valid boundary"),
        (form_of(field("a", b"1")), "multipart/form-data; boundary=" + "x" * 71, "no valid boundary"),
        (form_of(field("a", b"1")), "multipart/form-data; boundary=other", "before its last boundary"),
        (b"", KIND, "before its last boundary"),
        (b'{"prompt": "x"}', KIND, "before its last boundary"),
        (form_of(field("a", b"1"), end=b""), KIND, "before its last boundary"),
        (form_of(field("a", b"1"))[:-5], KIND, "before its last boundary"),
        (form_of(field("a", b"the edge of it")), KIND, "within the data"),
        (form_of(*[field("a", b"1")] * (MAX_PARTS + 1)), KIND, "more than 64 parts"),
        (form_of(b"X: " + b"y" * 5000 + b"\r\n\r\nz"), KIND, "do not end, or are too long"),
        (form_of(b"no colon\r\n\r\nz"), KIND, "cannot be read"),
        (form_of(field("a", b"\xff\xfe")), KIND, "cannot be read"),
        (form_of(b'Content-Disposition: form-data; name="a"\r\nContent-Type: text/plain; charset=odd\r\n\r\nz'), KIND,
         "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_whole_form_is_refused(body, kind, reason):
    with pytest.raises(BadRequest, match=reason) as refused:
        read_form(body, kind)
    assert refused.value.code == "invalid_form"


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_cut_form_is_never_a_shorter_one(cut):
    body = form_of(field("prompt", b"a cat"), field("n", b"2"), end=b"--edge--")
    with pytest.raises(BadRequest):
        read_form(body[:-cut], KIND)


@pytest.mark.parametrize("kind", ["application/json", "", "multipart/mixed; boundary=x", "text/multipart/form-data"])
def test_other_content_types_are_no_forms(kind):
    assert not is_form(kind)
