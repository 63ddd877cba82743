"""Measurements that prove that polygons are a coverage, taken while they are written and stored with them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from affine import Affine

from geoseg.errors import OutputError, plural
from geoseg.grid.grid import Grid
from geoseg.polygons.features import Features
from geoseg.polygons.measure import UNITS, measure_wkb
from geoseg.polygons.strips import MapRows

COVERAGE = "GEOSEG_COVERAGE"
"""Key of a layer's metadata: a JSON list with `Proof.entry` of each map whose polygons the layer contains."""

_KNOWN_BY = (
    "construction: every border is traced, and drawn anew where asked, once for what lies on its two sides; "
    "areas are measured on the polygons as they are written"
)


@dataclass(slots=True, kw_only=True, eq=False)
class Proof:
    """Measurements of the polygons of one map, or of one layer of it.

    Law: all polygons of a map together have exactly the planar area of its valid pixels; those of some classes have
    that of their pixels, unless boundaries were redrawn.

    Parameters
    ----------
    grid : Grid
        Grid of the map.
    scene : str or None
        Name of the scene.
    about : mapping of str
        Options of the vectorization, as JSON values.
    exact : bool
        Whether every vertex of the polygons is a pixel corner.
    polygons, vertices, pixels : int
        Counts so far.
    """

    grid: Grid
    scene: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    exact: bool = True
    polygons: int = 0
    vertices: int = 0
    pixels: int = 0
    _area: int = 0
    _before: int | None = None
    _valid: int | None = None
    _merged: int = 0

    def rows(self, strips: Iterable[MapRows]) -> Iterator[MapRows]:
        """Yield the rows of a map unchanged while counting the valid pixels, all of which become polygons."""
        self._valid = 0
        for strip in strips:
            self._valid += int(np.count_nonzero(strip.valid))
            yield strip
            del strip  # before the next one is read

    def merge(self, regions: int) -> None:
        """Count small regions that were merged into a neighbour."""
        self._merged += regions

    def watch(self, parts: Iterable[Features]) -> Iterator[Features]:
        """Yield the polygons unchanged while measuring them.

        Raises
        ------
        OutputError
            At the end, if the polygons do not have the area of their pixels.
        """
        for part in parts:
            area, vertices = measure_wkb(part.buffer, part.offset, self.grid.transform)
            self._area += area
            self.vertices += vertices
            self.polygons += len(part)
            self.pixels += int(part.pixels.sum())
            if part.vertices_before is not None:
                self._before = (self._before or 0) + int(part.vertices_before.sum())
            yield part
        wanted = self.pixels if self._valid is None else self._valid
        comparable = self.exact or self._valid is not None  # redrawing moves area from one polygon to another
        if self.pixels != wanted or (comparable and self._area != wanted * UNITS):
            raise OutputError(
                f"the polygons have {plural(self.pixels, 'pixel')} and the area of {self.covered:,}, expected "
                f"{wanted:,} valid "
                "pixels; numbers of float64 cannot tell neighbouring pixels of this affine apart, give the map another"
            )

    @property
    def covered(self) -> int | float:
        """Planar area of the polygons in pixels, as an integer if it is one."""
        whole, rest = divmod(self._area, UNITS)
        return whole if not rest else self._area / UNITS

    @property
    def merged(self) -> int:
        """Number of small regions merged into a neighbour."""
        return self._merged

    def entry(self) -> dict[str, Any]:
        """Return all measurements as JSON values."""
        grid = self.grid
        simplified = {} if self._before is None else {"vertices_before": self._before}
        return {
            "scene": self.scene,
            "coverage": "valid",
            "known_by": _KNOWN_BY,
            "polygons": self.polygons,
            **simplified,
            "vertices": self.vertices,
            "valid_pixels": self.pixels if self._valid is None else self._valid,
            "area_in_pixels": self.covered,
            "pixel_area": grid.pixel_area,
            "merged_regions": self._merged,
            "tolerance": 0,
            "smooth": False,
            "min_area": None,
            "classes": None,
            **self.about,
            "grid": {
                "height": grid.height,
                "width": grid.width,
                "transform": [float(n) for n in grid.transform[:6]],
            },
        }


def proof_lines(proofs: Sequence[Proof], distorted: int | None = None) -> Iterator[str]:
    """Yield lines for the terminal about the polygons of a map, over all its layers.

    Parameters
    ----------
    proofs : sequence of Proof
        Measurements of the layers.
    distorted : int, optional
        For GeoJSON: number of polygons that are invalid or have another area in longitude and latitude.
    """
    known = [proof.entry() for proof in proofs]
    if not known:
        return
    total = {
        key: sum(each.get(key, 0) for each in known) for key in ("area_in_pixels", "valid_pixels", "vertices")
    }
    before = sum(each.get("vertices_before", 0) for each in known)
    where = ""
    if distorted:
        where = " in the map's own CRS"
        polygons = sum(proof.polygons for proof in proofs)
        yield (
            f"{distorted:,} of {plural(polygons, 'polygon')} invalid or of another area in longitude and latitude, "
            "as GeoJSON has them (near a pole, or of very large pixels); a GeoPackage (.gpkg) keeps the map's own CRS"
        )
    yield (
        f"valid coverage{where}: {total['area_in_pixels']:,} px of area for {total['valid_pixels']:,} valid px; "
        f"{total['vertices']:,} vertices"
        + (f" of {before:,}" if before else "")
        + ("; as written in longitude and latitude, each is valid and has its area" if distorted == 0 else "")
    )
    if merged := sum(proof.merged for proof in proofs):
        yield f"{plural(merged, 'small region')} merged"


def coverage_json(entries: Iterable[Mapping[str, Any]]) -> str:
    """Write the metadata text of `COVERAGE`."""
    return json.dumps(list(entries), ensure_ascii=False)


def coverage_entries(text: str | None) -> list[dict[str, Any]]:
    """Read the metadata text of `COVERAGE`; return an empty list if it is missing or damaged."""
    try:
        found = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return []
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def stated_grid(words: object, crs: str | None) -> Grid | None:
    """Return the grid that an entry of `COVERAGE` states; None if it is not valid.

    Parameters
    ----------
    words : object
        What stands under ``grid`` in an entry, as anybody may have changed it.
    crs : str or None
        CRS of the layer, which entries do not repeat.
    """
    try:
        height, width = (int(words[edge]) for edge in ("height", "width"))  # type: ignore[index]
        a, b, c, d, e, f = (float(number) for number in words["transform"])  # type: ignore[index]
        grid = Grid(height=height, width=width, transform=Affine(a, b, c, d, e, f), crs=crs)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return (
        grid if min(height, width) >= 1 and grid.pixel_area and all(map(math.isfinite, grid.bounds)) else None
    )
