"""The charts of the page, drawn by matplotlib as SVG that takes its colours and its font from the page.

See: https://matplotlib.org/stable/users/explain/figure/backends.html
"""

import io
import re
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from moonshot_async.bulk.report.shapes import Report
from moonshot_async.bulk.report.words import duration, short
from moonshot_async.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Inches; a point is a unit of the picture.
_WIDTH, _HEIGHT = 7.6, 2.7
# Where the axes lie in the picture, as shares: the script of the page finds moments by them.
LEFT, RIGHT, BOTTOM, TOP = 0.085, 0.985, 0.125, 0.95
# Colours that stand for those of the page, which differ by day and night.
_COLOURS: Final = {
    **{name: f"#0a0b{place:02x}" for place, name in enumerate(("ink", "faint", "line", "limit"))},
    **{f"c{place}": f"#0a0c{place:02x}" for place in range(8)},
}
_STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "moonshot_async",
    "font.family": "sans-serif",
    "font.size": 9.5,
    # Names are shown as they are.
    "text.parse_math": False,
    "path.simplify": True,
}
_ONE_AT_A_TIME: Final = threading.Lock()
_RESTARTS: Final = 30
# The longest gap that a line bridges, as a share of all the time; and from how many times the highest value on a limit
# is told, but not shown: it would press the rest to the ground.
_GAP: Final = 0.1
_FAR: Final = 12
# Steps of seconds between two marks below a chart.
_STEPS: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


class Series(msgspec.Struct):
    """What is shown, a number for each point; None leaves a gap.

    Attributes:
        colour: "c0" to "c7".
        tell: makes text of a number.
    """

    name: str
    colour: str
    values: Sequence[float | None]
    tell: Callable[[float], str] = short


class Chart(msgspec.Struct):
    """One picture.

    Attributes:
        kind: "area" (filled below its line), "lines", "bars" or "stack" (each upon the other).
        limits: a number for each point that is not to be passed; None where nobody told.
    """

    kind: str
    series: list[Series]
    limits: Sequence[float | None] = ()
    tell: Callable[[float], str] = short
    logarithmic: bool = False


def draw(chart: Chart, report: Report, name: str) -> str:
    """Draw a chart over the time of a report, as an SVG element.

    Args:
        name: stands before all ids in it, so that pictures on one page do not meet.

    Raises:
        ConfigurationError: there is no matplotlib.
    """
    try:
        from matplotlib import rc_context, rcdefaults, rcParams
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigurationError(
            f"the page of a report needs matplotlib ({error}): pip install 'moonshot-async[report]'"
        ) from None

    written = io.StringIO()
    # What a program has set for pictures of its own is not for this one; its settings are of the whole process.
    with _ONE_AT_A_TIME, rc_context():
        rcdefaults()
        rcParams.update(_STYLE)
        figure = Figure(figsize=(_WIDTH, _HEIGHT))
        axes = figure.add_axes((LEFT, BOTTOM, RIGHT - LEFT, TOP - BOTTOM))
        _frame(axes, chart, report)
        _KINDS[chart.kind](axes, chart, report)
        _finish(axes, chart, report)
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    return _inline(written.getvalue(), name)


def _inline(svg: str, name: str) -> str:
    """As part of a page: without the head of a file, with colours and ids of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
    svg = re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', svg, count=1)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'font: ([\d.]+px)[^;"]*', r"font-size: \1", svg)
    # Seven digits of a unit that is a third of a millimetre.
    svg = re.sub(r"(\d+\.\d\d)\d+", r"\1", svg)
    for colour, code in _COLOURS.items():
        svg = svg.replace(code, f"var(--{colour})")
    return svg


def _edges(report: Report) -> list[float]:
    last = report.timeline[-1]
    return [*(point.at for point in report.timeline), last.at + last.seconds]


def _frame(axes: "Axes", chart: Chart, report: Report) -> None:
    """The ground of a chart: time across, and where the run was started again."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

    span = _edges(report)[-1]
    step: float = next((step for step in _STEPS if span / step <= 9), -(-span // (9 * 86_400)) * 86_400)
    axes.set_xlim(0, span)
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: duration(at) if at else "0"))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: chart.tell(value).removesuffix(".00") if value else "0")
    )
    if chart.kind == "bars":
        # There are no halves of what is counted.
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.grid(axis="y", color=_COLOURS["faint"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=_COLOURS["ink"], pad=5)
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_COLOURS["line"])
    place = span
    for start in reversed(report.starts[1:][-_RESTARTS:]):
        place -= start.ended - start.began
        axes.axvline(place, color=_COLOURS["line"], linewidth=1, linestyle=(0, (1.5, 2.5)))


