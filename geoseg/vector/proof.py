"""What is known of the polygons of a layer, measured while they stream by, and kept with them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from geoseg.errors import OutputError
from geoseg.grid.grid import Grid
from geoseg.vector.bands import Band
from geoseg.vector.features import Features
from geoseg.vector.measure import UNITS, measured

COVERAGE = "GEOSEG_COVERAGE"
"""Key of a layer's metadata: JSON, a list with what `Proof.entry` gives for each map whose polygons it holds."""

_KNOWN_BY = (
    "construction: every border is traced, and drawn anew where asked, once for what lies on its two sides; "
    "areas are measured on the polygons as they are written"
)


@dataclass(slots=True, kw_only=True, eq=False)
class Proof:
    """Measures of the polygons of one map, or of one layer of it.

    Law: all polygons of a map together have the planar area of its valid pixels, to the last unit; those of some
    classes have that of their pixels, where they were not redrawn.

    Parameters
    ----------
    grid : Grid
    scene : str or None
        What the map is of.
    about : mapping of str
        What was asked for, in words of JSON.
    exact : bool
        Whether every corner of the polygons is one of pixels.
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

    def rows(self, strips: Iterable[Band]) -> Iterator[Band]:
        """Let the rows of a map pass, all valid pixels of which become polygons, and count these."""
        self._valid = 0
        for strip in strips:
            self._valid += int(np.count_nonzero(strip.valid))
            yield strip
            del strip  # before the next one is read

    def merge(self, regions: int) -> None:
        """Count small regions that went to a neighbour."""
        self._merged += regions

    def watch(self, parts: Iterable[Features]) -> Iterator[Features]:
        """Let the polygons pass and measure them.

        Raises
        ------
        OutputError
            At the end, if they do not cover the pixels that they are of.
        """
        for part in parts:
            area, vertices = measured(part.buffer, part.offset, self.grid.transform)
            self._area += area
            self.vertices += vertices
            self.polygons += len(part)
            self.pixels += int(part.pixels.sum())
            if part.vertices_before is not None:
                self._before = (self._before or 0) + int(part.vertices_before.sum())
            yield part
        wanted = self.pixels if self._valid is None else self._valid
        comparable = (
            self.exact or self._valid is not None
        )  # redrawn lines give to one polygon what another loses
        if self.pixels != wanted or (comparable and self._area != wanted * UNITS):
            raise OutputError(
                f"the polygons have {self.pixels:,} pixels and the area of {self.covered:,}, expected {wanted:,} valid "
                "pixels; numbers of float64 cannot tell neighbouring pixels of this affine apart, give the map another"
            )

    @property
    def covered(self) -> int | float:
        """Planar area of the polygons, in pixels: whole where it is."""
        whole, rest = divmod(self._area, UNITS)
        return whole if not rest else self._area / UNITS

    @property
    def merged(self) -> int:
        """Small regions that went to a neighbour."""
        return self._merged

    def entry(self) -> dict[str, Any]:
        """Everything that is known, in words of JSON."""
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
    """Say to a person what is known of the polygons of a map, in all its layers together.

    Parameters
    ----------
    proofs : sequence of Proof
    distorted : int, optional
        Of a GeoJSON: how many of its polygons are invalid or have another area in longitude and latitude.
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
            f"{distorted:,} of {polygons:,} polygons are invalid or have another area in longitude and latitude, "
            "as GeoJSON has them (near a pole, or of very large pixels); a GeoPackage (.gpkg) keeps the map's own CRS"
        )
    yield (
        f"valid coverage{where}: {total['area_in_pixels']:,} px of area for {total['valid_pixels']:,} valid px; "
        f"{total['vertices']:,} vertices"
        + (f" of {before:,}" if before else "")
        + ("; as written in longitude and latitude, each is valid and has its area" if distorted == 0 else "")
    )
    if merged := sum(proof.merged for proof in proofs):
        yield f"{merged:,} small regions merged"


def coverage_json(entries: Iterable[Mapping[str, Any]]) -> str:
    """Return the text of `COVERAGE`."""
    return json.dumps(list(entries), ensure_ascii=False)


def coverage_entries(text: str | None) -> list[dict[str, Any]]:
    """Read the text of `COVERAGE`; nothing where it is none."""
    try:
        found = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return []
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
