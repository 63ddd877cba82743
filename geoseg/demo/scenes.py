"""The scenes, labels and model that come with the package (origin and licence: ``data/ATTRIBUTION.md``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

MODEL: Final = "korea.safetensors"
"""Name of the packaged model file."""
GRAPH: Final = "korea.xml"
"""The same model, exported with fp16 weights: the demo needs no torch, and converts nothing."""
BANDS: Final[Mapping[str, int]] = {"blue": 1, "green": 2, "red": 3}
"""Band numbers of the scenes; the colour tags in the files are wrong."""
CREDIT: Final = (
    "Contains modified Copernicus Sentinel data 2023, 2024. "
    "Scenes and labels: github.com/minuex/Satellite-Land-Cover-Segmentation (MIT)."
)
"""What a picture of the scenes must say."""


def data_file(name: str) -> Path:
    """Path of a packaged file; wheels are installed unpacked, so that it is a real one."""
    return Path(str(files("geoseg.demo") / "data" / name))


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoScene:
    """A scene with labels that no model was trained or chosen on.

    Parameters
    ----------
    name : str
        Stem of its files.
    title : str
        Place and time.
    """

    name: str
    title: str

    @property
    def image(self) -> Path:
        """Blue, green, red and alpha, uint8, 10 m."""
        return data_file(f"{self.name}.tif")

    @property
    def labels(self) -> Path:
        """Class codes on the grid of the image, uint8."""
        return data_file(f"{self.name}_labels.tif")


SCENES: Final = (
    DemoScene(name="202309_patchN_16", title="South coast of Korea, September 2023"),
    DemoScene(name="202412_patchN_6", title="South coast of Korea, December 2024"),
)
