import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.limits import RateLimitSnapshot, RateLimitWindow, snapshot_from_headers

NOW = 1_783_000_000.0
WHOLE = {
    "x-codex-plan-type": "plus",
    "x-codex-active-limit": "codex",
    "x-codex-primary-used-percent": "42.5",
    "x-codex-primary-window-minutes": "300",
    "x-codex-primary-reset-at": "1783000900",
    "x-codex-primary-reset-after-seconds": "901",
    "x-codex-secondary-used-percent": "5",
    "x-codex-secondary-window-minutes": "10080",
    "x-codex-secondary-reset-after-seconds": "60",
}


def read(**changes):
    headers = {**WHOLE, **{f"x-codex-{name.replace('_', '-')}": value for name, value in changes.items()}}
    return snapshot_from_headers({name: value for name, value in headers.items() if value is not None}, now=NOW)


def test_the_windows_are_read():
    assert read() == RateLimitSnapshot(
        taken_at=NOW,
        windows=(
            RateLimitWindow(used_percent=42.5, window_minutes=300, resets_at=1783000900.0),
            RateLimitWindow(used_percent=5.0, window_minutes=10080, resets_at=NOW + 60),
        ),
        plan="plus",
        active_limit="codex",
    )


def test_what_was_reached_is_told():
    assert read(rate_limit_reached_type="rate_limit_reached").reached_type == "rate_limit_reached"


@pytest.mark.parametrize("headers", [{}, {"date": "now"}, {"x-codex-credits-balance": "5"}])
def test_an_answer_without_limits_has_none(headers):
    assert snapshot_from_headers(headers, now=NOW) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"secondary_used_percent": ""},
        {"secondary_used_percent": None},
        {"secondary_window_minutes": "0"},
        {"secondary_window_minutes": ""},
        {"secondary_used_percent": "nan"},
        {"secondary_used_percent": "much"},
        {"secondary_window_minutes": "inf"},
    ],
)
def test_a_window_that_says_nothing_is_no_window(changes):
    assert [window.window_minutes for window in read(**changes).windows] == [300]


def test_a_reset_may_be_missing():
    window = read(primary_reset_at=None, primary_reset_after_seconds="").windows[0]
    assert window.resets_at is None


def test_a_plan_alone_is_a_snapshot():
    assert snapshot_from_headers({"x-codex-plan-type": "free"}, now=NOW) == RateLimitSnapshot(NOW, (), plan="free")


@given(st.dictionaries(st.sampled_from(sorted(WHOLE)), st.text(max_size=8)))
def test_any_headers_are_read(headers):
    snapshot = snapshot_from_headers(headers, now=NOW)
    for window in snapshot.windows if snapshot else ():
        assert abs(window.used_percent) < float("inf")
