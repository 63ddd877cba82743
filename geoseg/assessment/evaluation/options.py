"""Options of comparing maps with labels, checked before the long work starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from geoseg.assessment.evaluation.reference import ReferenceOptions
from geoseg.assessment.evaluation.rows import LEAST_ROWS
from geoseg.errors import REPLACE, Message, OptionError, OutputExistsError
from geoseg.grid.grid import Grid
from geoseg.grid.ground import pixel_size_m
from geoseg.polygons.amounts import Amount, parse_min_area
from geoseg.storage.output import check_output
from geoseg.vectorfiles.geopackage import check_geopackage_name

_SMALLEST_BLOCK: Final = 64
_BLOCKS_ACROSS: Final = 16
"""By default the longer side of a map has this many blocks, so that most have labels and some hundred are drawn."""
_MOST_BLOCKS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """How maps are compared with labels, as `evaluate` takes it; checked."""

    block_size: str | None
    groups: bool
    boundary_distance: int
    labels: ReferenceOptions

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 1 <= self.boundary_distance <= LEAST_ROWS:
            raise OptionError(f"boundary_distance is {self.boundary_distance}, expected 1 to {LEAST_ROWS} px")
        if self.groups and self.block_size is not None:
            raise OptionError(
                "intervals are drawn from blocks or from maps",
                Message("pass {block_size} or {groups}, not both"),
            )
        if self.block_size is not None:
            _block_amount(self.block_size)

    def edge(self, grid: Grid) -> int:
        """Return the edge of the blocks of a map, px.

        Raises
        ------
        OptionError
            If it is in metres and the map does not lie on the ground, or if there would be too many blocks.
        """
        longer = max(grid.shape)
        if self.block_size is None:
            return max(_SMALLEST_BLOCK, -(-longer // _BLOCKS_ACROSS))
        amount = _block_amount(self.block_size)
        edge = amount.amount
        if amount.unit == "m":
            metres = pixel_size_m(grid)
            if metres is None:
                raise OptionError(
                    f"block_size is {self.block_size}, and the map has no CRS that says how large its pixels are; "
                    "give it in px"
                )
            edge /= metres
        pixels = max(1, round(edge))
        rows, cols = (-(-length // pixels) for length in grid.shape)
        if rows * cols > _MOST_BLOCKS:
            raise OptionError(
                f"block_size is {self.block_size}, which cuts the map into {rows * cols:,} blocks, "
                f"expected at most {_MOST_BLOCKS:,}; make it larger"
            )
        return pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class PolygonsFile:
    """A GeoPackage of pixels that differ, checked before the long work starts.

    Parameters
    ----------
    path : Path
        The GeoPackage.
    min_area : str or None
        Smallest area of a polygon, as for `geoseg.vectorize`: smaller ones go to their neighbours, which may be ground
        that does not differ.
    overwrite : bool
        Whether the file may be replaced.
    """

    path: Path
    min_area: str | None
    overwrite: bool

    def __post_init__(self) -> None:
        """Refuse a name that cannot be written, a file that exists, and what is no area."""
        check_geopackage_name(self.path)
        check_new(self.path, overwrite=self.overwrite)
        if self.min_area is not None:
            parse_min_area(self.min_area)


def page_path(path: Path | None, *, overwrite: bool) -> Path | None:
    """Return the path of a page to write, after refusing a name that is not HTML and a file that exists."""
    if path is not None:
        if path.suffix.lower() not in (".html", ".htm"):
            raise OptionError(f"{path}: a page is HTML, expected a name that ends in .html")
        check_new(path, overwrite=overwrite)
    return path


def check_new(path: Path, *, overwrite: bool) -> None:
    """Refuse a path that cannot become an output, or a file that may not be replaced."""
    check_output(path)
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path}: already exists", REPLACE)


def _block_amount(text: str) -> Amount:
    amount = Amount.parse(text, ("px", "m"), what="block_size", example="128px or 500m")
    if amount.amount <= 0:
        raise OptionError(f"block_size is {text}, expected more than 0")
    return amount
