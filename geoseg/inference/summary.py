"""What a run did, for the person (a few lines) and for programs (`run.json`)."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.grid.grid import Grid
from geoseg.grid.ground import area_texts
from geoseg.grid.ground_cells import PixelAreas
from geoseg.grid.legend import NODATA, Legend
from geoseg.storage.durable import write_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Outcome of one scene.

    Parameters
    ----------
    output : Path
    fingerprint : dict
        Everything the result depends on.
    classes : list of dict
        Per class: code, name, pixels and, where known, area_m2 and polygons.
    valid_pixels : int
        Pixels of the result that are not no data.
    seconds : dict of str to float
        Time by stage, s.
    megapixels_per_second : float
        Of the pixels that this run computed, model loaded.
    damaged : list of [row, col, height, width]
        What could not be read and is no data.
    notes : list of str
        What the outcome suggests.
    warnings : list of str
        What was said before the run.
    settings : dict
        As `Settings` has them.
    profile : dict of str to float, optional
        Where the time of `seconds["predict"]` went, s; see `Clock`.
    sizes : dict of str to int
        Bytes of the further products, by their names as seen from the folder of `output`.
    before : bool
        Whether the same command had finished all of it when it ran before.
    """

    output: Path
    fingerprint: dict[str, Any]
    classes: list[dict[str, Any]]
    valid_pixels: int
    seconds: dict[str, float]
    megapixels_per_second: float
    damaged: list[list[int]]
    notes: list[str]
    warnings: list[str]
    settings: dict[str, Any]
    profile: dict[str, float] | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    before: bool = False

    @classmethod
    def read(cls, output: Path) -> Report | None:
        """Read what `save` wrote; None where there is nothing, or something else."""
        try:
            found = json.loads(run_file(output).read_text(encoding="utf-8"))
            kept = {each.name: found[each.name] for each in fields(cls) if each.name in found}
            return cls(**{**kept, "output": output})
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def size_of(self, product: Path) -> int | None:
        """Bytes that a further product had when it was written."""
        return self.sizes.get(_seen_from(product, self.output))

    @property
    def exit_code(self) -> int:
        """0, or 3 where areas were replaced by no data."""
        return 3 if self.damaged else 0

    def save(self, products: Iterable[Path] = ()) -> None:
        """Write ``<output>.run.json``, and in it how large the further products are."""
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
            "notes": self.notes,
            "warnings": self.warnings,
            "settings": self.settings,
            "sizes": {_seen_from(path, self.output): path.stat().st_size for path in products},
            "versions": {"geoseg": __version__, "python": platform.python_version()},
        }
        if self.profile is not None:
            content["profile"] = {key: round(value, 3) for key, value in self.profile.items()}
        write_bytes(run_file(self.output), (json.dumps(content, indent=1) + "\n").encode())

    def lines(self) -> Iterable[str]:
        """Summary for a person, line by line."""
        if not self.before:
            yield from self._done()
        if self.damaged:
            yield f"  {len(self.damaged)} areas could not be read and are no data; they are listed in run.json"
        for note in () if self.before else self.notes:
            yield f"  {note}"

    def _done(self) -> Iterable[str]:
        """Say what was done now."""
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
    """Say where the time of a run went: what the device did, the largest share first, and what others did."""
    beside = ("read", "write")
    shares = sorted((key for key in profile if key not in beside), key=lambda key: -profile[key])
    spent = ", ".join(f"{key} {profile[key] / max(seconds, 1e-9):.1%}" for key in shares)
    return f"profile: {spent}; meanwhile {', '.join(f'{key} {profile[key]:.1f} s' for key in beside)}"


def run_file(output: Path) -> Path:
    """Name of the run.json of an output."""
    return output.with_name(output.name + ".run.json")


def _seen_from(product: Path, output: Path) -> str:
    """Name of a product as seen from the folder of the main output, however the person wrote them."""
    return os.path.relpath(product.absolute(), output.absolute().parent)


def peak_memory_mb() -> float:
    """Largest resident set of this process so far, MB."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss begins with the peak of the process that started this one
        found = re.search(r"^VmHWM:\s*(\d+)", status.read_text(), re.MULTILINE)
        if found is not None:  # some sandboxes leave it out
            return int(found[1]) * 1.024e-3
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def identity(command: str, products: Sequence[Path], **more: Any) -> dict[str, Any]:
    """Say what products depend on beside the pixels, for the fingerprint: equal commands, equal identities.

    Products are named as seen from the folder of the first, however the person wrote them.
    """
    return {"command": command, "products": [_seen_from(path, products[0]) for path in products], **more}


class ClassCount:
    """Pixels and ground area per class, counted while the strips of a map pass by, from the first to the last.

    Parameters
    ----------
    legend : Legend
    grid : Grid, optional
        Of the map; without it areas are not known.
    layered : bool
        Whether a strip has a layer of 1 and 0 for each class, in place of codes.
    nodata : int
        Code of no data, the largest.
    """

    def __init__(
        self, legend: Legend, grid: Grid | None = None, *, layered: bool = False, nodata: int = NODATA
    ) -> None:
        self._legend, self._layered = legend, layered
        layers = len(legend.classes) if layered else 1
        self._pixels = np.zeros((layers, nodata + 1), dtype=np.int64)
        self._sums = np.zeros((layers, 2, nodata + 1))  # areas and their doubts
        self._areas = None if grid is None else PixelAreas(grid)

    def watch(self, strips: Iterable[npt.NDArray[Any]]) -> Iterable[npt.NDArray[Any]]:
        """Pass strips through and count them."""
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
        """One row per class that occurs: code, name, pixels, area_m2 (None where unknown)."""
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
        """Pixels that are not no data; they are the same in every layer."""
        return int(self._pixels[0, :-1].sum())

    @property
    def only_one(self) -> bool:
        """Whether all valid pixels have one code."""
        return not self._layered and bool((self._pixels[0, :-1] > 0).sum() == 1)
