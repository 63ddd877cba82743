"""Plan a map from headers alone: its zones, its cells, and the scenes that may have their say in each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from geoseg.errors import Message, OptionError, SceneError, plural
from geoseg.grid.grid import crs_name, same_crs
from geoseg.grid.window import Window
from geoseg.mapping.footprints import near, outline_in
from geoseg.mapping.lattice import Lattice, lattices_of
from geoseg.mapping.listing import ListedScene
from geoseg.mapping.owners import ground_of, owners_around
from geoseg.mapping.plan import Candidate, Cell, MapPlan, Wishes, Zone
from geoseg.mapping.territory import Territory
from geoseg.mapping.touched import spilled_pixels, square_outline, touched_pixels

_MOST_LATTICES: Final = 64
"""More pixel grids than this are drone images, each on its own: their map needs one grid."""


def plan_map(scenes: Sequence[ListedScene], wishes: Wishes, work: Mapping[str, Any]) -> MapPlan:
    """Plan a map of some scenes.

    Parameters
    ----------
    scenes : sequence of ListedScene
        The scenes.
    wishes : Wishes
        What the map shall be.
    work : mapping
        Everything else that pixels depend on (model, options), as plain JSON values.

    Raises
    ------
    OptionError
        If the scenes lie on too many pixel grids for a map without a common one.
    """
    planning = _Planning.of(scenes, wishes, work)
    return MapPlan(
        zones=planning.zones,
        cells=tuple(planning.cells()),
        edge=planning.edge,
        crs=planning.crs,
        territory=planning.territory,
    )


@dataclass(frozen=True, kw_only=True)
class _Planning:
    """The zones of a map, and what its cells are made from."""

    scenes: Sequence[ListedScene]
    wishes: Wishes
    work: str
    zones: tuple[Zone, ...]
    places: Sequence[tuple[int, Window | None]]
    outlines: Sequence[Any]
    edge: int
    crs: str | None
    territory: Territory | None

    @classmethod
    def of(cls, scenes: Sequence[ListedScene], wishes: Wishes, work: Mapping[str, Any]) -> _Planning:
        grids = [scene.grid for scene in scenes]
        target = wishes.target
        places: Sequence[tuple[int, Window | None]]
        if target is not None:
            lattices, places = [target], [(0, target.window_of(grid)) for grid in grids]
        else:
            lattices, places = lattices_of(grids)
        if len(lattices) > _MOST_LATTICES:
            raise OptionError(
                f"the scenes lie on {plural(len(lattices), 'pixel grid')}, each with its own size or place of pixels",
                Message("pass a common {grid}, such as EPSG:32633,0.1"),
            )
        several = len(lattices) > 1
        if several and any(lattice.crs is None for lattice in lattices):
            raise OptionError(
                "the scenes have no CRS and lie on several pixel grids, so nothing tells how they lie to each other",
                Message("pass {assume_crs}, and {grid} with a resolution"),
            )
        crs = _common_crs([lattice.crs for lattice in lattices])
        outlines: Sequence[Any] = []
        if several or target is not None:
            outlines = [_outline(scene, crs) for scene in scenes]
        edge = wishes.edge
        edge_m = edge * lattices[0].pixel
        if wishes.edge_m is not None:
            edge_m = wishes.edge_m
            edge = max(1, round(edge_m / lattices[0].pixel))
        territory = None
        if several:
            territory = ground_of([place[0] for place in places], outlines, lattices, (crs, edge_m))
        return cls(
            scenes=scenes,
            wishes=wishes,
            work=json.dumps(dict(work), sort_keys=True),
            zones=tuple(
                Zone(name=name, lattice=lattice, common=target is not None)
                for name, lattice in zip(_zone_names(lattices), lattices, strict=True)
            ),
            places=places,
            outlines=outlines,
            edge=edge,
            crs=crs,
            territory=territory,
        )

    def cells(self) -> Iterator[Cell]:
        """Yield the cells by zone, row and column."""
        for index, zone in enumerate(self.zones):
            windows = self._windows(index, zone.lattice)
            places: dict[tuple[int, int], list[int]] = {}
            for scene, window in windows.items():
                for row in range(window.row // self.edge, (window.row_stop - 1) // self.edge + 1):
                    for col in range(window.col // self.edge, (window.col_stop - 1) // self.edge + 1):
                        places.setdefault((row, col), []).append(scene)
            found = sorted(places)
            squares = [
                Window(row=row * self.edge, col=col * self.edge, height=self.edge, width=self.edge)
                for row, col in found
            ]
            outlines = [square_outline(zone.lattice, square, self.crs) for square in squares if self.outlines]
            around = near(self.outlines, outlines) if self.outlines else [[] for _ in squares]
            for i, (place, square) in enumerate(zip(found, squares, strict=True)):
                touching = sorted({*around[i], *places[place]}) if self._mixed else places[place]
                cell = self._cell(index, place, square, touching, windows, outlines[i] if outlines else None)
                if cell is not None:
                    yield cell

    @property
    def _mixed(self) -> bool:
        """Whether scenes of other lattices may own pixels."""
        return len(self.zones) > 1 or any(window is None for _, window in self.places)

    def _windows(self, zone: int, lattice: Lattice) -> dict[int, Window]:
        """Return the pixels of a zone that each scene touches: its own ones, and others on the ground that it owns."""
        found = {}
        for scene, (own, window) in enumerate(self.places):
            if own != zone:
                if self.territory is not None:
                    beyond = spilled_pixels(lattice, self.outlines[scene], self.territory, zone)
                    if beyond is not None:
                        found[scene] = beyond
                continue
            place = window if window is not None else touched_pixels(lattice, self.outlines[scene])
            if self.wishes.within is not None:
                inside = place.intersection(self.wishes.within)
                if inside is None:
                    continue
                place = inside
            found[scene] = place
        return found

    def _cell(
        self,
        zone: int,
        place: tuple[int, int],
        square: Window,
        touching: Sequence[int],
        windows: Mapping[int, Window],
        outline: Any,
    ) -> Cell | None:
        territory = None
        if self.territory is not None:
            territory = owners_around(self.territory, outline)
            owners = set(territory.owner.values())
            if zone not in owners:
                return None
            if owners == {zone}:
                territory = None
        candidates = []
        for scene in self._asked(touching):
            own, window = self.places[scene]
            candidates.append(Candidate(scene=scene, window=window if own == zone else None))
        if self.wishes.target is None:  # pixels as they are before resampled ones
            candidates.sort(key=lambda each: each.window is None)
        window = _needed(square, [windows[scene] for scene in touching if scene in windows])
        if window is None:
            return None
        return Cell(
            zone=zone,
            row=place[0],
            col=place[1],
            window=window,
            candidates=tuple(candidates),
            territory=territory,
            key=self._key(zone, window, candidates, territory),
        )

    def _asked(self, touching: Sequence[int]) -> list[int]:
        """Return scenes in the order in which they are asked."""
        if self.wishes.prefer == "newest":
            return sorted(touching, key=lambda scene: (self.scenes[scene].date or "", -scene), reverse=True)
        return sorted(touching)

    def _key(
        self, zone: int, window: Window, candidates: Sequence[Candidate], territory: Territory | None
    ) -> str:
        grid = self.zones[zone].lattice.grid(window)
        about = [
            self.work,
            [grid.height, grid.width, *grid.transform[:6], grid.crs],
            [
                [scene.identity, scene.name, scene.date, None if each.window is None else each.window.shape]
                for each in candidates
                if (scene := self.scenes[each.scene])
            ],
            None if territory is None else [zone, self.zones[zone].name, sorted(territory.owner.items())],
        ]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]


def _needed(square: Window, windows: Sequence[Window]) -> Window | None:
    """Return the part of a cell that scenes touch."""
    parts = [part for window in windows if (part := window.intersection(square)) is not None]
    if not parts:
        return None
    row, col = min(part.row for part in parts), min(part.col for part in parts)
    height = max(part.row_stop for part in parts) - row
    width = max(part.col_stop for part in parts) - col
    return Window(row=row, col=col, height=height, width=width)


def _zone_names(lattices: Sequence[Lattice]) -> list[str]:
    """Return names that tell zones apart and do not depend on which other zones there are in another CRS."""
    names = []
    for lattice in lattices:
        known = crs_name(lattice.crs)
        names.append("grid" if known is None else known.split(" ")[0].replace(":", "_"))
    several = {name for name in names if names.count(name) > 1}
    return [
        f"{name}_{hashlib.sha256(repr(lattice.transform).encode()).hexdigest()[:6]}"
        if name in several
        else name
        for name, lattice in zip(names, lattices, strict=True)
    ]


def _common_crs(all_crs: Sequence[str | None]) -> str | None:
    """Return the CRS that all lattices share, else longitude and latitude."""
    first, *others = all_crs
    if all(same_crs(first, other) for other in others):
        return first
    from pyproj import CRS

    return str(CRS.from_user_input("OGC:CRS84").to_wkt())


def _outline(scene: ListedScene, crs: str | None) -> Any:
    try:
        return outline_in(scene.grid, crs)
    except SceneError as error:
        raise SceneError(Message("{}: {}", scene.name, error.problem), error.remedy) from error
