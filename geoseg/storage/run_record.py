"""The record of a run: a summary of a few lines, and `run.json` for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import Message, Text, plural
from geoseg.grid.grid import Grid
from geoseg.grid.ground import area_texts
from geoseg.grid.ground_cells import PixelAreas
from geoseg.grid.legend import NODATA, Legend
from geoseg.storage.durable import write_bytes
from geoseg.storage.process_memory import peak_memory_mb


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """Outcome of one scene.

    Parameters
    ----------
    output : Path
        The main product.
    fingerprint : dict
        Everything that the result depends on.
    classes : list of dict
        Per class: code, name, pixels and, where known, area_m2 and polygons.
    valid_pixels : int
        Pixels of the result that are not no data.
    seconds : dict of str to float
        Time by stage, s.
    megapixels_per_second : float
        Speed over the pixels that this run computed, without loading the model.
    damaged : list of [row, col, height, width]
        Windows that could not be read and became no data.
    notes : list of str or Message
        Advice that follows from the outcome.
    warnings : list of str
        Warnings given before the run.
    settings : dict
        Settings of the run, such as device, precision and tile size, by name.
    profile : dict of str to float, optional
        Breakdown of `seconds["predict"]`, s.
    sizes : dict of str to int
        Size of the further products in bytes, by their paths relative to the folder of `output`.
    before : bool
        Whether an earlier run of the same command had already finished everything.
    """

    output: Path
    fingerprint: dict[str, Any]
    classes: list[dict[str, Any]]
    valid_pixels: int
    seconds: dict[str, float]
    megapixels_per_second: float
    damaged: list[list[int]]
    notes: list[Text]
    warnings: list[str]
    settings: dict[str, Any]
    profile: dict[str, float] | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    before: bool = False

    @classmethod
    def read(cls, output: Path) -> RunRecord | None:
        """Read the run.json of an output; return None if it is missing or not one."""
        try:
            found = json.loads(run_file(output).read_text(encoding="utf-8"))
            kept = {each.name: found[each.name] for each in fields(cls) if each.name in found}
            return cls(**{**kept, "output": output})
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def size_of(self, product: Path) -> int | None:
        """Return the size in bytes that a further product had when it was written, or None."""
        return self.sizes.get(_seen_from(product, self.output))

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 0, or 3 if unreadable areas became no data."""
        return 3 if self.damaged else 0

    def save(self, products: Iterable[Path] = ()) -> None:
        """Write ``<output>.run.json``, which includes the sizes of the further products."""
        from geoseg import __version__

        content = {
            "output": self.output.name,
            "fingerprint": self.fingerprint,
            "classes": self.classes,
            "valid_pixels": self.valid_pixels,
            "seconds": {key: round(value, 3) for key, value in self.seconds.items()},
            "megapixels_per_second": round(self.megapixels_per_second, 3),
            "peak_memory_mb": round(peak_memory_mb(), 1),
            "damaged": self.damaged,
            "notes": list(map(str, self.notes)),
            "warnings": self.warnings,
            "settings": self.settings,
            "sizes": {_seen_from(path, self.output): path.stat().st_size for path in products},
            "versions": {"geoseg": __version__, "python": platform.python_version()},
        }
        if self.profile is not None:
            content["profile"] = {key: round(value, 3) for key, value in self.profile.items()}
        write_bytes(run_file(self.output), (json.dumps(content, indent=1) + "\n").encode())

    def lines(self) -> Iterable[Text]:
        """Yield the summary for the terminal, line by line."""
        if not self.before:
            yield from self._done()
        if self.damaged:
            areas = plural(len(self.damaged), "area")
            yield f"  {areas} could not be read and became no data; run.json lists every one"
        for note in () if self.before else self.notes:
            yield Message("  {}", note)

    def _done(self) -> Iterable[str]:
        """Yield the lines about the work of this run."""
        total = self.valid_pixels or 1
        areas = area_texts([row["area_m2"] for row in self.classes])
        for row, area in zip(self.classes, areas, strict=True):
            count = row.get("polygons")
            polygons = "" if count is None else f" {count:>9,} polygon{'s' * (count != 1)}"
            yield f"  {row['code']:>4} {row['name']:<20} {row['pixels'] / total:7.2%} {area:>16}{polygons}"
        stages = ", ".join(f"{key} {value:.1f} s" for key, value in self.seconds.items())
        yield (
            f"  {stages}; {self.megapixels_per_second:.2f} million px/s; peak memory {peak_memory_mb():,.0f} MB; "
            f"{', '.join(_setting(key, value) for key, value in self.settings.items() if value is not False)}"
        )
        if self.profile is not None:
            yield f"  {profile_line(self.profile, self.seconds['predict'])}"


