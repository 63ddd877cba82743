"""Draw a preview: scene, reference and class map side by side above the legend."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from geoseg.errors import OutputError
from geoseg.grid.ground import pixel_size_m
from geoseg.grid.legend import Legend
from geoseg.raster.classmap import ClassMap
from geoseg.storage.output import claim

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI: Final = 144  # one typographic point is two pixels
_PANEL: Final = 720  # px, maximum of the longer edge of a panel
_MARGIN, _GAP, _HEAD, _LEGEND, _FOOT = 36, 20, 124, 96, 44  # px
_LEAST: Final = 1000  # px, minimum width for the text
_INK, _QUIET = "#22262a", "#6b7278"

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Preview:
    """Contents of the preview picture.

    Parameters
    ----------
    colors : (row, col, 3) uint8
        The scene in natural colours.
    class_map : ClassMap
        The class map, on the grid of the scene.
    reference : ClassMap
        The reference, on the same grid.
    held_back : (row, col) bool
        Area whose labels were held back from training; it is outlined.
    legend : Legend
        Classes of both maps.
    title, subtitle, credit : str
        Two lines above the picture and one below it.
    names : (str, str, str)
        Captions of the scene, the reference and the map.
    """

    colors: Image
    class_map: ClassMap
    reference: ClassMap
    held_back: npt.NDArray[np.bool_]
    legend: Legend
    title: str
    subtitle: str
    names: tuple[str, str, str]
    credit: str

    def write(self, path: Path) -> None:
        """Draw the picture into a PNG file, replacing an earlier one.

        Raises
        ------
        OutputError
        """
        with claim(path, overwrite=True) as output:
            finished = output.scratch / path.name
            figure = draw(self)
            try:
                figure.savefig(finished, dpi=_DPI, metadata={"Title": self.title, "Copyright": self.credit})
            except OSError as error:
                raise OutputError(
                    f"{path}: cannot be written ({error.strerror}); make room for it"
                ) from error
            output.commit(finished)


@dataclass(frozen=True, slots=True)
class _Sheet:
    """A figure laid out in pixels from its top left corner."""

    figure: Figure
    width: int
    height: int

    @classmethod
    def of(cls, width: int, height: int) -> _Sheet:
        # Without pyplot, which would change global state and look for a display.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
        FigureCanvasAgg(figure)
        return cls(figure, width, height)

    def axes(self, left: int, top: int, width: int, height: int) -> Axes:
        bottom = self.height - top - height
        w, h = self.width, self.height
        return self.figure.add_axes((left / w, bottom / h, width / w, height / h))

    def text(self, left: int, baseline: int, words: str, points: float, color: str = _QUIET) -> None:
        weight = "bold" if color == _INK else "normal"
        at = left / self.width, 1 - baseline / self.height
        self.figure.text(*at, words, fontsize=points, color=color, weight=weight, va="baseline")

    def image(self, left: int, top: int, name: str, image: Image) -> Axes:
        """Draw an image pixel for pixel, with a caption and a thin border."""
        self.text(left, top - 10, name, 8.5)
        axes = self.axes(left, top, image.shape[1], image.shape[0])
        axes.imshow(image, interpolation="nearest", aspect="auto")
        axes.set(xticks=[], yticks=[])
        for side in axes.spines.values():
            side.set(color=_QUIET, linewidth=0.5)
        return axes


def draw(preview: Preview) -> Figure:
    """Lay out the picture: title, scene, reference and map, legend, credit."""
    painted = [paint(classes, preview.legend) for classes in (preview.reference, preview.class_map)]
    panels = [fitted(image, _PANEL) for image in (preview.colors, *painted)]
    height, width = panels[0].shape[:2]
    sheet = _Sheet.of(max(_LEAST, 2 * _MARGIN + 3 * width + 2 * _GAP), _HEAD + height + _LEGEND + _FOOT)
    sheet.text(_MARGIN, 48, preview.title, 15, _INK)
    sheet.text(_MARGIN, 78, preview.subtitle, 8.5)
    sheet.text(_MARGIN, sheet.height - 22, preview.credit, 6)
    for i, (name, image) in enumerate(zip(preview.names, panels, strict=True)):
        axes = sheet.image(_MARGIN + i * (width + _GAP), _HEAD, name, image)
        _outline(axes, preview.held_back, width / preview.held_back.shape[1])
        if not i:
            _scale_bar(axes, preview.class_map, width / preview.class_map.grid.width)
    _legend(sheet, _HEAD + height, preview)
    return sheet.figure


def paint(class_map: ClassMap, legend: Legend) -> Image:
    """Return a class map in the colours of a legend, (row, col, 3); white where there is no class."""
    image = np.full((*class_map.codes.shape, 3), 255, dtype=np.uint8)
    for c in legend.classes:
        image[class_map.valid & (class_map.codes == c.code)] = c.rgb
    return image


def fitted(image: Image, longest: int) -> Image:
    """Scale an image by a whole factor to at most `longest` px: pixels are repeated, or averaged in squares.

    Rows and columns that do not fill a square are dropped.
    """
    height, width = image.shape[:2]
    times = longest // max(height, width)
    if times:
        return image.repeat(times, axis=0).repeat(times, axis=1)
    edge = -(-max(height, width) // longest)
    rows, cols = max(1, height // edge), max(1, width // edge)
    part = image[: rows * edge, : cols * edge]
    squares = part.reshape(rows, part.shape[0] // rows, cols, part.shape[1] // cols, 3)
    means: Image = squares.mean(axis=(1, 3)).round().astype(np.uint8)
    return means


def round_length(limit: float) -> float:
    """Return the largest of ... 1, 2, 5, 10, 20, 50 ... that is at most `limit`."""
    power = 10.0 ** math.floor(math.log10(limit))
    return next(step * power for step in (5, 2, 1) if step * power <= limit)


def _legend(sheet: _Sheet, top: int, preview: Preview) -> None:
    """Draw swatch, name and share of each class below the panels, in one row."""
    from matplotlib.patches import Rectangle

    classes = preview.legend.classes
    width = sheet.width - 2 * _MARGIN
    axes = sheet.axes(_MARGIN, top, width, _LEGEND)
    axes.set(xlim=(0, width), ylim=(_LEGEND, 0))
    axes.axis("off")
    found = preview.class_map.codes[preview.class_map.valid]
    # The width is divided by the length of the names, so that the gaps are about equal.
    room = np.cumsum([0, *(len(c.name) + 8 for c in classes)])
    for c, start in zip(classes, room / room[-1] * width, strict=False):
        share = np.count_nonzero(found == c.code) / max(1, found.size)
        axes.add_patch(Rectangle((start, 32), 36, 36, facecolor=c.color, edgecolor=_QUIET, linewidth=0.5))
        axes.text(start + 46, 47, c.name, fontsize=9, color=_INK, va="baseline")
        axes.text(start + 46, 68, f"{share:.1%}", fontsize=8, color=_QUIET, va="baseline")


def _outline(axes: Axes, area: npt.NDArray[np.bool_], scale: float) -> None:
    """Draw a white line with a dark edge around the bounding box of an area."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    if not area.any():
        return
    (top, bottom), (left, right) = (np.flatnonzero(area.any(axis=axis))[[0, -1]] * scale for axis in (1, 0))
    at = (left - 0.5, top - 0.5)
    axes.add_patch(
        Rectangle(
            at, right - left + scale, bottom - top + scale, fill=False, edgecolor="white", linewidth=0.9,
            path_effects=[withStroke(linewidth=1.8, foreground="black", alpha=0.6)],
        )
    )  # fmt: skip


def _scale_bar(axes: Axes, class_map: ClassMap, scale: float) -> None:
    """Draw a scale bar of a round length, at most a third of the width; none if the pixel size is unknown."""
    from matplotlib.patheffects import withStroke

    size = pixel_size_m(class_map.grid)
    if size is None:
        return
    height, width = (edge * scale for edge in class_map.grid.shape)
    metres = round_length(width / scale * size / 3)
    words = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
    left, bottom = 0.04 * width, 0.97 * height
    halo = [withStroke(linewidth=2.5, foreground="black", alpha=0.6)]
    xs, ys = [left, left + metres / size * scale], [bottom, bottom]
    axes.plot(xs, ys, color="white", linewidth=2.5, solid_capstyle="butt", path_effects=halo)
    axes.text(left, bottom - 8, words, color="white", fontsize=8, path_effects=halo)
