"""The products of a map: polygons, a mosaic of class maps for each zone, and a table of areas."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.grid.window import Window
from geoseg.mapping.assembly import Told, island_polygons, islands_of
from geoseg.mapping.listing import ListedScene
from geoseg.mapping.parts import CellAbout
from geoseg.mapping.plan import MapPlan, whole_grid
from geoseg.mapping.task import CellTask
from geoseg.polygons.features import Features
from geoseg.polygons.origins import Origin
from geoseg.polygons.stream import Wanted, nothing_of
from geoseg.raster.mosaic_file import mosaic_vrt
from geoseg.vectorfiles.arrow_writer import Layer
from geoseg.vectorfiles.formats import write_polygons


@dataclass(frozen=True, slots=True, kw_only=True)
class Polygons:
    """The polygons of a map, from its finished cells.

    Parameters
    ----------
    plan : MapPlan
        Its cells.
    tasks : tuple of CellTask
        The cells that have pixels, in the order of the plan.
    scenes : tuple of ListedScene
        Scenes of the list.
    legend : Legend
        Classes.
    metadata : dict of str to str
        Metadata of the layer.
    workers : int
        Threads.
    """

    plan: MapPlan
    tasks: tuple[CellTask, ...]
    scenes: tuple[ListedScene, ...]
    legend: Legend
    metadata: dict[str, str]
    workers: int = 1

    def write(self, path: Path, told: Told | None = None) -> dict[int, int]:
        """Write them in the format of the name; return how many there are of each class."""
        counts: dict[int, int] = {}

        def counted() -> Iterator[Features]:
            for part in self.parts(told):
                for code in part.class_code.tolist():
                    counts[code] = counts.get(code, 0) + 1
                yield part

        layer = Layer(name="landcover", crs=self.plan.crs, legend=lambda: self.legend, metadata=self.metadata)
        write_polygons(path, [(layer, counted())])
        return counts

    def parts(self, told: Told | None = None) -> Iterator[Features]:
        """Yield the polygons, zone by zone; those at borders of zones come last."""
        zones = [self._of_zone(zone, told) for zone in range(len(self.plan.zones))]
        if self.plan.territory is None:
            yield from zones[0][1]
            return
        from geoseg.mapping.borders import ZonePolygons, one_coverage

        both = [ZonePolygons(grid=grid, parts=parts) for grid, parts in zones]
        yield from one_coverage(both, self.plan.territory)

    def _of_zone(self, zone: int, told: Told | None) -> tuple[Grid, Iterator[Features]]:
        """Return a grid on the lattice of a zone, and its polygons."""
        tasks = [task for task in self.tasks if task.cell.zone == zone]
        lattice = self.plan.zones[zone].lattice
        windows = [task.cell.window for task in tasks] or [Window(row=0, col=0, height=1, width=1)]
        _, grid = whole_grid(lattice, windows)
        origins = tuple(Origin(scene.name, scene.date) for scene in self.scenes)
        islands = islands_of(tasks, lattice, self.plan.edge)

        def parts() -> Iterator[Features]:
            for island in islands:
                yield from island_polygons(island, origins, self.legend, self.workers, told)
            if not islands:
                yield nothing_of(Wanted(grid=grid, legend=self.legend, confidence=True, origins=origins))

        return grid, parts()


def mosaics(plan: MapPlan, tasks: Sequence[CellTask], legend: Legend, folder: Path) -> dict[str, str]:
    """Return the text of the VRT of each zone that has pixels, by the name of the zone."""
    texts = {}
    for number, zone in enumerate(plan.zones):
        own = [task for task in tasks if task.cell.zone == number]
        if not own:
            continue
        window, grid = whole_grid(zone.lattice, [task.cell.window for task in own])
        parts = [
            (
                task.map.relative_to(folder).as_posix(),
                task.cell.window.shifted(-window.row, -window.col),
            )
            for task in own
        ]
        texts[zone.name] = mosaic_vrt(grid, parts, legend)
    return texts


def area_rows(
    plan: MapPlan, found: Sequence[tuple[CellTask, CellAbout]], legend: Legend
) -> list[dict[str, Any]]:
    """Return pixels and ground area by zone and class, and of all zones together; both add up exactly."""
    pixels: dict[tuple[str, int], int] = {}
    areas: dict[tuple[str, int], list[float]] = {}
    unknown: set[tuple[str, int]] = set()
    for task, about in found:
        for code, (count, area) in about.classes.items():
            for zone in (plan.zones[task.cell.zone].name, "all"):
                key = zone, int(code)
                pixels[key] = pixels.get(key, 0) + count
                if area is None:
                    unknown.add(key)
                else:
                    areas.setdefault(key, []).append(area)
    names = [*(zone.name for zone in plan.zones), "all"]
    return [
        {
            "zone": zone,
            "class_code": each.code,
            "class_name": each.name,
            "pixels": pixels[key],
            "area_m2": None if key in unknown else math.fsum(areas[key]),
        }
        for zone in names
        for each in legend.classes
        if (key := (zone, each.code)) in pixels
    ]


def area_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(
        text, ["zone", "class_code", "class_name", "pixels", "area_m2"], lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(
        {**row, "area_m2": "" if row["area_m2"] is None else f"{row['area_m2']:.3f}"} for row in rows
    )
    return text.getvalue()
