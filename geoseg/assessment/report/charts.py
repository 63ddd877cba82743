"""Charts of curves: as SVG in the page, with its colours, and as PNG."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from geoseg.assessment.report.reading import TrainingRecord
from geoseg.learning.monitor import PER_IMAGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE: Final = (4.3, 2.75)  # inches
_DPI: Final = 160
_MARKED: Final = 40
"""Up to this many epochs, each is marked by a dot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ink:
    """Colours of a chart."""

    text: str
    quiet: str
    rule: str
    train: str
    val: str
    best: str


PAPER: Final = Ink(
    text="#1d252c", quiet="#5d6a75", rule="#dfe3e6", train="#8796a3", val="#0b6b8a", best="#b4490f"
)
_SENTINELS: Final = Ink(
    text="#010101", quiet="#010102", rule="#010103", train="#010104", val="#010105", best="#010106"
)
"""Placeholders for the page's own colours, so that one drawing suits light and dark pages."""
_VARIABLES: Final = {getattr(_SENTINELS, name): f"var(--{name})" for name in Ink.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A curve: its name, colour (a field of `Ink`), and positions and values of its points."""

    name: str
    ink: str
    at: Sequence[float]
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Curves in one pair of axes.

    Parameters
    ----------
    title : str
        Title of the chart.
    lines : tuple of Line
        The curves.
    best, stop : float, optional
        Marked positions: the best or chosen one, and where the training stopped early.
    words : (str, str)
        Names of the marks.
    across : str
        Label of the horizontal axis.
    log : bool
        Whether the horizontal axis is logarithmic.
    whole : bool
        Whether only whole numbers are labelled on it, as of epochs.
    """

    title: str
    lines: tuple[Line, ...]
    best: float | None = None
    stop: float | None = None
    words: tuple[str, str] = ("best", "stopped")
    across: str = "epoch"
    log: bool = False
    whole: bool = True

    def draw(self, axes: Axes, ink: Ink, *, named: bool) -> None:
        """Draw into empty axes; `named`: whether the curves are labelled."""
        for line in self.lines:
            values = [float("nan") if value is None else value for value in line.values]
            marker = "o" if len(values) <= _MARKED and not self.log else ""
            axes.plot(
                line.at, values, color=getattr(ink, line.ink), linewidth=1.6, marker=marker, markersize=3,
                label=line.name, solid_capstyle="round",
            )  # fmt: skip
        if self.log:
            axes.set_xscale("log")
        elif self.whole:
            _whole_numbers(axes)
        self._mark(axes, ink)
        axes.set_xlabel(self.across, color=ink.quiet)
        axes.tick_params(which="both", colors=ink.quiet, length=0)
        axes.grid(axis="y", color=ink.rule, linewidth=0.7)
        axes.set_axisbelow(True)
        for name, side in axes.spines.items():
            side.set(visible=name == "bottom", color=ink.rule)
        if named and len(self.lines) > 1:
            axes.legend(
                frameon=False, labelcolor=ink.text, handlelength=1.4, ncols=2, borderpad=0,
                loc="lower right", bbox_to_anchor=(1, 1.1), borderaxespad=0,
            )  # fmt: skip

    def _mark(self, axes: Axes, ink: Ink) -> None:
        """Draw the marked positions as vertical lines with labels."""
        places = [
            (self.best, self.words[0], ink.best, "-"),
            (self.stop, self.words[1], ink.quiet, (0, (3, 2))),
        ]
        low, high = axes.get_xlim()
        for place, word, color, dashes in places:
            if place is None:
                continue
            axes.axvline(place, color=color, linewidth=1.1, linestyle=dashes, zorder=0.5)
            share = 0.0 if self.log else (place - low) / (high - low)
            side = "left" if share < 0.12 else "right" if share > 0.88 else "center"
            if self.best is not None and self.stop is not None and place is self.best:
                side = "right" if share > 0.2 else side
            words = f"{word} {place:.2g}" if self.log else f"{word} {place:g}"
            top = axes.get_xaxis_transform()
            axes.text(place, 1.02, words, color=color, transform=top, ha=side, va="bottom", parse_math=False)

    def svg(self) -> str:
        """Return the chart as an SVG element; equal charts give equal text."""
        import matplotlib as mpl

        text = io.StringIO()
        with mpl.rc_context(_style() | {"svg.fonttype": "none", "svg.hashsalt": self.title}):
            figure = _figure(_SIZE)
            axes = figure.add_subplot()
            self.draw(axes, _SENTINELS, named=False)
            figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
        return _element(text.getvalue(), self.title)


def charts_of(record: TrainingRecord) -> tuple[Chart, ...]:
    """Return the charts of a training: losses, the monitored score, the learning rate."""
    epochs = [float(line["epoch"]) for line in record.epochs]
    if not epochs:
        return ()
    marks: dict[str, Any] = {"best": None if record.keeps_last else record.kept_epoch, "stop": record.stopped}
    losses = (
        Line(name="training", ink="train", at=epochs, values=[line["loss"] for line in record.epochs]),
        Line(name="validation", ink="val", at=epochs, values=[line["val_loss"] for line in record.epochs]),
    )
    rates = Line(
        name="learning rate", ink="val", at=epochs, values=[line["learning_rate"] for line in record.epochs]
    )
    charts = [Chart(title="Loss", lines=losses, **marks)]
    if record.monitor.name != "loss":
        score = Line(name="validation", ink="val", at=epochs, values=record.monitored)
        charts.append(Chart(title=score_name(record.monitor.name), lines=(score,), **marks))
    return (*charts, Chart(title="Learning rate", lines=(rates,)))


def range_chart(record: TrainingRecord) -> Chart | None:
    """Return the chart of the learning-rate range test, or None."""
    test = record.story.get("range_test")
    if not test or not test["rates"]:
        return None
    line = Line(name="loss", ink="val", at=test["rates"], values=test["losses"])
    return Chart(
        title="Learning-rate range test",
        lines=(line,),
        best=float(record.config["train"]["learning_rate"]),
        words=("chosen", ""),
        across="learning rate",
        log=True,
    )


def score_name(name: str) -> str:
    """Return the display name of a score: ``mean_iou`` is Mean IoU, ``per_image/iou/forest`` IoU of forest, mean
    of images.
    """
    inner = name.removeprefix(f"{PER_IMAGE}/")
    kind, slash, class_name = inner.partition("/")
    words = kind.replace("_", " ").replace("iou", "IoU").replace("dice", "Dice")
    words = words[:1].upper() + words[1:] + (f" of {class_name}" if slash else "")
    return words if inner == name else f"{words}, mean of images"


def curves_png(charts: Sequence[Chart], title: str) -> bytes:
    """Draw charts side by side as a PNG; equal charts give equal bytes."""
    import matplotlib as mpl

    data = io.BytesIO()
    with mpl.rc_context(_style()):
        figure = _figure((_SIZE[0] * len(charts), _SIZE[1] + 0.7))
        figure.set_facecolor("white")
        figure.suptitle(title, x=0.01, ha="left", color=PAPER.text, weight="bold", parse_math=False)
        for axes, chart in zip(figure.subplots(1, len(charts), squeeze=False)[0], charts, strict=True):
            chart.draw(axes, PAPER, named=True)
            axes.set_title(chart.title, loc="left", pad=18, fontsize=9, color=PAPER.text, parse_math=False)
        figure.savefig(data, format="png", dpi=_DPI, metadata={"Software": None})
    return data.getvalue()


def _figure(size: tuple[float, float]) -> Figure:
    # Without pyplot, which would change global state and look for a display.
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def _style() -> Any:
    """Return matplotlib's default settings, independent of the user's own."""
    import matplotlib as mpl

    defaults: Any = mpl.rcParamsDefault
    # Asking for the backend would look for a display.
    settings = {key: value for key, value in defaults.items() if key != "backend"}
    small = dict.fromkeys(("axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 9)
    return {**settings, "font.size": 9.5, **small, "axes.xmargin": 0.03}


def _whole_numbers(axes: Axes) -> None:
    """Label only whole epochs."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, nbins=8))


def _element(text: str, title: str) -> str:
    """Reduce an SVG to what the page needs, with the page's colours and fonts."""
    from html import escape

    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"(/?)>', r"<g\1>", text)
    # Font families come from the page; matplotlib before 3.11 writes size and family in one property.
    text = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font-size: \1", text)
    text = re.sub(r"font-family: [^;\"]+;? ?", "", text)
    for sentinel, variable in _VARIABLES.items():
        text = text.replace(sentinel, variable)
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None, "matplotlib writes one"
    opening = f'<svg class="chart" role="img" aria-label="{escape(title)}" {box[0]} xmlns:xlink="http://www.w3.org/1999/xlink">'
    return re.sub(r"\n\s*", "\n", opening + text[text.index(">") + 1 :]).strip()