def _setting(key: str, value: object) -> str:
    words = key.replace("_", " ")
    return words if value is True else f"{words} {value}"


def profile_line(profile: Mapping[str, float], seconds: float) -> str:
    """Format the profile of a run: shares of the device's time, largest first, then reading and writing."""
    beside = ("read", "write")
    shares = sorted((key for key in profile if key not in beside), key=lambda key: -profile[key])
    spent = ", ".join(f"{key} {profile[key] / max(seconds, 1e-9):.1%}" for key in shares)
    return f"profile: {spent}; meanwhile {', '.join(f'{key} {profile[key]:.1f} s' for key in beside)}"


def run_file(output: Path) -> Path:
    """Return the path of the run.json of an output."""
    return output.with_name(output.name + ".run.json")


def _seen_from(product: Path, output: Path) -> str:
    """Return the path of a product relative to the folder of the main output."""
    return os.path.relpath(product.absolute(), output.absolute().parent)


def identity(command: str, products: Sequence[Path], **more: Any) -> dict[str, Any]:
    """Return what the products depend on besides the pixels, for the fingerprint.

    Equal commands have equal identities: products are named relative to the folder of the first one.
    """
    return {"command": command, "products": [_seen_from(path, products[0]) for path in products], **more}


class ClassCount:
    """Counter of pixels and ground area per class, fed with the strips of a map from top to bottom.

    Parameters
    ----------
    legend : Legend
        Classes to count.
    grid : Grid, optional
        Grid of the map; without it areas are unknown.
    layered : bool
        Whether strips have one layer of 0 and 1 per class instead of codes.
    nodata : int
        Code of no data, larger than all class codes.
    """

    def __init__(
        self, legend: Legend, grid: Grid | None = None, *, layered: bool = False, nodata: int = NODATA
    ) -> None:
        self._legend, self._layered = legend, layered
        layers = len(legend.classes) if layered else 1
        self._pixels = np.zeros((layers, nodata + 1), dtype=np.int64)
        self._sums = np.zeros((layers, 2, nodata + 1))  # areas and bounds of their errors
        self._areas = None if grid is None else PixelAreas(grid)

    def watch(self, strips: Iterable[npt.NDArray[Any]]) -> Iterable[npt.NDArray[Any]]:
        """Yield the strips unchanged while counting them."""
        row = 0
        for strip in strips:
            layers = strip if self._layered else strip[np.newaxis]
            stop = row + strip.shape[-2]
            count = self._pixels.shape[1]
            ground = () if self._areas is None or not self._areas.known else self._areas.rows(row, stop)
            for i, layer in enumerate(layers):
                self._pixels[i] += np.bincount(layer.ravel(), minlength=count)
                for sums, weights in zip(self._sums[i], ground, strict=False):
                    if weights is not None:
                        sums += np.bincount(layer.ravel(), weights.ravel(), minlength=count)
            row = stop
            yield strip

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per class that occurs: code, name, pixels, area_m2 (None if unknown)."""
        places = enumerate(self._legend.classes) if self._layered else ((0, c) for c in self._legend.classes)
        found = ((place, 1 if self._layered else c.code, c) for place, c in places)
        return [
            {
                "code": c.code,
                "name": c.name,
                "pixels": int(self._pixels[place, code]),
                "area_m2": None
                if self._areas is None
                else self._areas.square_metres(*self._sums[place, :, code].tolist()),
            }
            for place, code, c in found
            if self._pixels[place, code]
        ]

    @property
    def valid(self) -> int:
        """Number of valid pixels, which is the same in every layer."""
        return int(self._pixels[0, :-1].sum())

    @property
    def only_one(self) -> bool:
        """Whether all valid pixels have the same code."""
        return not self._layered and bool((self._pixels[0, :-1] > 0).sum() == 1)
