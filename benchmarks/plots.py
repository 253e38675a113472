"""Plots of a run, as SVG: the cost of a chunk and memory by open streams, and throughput by calls in flight."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.clients.registry import CLIENTS
from benchmarks.results import Results


@dataclass(frozen=True)
class Plot:
    """One picture.

    Attributes:
        name: of the file, without its end.
        curve: of the scenarios whose points it shows.
        figure: what is shown of them.
        scale: what the figure is multiplied by.
    """

    name: str
    curve: str
    figure: str
    title: str
    across: str
    up: str
    scale: float = 1.0


PLOTS = (
    Plot("chunk-cost-paced", "paced", "cpu_us", "A chunk of a paced stream", "streams open", "CPU µs a chunk"),
    Plot("chunk-cost-burst", "burst", "cpu_us", "A chunk of a stream in bursts", "streams open", "CPU µs a chunk"),
    Plot("memory", "memory", "bytes_each", "Memory of an open stream", "streams open", "KiB a stream", 1 / 1024),
    Plot("throughput", "unary", "calls_per_s", "Calls a second, one process", "calls in flight", "calls a second"),
)


def draw(results: Results, directory: Path) -> list[Path]:
    """Write the plots that the results have points for; returns their paths."""
    # Drawn without a display, and the same bytes for the same figures.
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "moonshot_async"
    directory.mkdir(parents=True, exist_ok=True)
    drawn = []
    for plot in PLOTS:
        if curves := curves_of(results, plot):
            path = directory / f"{plot.name}.svg"
            _draw(plot, curves, results, path)
            drawn.append(path)
    return drawn


def curves_of(results: Results, plot: Plot) -> dict[str, list[tuple[int, float]]]:
    """By client the points of its curve, what is across first; those with one point are no curves."""
    points: dict[str, list[tuple[int, float]]] = {}
    for table in sorted(results.tables, key=lambda table: table.at):
        if table.curve != plot.curve:
            continue
        for row in table.rows:
            value = row.median(plot.figure)
            if value:
                points.setdefault(row.client, []).append((table.at, value * plot.scale))
    return {client: curve for client, curve in points.items() if len(curve) > 1}


def _draw(plot: Plot, curves: dict[str, list[tuple[int, float]]], results: Results, path: Path) -> None:
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for client, curve in curves.items():
        ours: dict[str, Any] = {"linewidth": 2.5, "zorder": 3} if client.startswith("ours") else {"linewidth": 1.2}
        axes.plot(*zip(*curve, strict=True), marker="o", markersize=4, label=CLIENTS[client].label, **ours)
    ticks = sorted({at for curve in curves.values() for at, _ in curve})
    axes.set(xscale="log", yscale="log", xlabel=plot.across, ylabel=plot.up, title=plot.title)
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    about = results.about
    figure.text(0.01, -0.03, f"{about['date']}, {about['processor']}, {about['cores']} cores", fontsize=7)
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)
