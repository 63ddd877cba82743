"""Two labelled Sentinel-2 patches and a model trained on others of their data set (``data/korea/ATTRIBUTION.md``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "data" / "korea"
MODEL: Final = FOLDER / "korea.safetensors"
BANDS: Final[Mapping[str, int]] = {"blue": 1, "green": 2, "red": 3}
"""Band numbers of the patches; the colour tags in the files are wrong."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A patch that the model was neither trained nor chosen on."""

    name: str

    @property
    def image(self) -> Path:
        """Blue, green, red and alpha, uint8, 10 m."""
        return FOLDER / f"{self.name}.tif"

    @property
    def labels(self) -> Path:
        """Class codes on the grid of the image, uint8."""
        return FOLDER / f"{self.name}_labels.tif"


PATCHES: Final = Patch("202309_patchN_16"), Patch("202412_patchN_6")
