"""One picture of what geoseg does: the scene, its class map and the legend side by side."""

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

_DPI: Final = 144  # a point of type is two picture pixels
_PANEL: Final = 1024  # px, about
_MARGIN, _GAP, _HEAD, _FOOT = 48, 36, 150, 84  # px
_COLUMN, _ROW, _CAPTION = 512, 84, 40  # px: width of the legend, height of a class, height of a caption
_INK, _QUIET, _RULE = "#22262a", "#6b7278", "#f0f1f2"

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Preview:
    """What the picture shows.

    Parameters
    ----------
    colors : (row, col, 3) uint8
        The scene in natural colours.
    class_map : ClassMap
        On the grid of the scene.
    labels : ClassMap
        What the map should be, likewise; drawn small under the legend.
    legend : Legend
        Classes of both.
    title, subtitle, credit : str
        Two lines above the picture and one below it.
    """

    colors: Image
    class_map: ClassMap
    labels: ClassMap
    legend: Legend
    title: str
    subtitle: str
    credit: str

    def write(self, path: Path) -> None:
        """Draw the picture into a PNG file, which may replace an earlier one.

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
    """A figure that is laid out in picture pixels from its top left."""

    figure: Figure
    width: int
    height: int

    @classmethod
    def of(cls, width: int, height: int) -> _Sheet:
        # Figure and canvas without pyplot: nothing global is touched, and no display is looked for.
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

    def image(self, left: int, top: int, shape: tuple[int, int], name: str, image: Image) -> Axes:
        """Draw an image without any interpolation, captioned, with a hairline around it."""
        self.text(left, top - 12, name, 8)
        axes = self.axes(left, top, shape[1], shape[0])
        axes.imshow(image, interpolation="nearest", aspect="auto")
        axes.set(xticks=[], yticks=[])
        for side in axes.spines.values():
            side.set(color=_QUIET, linewidth=0.5)
        return axes


def draw(preview: Preview) -> Figure:
    """Lay out the picture: title, scene and map, legend above the labels, credit."""
    height, width = preview.class_map.grid.shape
    # Whole numbers of picture pixels for each scene pixel, so that all look alike.
    zoom = max(1, _PANEL // max(height, width))
    shape = height * zoom, width * zoom
    small = max(1, _COLUMN // max(height, width))
    inset = height * small, width * small
    classes = _ROW * len(preview.legend.classes)
    column = max(_COLUMN, inset[1])
    body = max(shape[0], classes + _CAPTION + inset[0])
    sheet = _Sheet.of(2 * (_MARGIN + shape[1] + _GAP) + column, _HEAD + body + _FOOT)
    sheet.text(_MARGIN, 62, preview.title, 15, _INK)
    sheet.text(_MARGIN, 98, preview.subtitle, 9)
    sheet.text(_MARGIN, sheet.height - 36, preview.credit, 7.5)
    scene = sheet.image(_MARGIN, _HEAD, shape, "scene", preview.colors)
    _scale_bar(scene, preview.class_map)
    right = _MARGIN + shape[1] + _GAP
    sheet.image(right, _HEAD, shape, "land cover", paint(preview.class_map, preview.legend))
    right += shape[1] + _GAP
    sheet.text(right, _HEAD - 12, "legend, and share of the map", 8)
    _legend(sheet.axes(right, _HEAD, _COLUMN, classes), preview)
    bottom = _HEAD + body - inset[0]
    sheet.image(right, bottom, inset, "labels the model never saw", paint(preview.labels, preview.legend))
    return sheet.figure


def paint(class_map: ClassMap, legend: Legend) -> Image:
    """Class map in the colours of a legend, (row, col, 3); what has no class is white."""
    image = np.full((*class_map.codes.shape, 3), 255, dtype=np.uint8)
    for c in legend.classes:
        image[class_map.valid & (class_map.codes == c.code)] = c.rgb
    return image


def round_length(limit: float) -> float:
    """Return the largest of ... 1, 2, 5, 10, 20, 50 ... that is not above a limit."""
    power = 10.0 ** math.floor(math.log10(limit))
    return next(step * power for step in (5, 2, 1) if step * power <= limit)


def _legend(axes: Axes, preview: Preview) -> None:
    """Swatch, name and share of each class, in picture pixels from the top left."""
    from matplotlib.patches import Rectangle

    axes.set(xlim=(0, _COLUMN), ylim=(_ROW * len(preview.legend.classes), 0))
    axes.axis("off")
    found = preview.class_map.codes[preview.class_map.valid]
    for i, c in enumerate(preview.legend.classes):
        share = np.count_nonzero(found == c.code) / max(1, found.size)
        top = i * _ROW
        axes.add_patch(Rectangle((1, top + 1), 54, 54, facecolor=c.color, edgecolor=_QUIET, linewidth=0.5))
        axes.text(76, top + 27, c.name, fontsize=12, color=_INK, va="baseline")
        axes.text(_COLUMN - 2, top + 27, f"{share:.1%}", fontsize=11, color=_QUIET, va="baseline", ha="right")
        for length, color in ((1.0, _RULE), (share, c.color)):
            axes.add_patch(
                Rectangle((76, top + 44), (_COLUMN - 78) * length, 10, facecolor=color, linewidth=0)
            )


def _scale_bar(axes: Axes, class_map: ClassMap) -> None:
    """Round length of at most a third of the width; none where the ground is unknown."""
    from matplotlib.patheffects import withStroke

    size = pixel_size_m(class_map.grid)
    if size is None:
        return
    height, width = class_map.grid.shape
    metres = round_length(width * size / 3)
    words = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
    left, bottom = 0.04 * width, 0.96 * height
    halo = [withStroke(linewidth=3, foreground="black", alpha=0.6)]
    xs, ys = [left, left + metres / size], [bottom, bottom]
    axes.plot(xs, ys, color="white", linewidth=3.5, solid_capstyle="butt", path_effects=halo)
    axes.text(left, bottom - 0.012 * height, words, color="white", fontsize=10, path_effects=halo)
