"""Which rounds count, and how the report tells them."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import msgspec
import pytest

from tests.benchmarks import plot, report
from tests.benchmarks.native import Run, Times
from tests.benchmarks.results import CellResult, Memory, Report, Sample, agree, digits, gather, strangest

TIMES = Times(0.001, 0.002, 0.003)


def sample(micro, *, failed=0, seconds=1.0):
    run = Run(100 - failed, failed, 100, 0, 1000, TIMES, TIMES, None, seconds, 0.1, "")
    return Sample(micro / 1e6, 0.0, 0.0, run)


def rounds(*pairs, **more):
    return [{"plain": sample(plain, **more), "ours": sample(ours, **more)} for plain, ours in pairs]


def gathered(made, *, extra=2):
    left = iter(made)
    return gather(lambda: next(left), wanted=3, extra=extra)


def test_rounds_agree_within_a_quarter():
    assert agree(rounds((100, 10), (124, 12), (110, 11)))
    assert not agree(rounds((100, 10), (126, 12), (110, 11)))
    assert not agree(rounds((100, 10), (110, 13), (110, 11)))


def test_the_strangest_round_is_the_farthest_from_the_medians_up_or_down():
    assert strangest(rounds((100, 10), (100, 10), (100, 30))) == 2
    assert strangest(rounds((100, 10), (20, 10), (100, 20))) == 1


def test_a_round_that_disagrees_is_replaced():
    found = gathered(rounds((100, 10), (300, 10), (100, 11), (105, 10)))
    assert (found.refused, found.steady) == (1, True)
    assert [one["plain"].cpu for one in found.kept] == pytest.approx([100e-6, 100e-6, 105e-6])


def test_a_round_with_a_failure_is_replaced():
    found = gathered([*rounds((100, 10), failed=1), *rounds((100, 10), (100, 10), (100, 10))])
    assert (found.refused, found.steady, len(found.kept)) == (1, True, 3)


def test_rounds_that_never_agree_are_kept_and_said_to_be_unsteady():
    found = gathered(rounds((100, 10), (200, 10), (400, 10), (800, 10), (1600, 10)))
    assert (found.refused, found.steady, len(found.kept)) == (2, False, 3)


def delayed(seconds):
    one = sample(100)
    return {"nginx": msgspec.structs.replace(one, run=msgspec.structs.replace(one.run, delay=Times(0, seconds, 1)))}


def test_a_round_in_which_nginx_was_late_is_replaced():
    quiet, late = delayed(0.001), delayed(0.021)
    found = gathered([quiet, late, quiet, quiet])
    assert (found.refused, found.steady, found.kept) == (1, True, [quiet] * 3)
    found = gathered([late] * 5)
    assert (found.refused, found.steady, len(found.kept)) == (2, False, 3)


def test_failures_to_the_end_leave_nothing_to_compare():
    found = gathered(rounds(*[(100, 10)] * 5, failed=100))
    assert (found.refused, found.steady, found.kept) == (3, False, [])


def a_report(*, steady=True):
    gates = {"plain": 0.1}
    cells = [CellResult("fast", "fast <title>", "frame", gates, rounds((100, 20), (110, 20), (100, 24)), 1, steady)]
    two = {"ours": sample(20), "ours, 2 workers": sample(20, seconds=0.5)}
    cells.append(CellResult(report.WORKERS, "workers", "frame", {}, [two], 0, steady=True))
    keys = {"ours, no key": sample(1000), "ours": sample(1100), "ours, limits": sample(1300)}
    cells.append(CellResult(report.KEYS, "keys", "request", {}, [keys], 0, steady=True))
    memory = {"ours": Memory(60_000_000, 40_000_000, 61_000_000, 44_000, 59_000)}
    return Report(
        "today",
        "3.11",
        2,
        "Redis",
        cells,
        memory,
        {"plain": [100, 100], "ours": [300, 400]},
        {"20 MB": [0.2, 0.3, 0.1]},
        [0.5],
    )


def test_a_ratio_is_the_median_of_what_the_rounds_say():
    cell = a_report().cells[0]
    assert cell.ratio("ours", "plain") == pytest.approx(0.2)
    assert cell.ratio("ours", "nginx") is None
    assert cell.cpu("plain") == pytest.approx(100e-6)


def test_the_report_shows_ratios_and_gates():
    text = report.markdown(a_report())
    assert "| fast <title> | frame | 100 | 20 | **0.2** (gate 0.1, missed) | 1 |" in text
    assert "**2.00** times" in text
    assert "more than without a key: *ours* 100 us; *ours, limits* 300 us" in text
    assert "| ours | 350 | 300, 400 | 3.5 |" in text
    assert "| 20 MB | 200 | 200, 300, 100 |" in text
    assert "0.50 s of CPU" in text
    assert "| ours | 60.0 | 40.0 | 61.0 | 44.0 | 59.0 |" in text


def test_unsteady_cells_are_marked():
    made = a_report(steady=False)
    assert "not steady" in report.markdown(made)
    assert "rounds disagree" in plot.svg(made)


def test_the_plot_is_a_picture():
    root = ET.fromstring(plot.svg(a_report()))  # noqa: S314 - our own text
    assert root.tag.endswith("svg")
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert any("ours / plain = 0.2" in str(text) for text in texts)
    assert any("fast <title>" in str(text) for text in texts)


def test_a_report_without_rounds_is_still_written():
    empty = CellResult("fast", "fast", "frame", {}, [], 3, steady=False)
    made = Report("today", "3.11", 2, "Redis", [empty], {}, {})
    assert "not steady" in report.markdown(made)
    ET.fromstring(plot.svg(made))  # noqa: S314 - our own text


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0634, "0.0634"), (0.94726, "0.947"), (16.14, "16.1"), (118.3, "118"), (1414.31, "1,414")]
)
def test_figures_have_three_digits_and_no_exponent(value, shown):
    assert digits(value) == shown