def _finish(axes: "Axes", chart: Chart, report: Report) -> None:
    """The limit, and room above all."""
    if chart.logarithmic:
        return
    limits = [limit for limit in chart.limits if limit is not None]
    highest = axes.get_ylim()[1] / 1.05
    words: dict[str, Any] = {"ha": "right", "color": _COLOURS["limit"], "fontweight": "bold"}
    if limits and max(limits) > _FAR * highest:
        axes.annotate(f"limit {chart.tell(limits[-1])}, far above", (1, 0.94), xycoords="axes fraction", **words)
        limits = []
    elif limits:
        gaps = [float("nan") if limit is None else limit for limit in chart.limits]
        dashes: dict[str, Any] = {"color": _COLOURS["limit"], "linewidth": 1.6, "linestyle": (0, (5, 3)), "zorder": 4}
        axes.stairs(gaps, _edges(report), baseline=None, **dashes)
        axes.annotate(
            f"limit {chart.tell(limits[-1])}",
            (1, limits[-1]),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 4),
            textcoords="offset points",
            **words,
        )
    top = max([highest, *limits])
    axes.set_ylim(0, top * 1.16 or 1)


def _area(axes: "Axes", chart: Chart, report: Report) -> None:
    edges = _edges(report)
    for series in chart.series:
        colour = _COLOURS[series.colour]
        values = [value or 0.0 for value in series.values]
        axes.stairs(values, edges, fill=True, color=colour, alpha=0.22, linewidth=0)
        axes.stairs(values, edges, color=colour, linewidth=1.7, baseline=None)


def _lines(axes: "Axes", chart: Chart, report: Report) -> None:
    widest = _edges(report)[-1] * _GAP
    for series in chart.series:
        known = [
            (point.at + point.seconds / 2, value)
            for point, value in zip(report.timeline, series.values, strict=True)
            if value is not None
        ]
        # A short gap between two bursts is bridged, a long one is not.
        shown: list[tuple[float, float]] = []
        for at, value in known:
            if shown and at - shown[-1][0] > widest:
                shown.append((at, float("nan")))
            shown.append((at, value))
        # A lone point makes no line.
        mark: dict[str, Any] = {"marker": "o", "markersize": 3.0} if len(known) < 40 else {}
        axes.plot(*zip(*shown, strict=True), color=_COLOURS[series.colour], linewidth=1.8, **mark)
    if chart.logarithmic:
        axes.set_yscale("log")
        axes.minorticks_off()


def _stack(axes: "Axes", chart: Chart, report: Report) -> None:
    edges = _edges(report)
    bottom = [0.0] * len(report.timeline)
    for series in chart.series:
        top = [below + (value or 0.0) for below, value in zip(bottom, series.values, strict=True)]
        axes.stairs(top, edges, baseline=bottom, fill=True, color=_COLOURS[series.colour], linewidth=0)
        bottom = top


def _bars(axes: "Axes", chart: Chart, report: Report) -> None:
    places = [point.at for point in report.timeline]
    widths = [point.seconds * 0.86 for point in report.timeline]
    bottom = [0.0] * len(places)
    for series in chart.series:
        values = [value or 0.0 for value in series.values]
        # Most stretches have none, and each bar costs as much as a line. A series that has none at all is not made.
        bars = [bar for bar in zip(places, values, widths, bottom, strict=True) if bar[1]]
        axes.bar(*zip(*bars, strict=True), align="edge", color=_COLOURS[series.colour], linewidth=0)
        bottom = [below + value for below, value in zip(bottom, values, strict=True)]


_KINDS: Final[dict[str, Callable[["Axes", Chart, Report], None]]] = {
    "area": _area,
    "lines": _lines,
    "stack": _stack,
    "bars": _bars,
}
