import pytest

from gptmock import errors
from gptmock.errors import GptmockError, MethodNotAllowed


def kinds(kind=GptmockError):
    """All of ``gptmock.errors``. A room may add to one of them for its own use, as the lane of a WebSocket message."""
    below = (child for child in kind.__subclasses__() if child.__module__.startswith("gptmock.errors"))
    return [kind, *(one for child in below for one in kinds(child))]


def make(kind, **fields):
    return kind("M", allowed=("GET",)) if kind is MethodNotAllowed else kind("M", **fields)


@pytest.mark.parametrize("kind", kinds())
def test_every_error_has_a_message_a_code_and_a_status(kind):
    error = make(kind)
    assert str(error) == error.message == "M"
    assert error.code
    assert 400 <= error.status_hint < 600
    assert (error.param, error.retry_after_seconds, error.should_retry) == (None, None, None)
    assert isinstance(kind.retryable, bool)


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind is not MethodNotAllowed])
def test_a_single_error_may_say_otherwise(kind):
    error = make(kind, code="c", param="p", status=418, retry_after_seconds=1.5, should_retry=False)
    assert (error.code, error.param, error.status_hint) == ("c", "p", 418)
    assert (error.retry_after_seconds, error.should_retry) == (1.5, False)
    assert (kind.code, kind.status_hint) != ("c", 418)


@pytest.mark.parametrize("kind", kinds())
def test_the_tree_in_the_docstring_names_every_error(kind):
    lines = [line for line in errors.__doc__.splitlines() if kind.__name__ in line.split()]
    assert lines
    if (status := next((word for word in lines[0].split() if word.isdigit()), None)) is not None:
        assert int(status) == kind.status_hint


def test_faults_of_the_client_are_4xx_and_all_others_5xx():
    for kind in kinds(errors.ClientError):
        assert 400 <= kind.status_hint < 500
    for parent in (errors.AccountError, errors.StoreError, errors.InternalError):
        # A usage limit is a 429, and a plan without images a 403, as the upstream's own answer would be.
        told = (errors.AccountsExhausted, errors.ImagesUnavailable)
        assert all(kind.status_hint >= 500 for kind in kinds(parent) if kind not in told)


def test_only_an_unavailable_upstream_may_be_asked_again():
    assert [kind for kind in kinds() if kind.retryable] == [errors.UpstreamUnavailable]
