"""The report as Markdown: ratios first, then what they are made of."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from tests.benchmarks.cells import HELD_SECONDS
from tests.benchmarks.native import Times
from tests.benchmarks.results import CellResult, Report, digits

_KIB = 1000
"""Memory is told in MB and kB of 1000, as the gates are."""
WORKERS = "workers"
KEYS = "keys"
TWO_WORKERS = "ours, 2 workers"


def markdown(report: Report) -> str:
    """The whole report."""
    parts = [
        "# What a frame costs",
        _introduction(report),
        "## CPU of the server",
        _costs(report),
        "## Delay of a delta and first frame",
        "From the write at the upstream to the arrival at the client; p50 / p99 in ms, medians of the rounds.\n",
        _delays(report),
        *_held(report),
        *_workers(report),
        *_keys(report),
        *_memory(report),
        *_stalls(report),
        *_start(report),
        "## The benchmark itself",
        _instruments(report),
    ]
    return "\n".join(parts) + "\n"


def _introduction(report: Report) -> str:
    return (
        f"\nMade by `python -m tests.benchmarks` at {report.made_at} with Python {report.python} on {report.cores} "
        f"cores; state in {report.store}, client keys and usage on. One worker on one core, upstream and clients on "
        "another, plain HTTP. *plain* is Sanic, stock httpx, `aiter_lines` and `json`, frozen (`plain.py`); *nginx* "
        "passes on and translates nothing. A frame is a delta that was delivered. Ratios are medians of what each "
        "interleaved round says; absolute figures are this machine's.\n"
    )


def _costs(report: Report) -> str:
    others = [name for name in ("nginx", "plain", "before") if any(name in cell.targets for cell in report.cells)]
    head = ["load", "us per", *others, "ours", *(f"ours / {name}" for name in others), "rounds refused"]
    return _table(head, (_cost_row(cell, others) for cell in report.cells if cell.name not in (WORKERS, KEYS)))


def _cost_row(cell: CellResult, others: Sequence[str]) -> list[str]:
    costs = [_micro(cell.cpu(name)) for name in [*others, "ours"]]
    remark = f"{cell.refused}" + ("" if cell.steady else ", **not steady**")
    return [cell.title, cell.unit, *costs, *(_ratio(cell, name) for name in others), remark]


def _ratio(cell: CellResult, to: str) -> str:
    ratio, gate = cell.ratio("ours", to), cell.gates.get(to)
    if ratio is None:
        return ""
    return f"**{ratio:.3g}**" + ("" if gate is None else f" (gate {gate:g}, {'met' if ratio <= gate else 'missed'})")


def _delays(report: Report) -> str:
    rows = []
    for cell in report.cells:
        for target in cell.targets:
            runs = [sample.run for sample in cell.samples(target)]
            delay = _times([run.delay for run in runs])
            first = _times([run.first_frame for run in runs])
            rows.append([cell.title, target, delay, first, _times([run.latency for run in runs])])
    return _table(["load", "server", "delay", "first frame", "whole answer"], rows)


def _held(report: Report) -> list[str]:
    if not report.held:
        return []
    plain = statistics.median(report.held.get("plain", [0]))
    rows = []
    for name, levels in report.held.items():
        median = statistics.median(levels)
        share = f"{median / plain:.2g}" if plain else ""
        rows.append([name, f"{median:g}", ", ".join(map(str, levels)), share])
    limit = f"p99 of the delay below {HELD_SECONDS * 1000:.0f} ms"
    return [
        "## Streams held",
        f"\nAt 50 deltas a second each, {limit}; one core. Gate: 3 times the plain build.\n",
        _table(["server", "streams", "each round", "/ plain"], rows),
    ]


def _workers(report: Report) -> list[str]:
    found = next((cell for cell in report.cells if cell.name == WORKERS), None)
    if found is None or (ratio := found.speed_ratio(TWO_WORKERS, "ours")) is None:
        return []
    speeds = [
        f"{name}: {statistics.median(one.requests_per_second for one in found.samples(name)):.0f} requests a second"
        for name in found.targets
    ]
    remark = "gate 1.6, where two cores are free; here upstream and clients need their part of the same cores"
    return ["## Two workers", f"\n{'; '.join(speeds)}; **{ratio:.2f}** times ({remark}).\n"]


def _keys(report: Report) -> list[str]:
    found = next((cell for cell in report.cells if cell.name == KEYS), None)
    if found is None:
        return []
    first, *others = found.targets
    costs = [statistics.median(1e6 * (one[name].cpu - one[first].cpu) for one in found.rounds) for name in others]
    more = "; ".join(f"*{name}* {cost:.0f} us" for name, cost in zip(others, costs, strict=True))
    gate = "Gate for keys with limits: 400 us."
    return ["## Client keys", f"\nCPU for each request, more than without a key: {more}. {gate}\n"]


def _memory(report: Report) -> list[str]:
    rows = [
        [
            name,
            f"{one.idle / _KIB**2:.1f}",
            f"{one.own / _KIB**2:.1f}",
            f"{one.warm / _KIB**2:.1f}",
            f"{one.waiting / _KIB:.1f}",
            f"{one.active / _KIB:.1f}",
        ]
        for name, one in report.memory.items()
    ]
    head = ["server", "idle worker, MB", "of it PSS", "after some requests, MB", "waiting stream, kB", "active, kB"]
    gates = "\nGates: an idle worker 60 MB, a waiting stream 45 kB, an active one 60 kB.\n"
    return ["## Memory", gates, _table(head, rows)] if rows else []


def _stalls(report: Report) -> list[str]:
    rows = [
        [name, f"{statistics.median(values) * 1000:.3g}", ", ".join(f"{value * 1000:.3g}" for value in values)]
        for name, values in report.stalls.items()
    ]
    text = "\nThe longest delay of a delta of 20 other streams of the same worker. Gate: 50 ms at 20 MB.\n"
    return ["## Large requests", text, _table(["request", "ms", "each round"], rows)] if rows else []


def _start(report: Report) -> list[str]:
    if not report.start_cpu:
        return []
    seconds = statistics.median(report.start_cpu)
    return ["## Start", f"\n`gptmock info --offline`: {seconds:.2f} s of CPU. Gate: 0.6 s.\n"]


def _instruments(report: Report) -> str:
    rows = [
        [
            cell.title,
            target,
            _micro(_median(sample.upstream_cpu for sample in cell.samples(target))),
            _micro(_median(sample.load_cpu for sample in cell.samples(target))),
        ]
        for cell in report.cells
        for target in cell.targets
    ]
    return "\nCPU of the upstream and of the load generator, us for each unit, on the other core.\n\n" + _table(
        ["load", "server", "upstream", "load generator"], rows
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _micro(seconds: float | None) -> str:
    return "" if seconds is None else digits(seconds * 1e6)


def _times(times: Sequence[Times | None]) -> str:
    known = [one for one in times if one is not None]
    if not known:
        return ""
    return f"{_milli(known, lambda one: one.p50)} / {_milli(known, lambda one: one.p99)}"


def _milli(times: Sequence[Times], which: Callable[[Times], float]) -> str:
    return digits(statistics.median(which(one) for one in times) * 1000)


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return statistics.median(known) if known else None
