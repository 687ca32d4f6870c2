"""The report as a drawing (SVG): what a frame costs, each server beside the others. Needs no library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tests.benchmarks.results import CellResult, Report, digits

_COLOURS = {"nginx": "#8d99ae", "ours": "#2a9d8f", "plain": "#e76f51", "before": "#e9c46a"}
_ORDER = ("nginx", "ours", "before", "plain")
_SHOWN = ("fast", "paced-200", "paced-100", "request", "bulk")
_WIDTH, _LEFT, _RIGHT, _BAR, _GAP = 760, 90, 190, 20, 34
_FONT = "font-family='Helvetica, Arial, sans-serif'"


def svg(report: Report) -> str:
    """Horizontal bars, one group for each load; every group has its own scale."""
    cells = [cell for name in _SHOWN for cell in report.cells if cell.name == name and "ours" in cell.targets]
    parts: list[str] = []
    y = 56
    for cell in cells:
        drawn, y = _group(cell, y)
        parts += drawn
    height = y + 12
    frame = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{height}' "
        f"viewBox='0 0 {_WIDTH} {height}' role='img' aria-label='CPU of the server for each frame'>"
    )
    background = f"<rect width='{_WIDTH}' height='{height}' rx='8' fill='#ffffff'/>"
    title = _text(20, 30, "CPU of the server, one worker: less is better", size=17, weight="bold")
    return "\n".join([frame, background, title, *parts, "</svg>"]) + "\n"


def _group(cell: CellResult, y: int) -> tuple[Sequence[str], int]:
    costs = {name: cost for name in _ORDER if (cost := cell.cpu(name)) is not None}
    most = max(costs.values())
    remark = "" if cell.steady else " (rounds disagree)"
    parts = [_text(20, y + 12, f"{cell.title}, µs per {cell.unit}{remark}", size=13, weight="bold")]
    y += 22
    for name, cost in costs.items():
        width = max(2.0, (_WIDTH - _LEFT - _RIGHT) * cost / most)
        parts.append(_text(_LEFT - 8, y + 14, name, size=13, anchor="end"))
        parts.append(f"<rect x='{_LEFT}' y='{y}' width='{width:.1f}' height='{_BAR - 3}' fill='{_COLOURS[name]}'/>")
        parts.append(_text(_LEFT + width + 6, y + 14, f"{digits(cost * 1e6)}{_compared(cell, name)}", size=13))
        y += _BAR
    return parts, y + _GAP - _BAR


def _compared(cell: CellResult, name: str) -> str:
    ratio = cell.ratio("ours", name)
    return "" if name == "ours" or ratio is None else f"   ours / {name} = {ratio:.2g}"


def _text(x: float, y: float, text: str, *, size: int, weight: str = "normal", anchor: str = "start") -> str:
    return (
        f"<text x='{x:.1f}' y='{y}' font-size='{size}' font-weight='{weight}' text-anchor='{anchor}' "
        f"fill='#222222' {_FONT}>{escape(text)}</text>"
    )
