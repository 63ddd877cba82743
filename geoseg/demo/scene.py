"""The packaged scene, labels and model (origin and licence: ``data/ATTRIBUTION.md``)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np

from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.grid.window import Window
from geoseg.labels.coded_labels import CodedLabels
from geoseg.labels.label import UNKNOWN
from geoseg.learning.config import Config
from geoseg.raster.classmap import ClassMap

BANDS: Final = ("blue", "green", "red", "nir")
TITLE: Final = "Zion National Park, Utah"
CREDIT: Final = (
    "Landsat 8 image courtesy of the U.S. Geological Survey. "
    "NLCD 2011: Multi-Resolution Land Characteristics Consortium."
)
"""Credit line that a picture of the scene must show."""


@dataclass(frozen=True, slots=True)
class DemoScene:
    """A scene with one file per band, a model for it, and labels on another grid, partly held back from
    training.

    Parameters
    ----------
    folder : Path
        Folder of the files.
    """

    folder: Path

    @property
    def bands(self) -> dict[str, Path]:
        """File of each band by name: uint16, 30 m."""
        return {name: self.folder / f"landsat_{name}.tif" for name in BANDS}

    @property
    def model(self) -> Path:
        """The exported model, so that the demo needs no torch and converts nothing."""
        return self.folder / "zion.xml"

    @property
    def recipe(self) -> Path:
        """The configuration that the model was trained with."""
        return self.folder / "zion.yaml"

    @property
    def training(self) -> Path:
        """The labels used for training, with NLCD codes."""
        return self.folder / "nlcd_training.tif"

    @property
    def held_back(self) -> Path:
        """The labels held back from training."""
        return self.folder / "nlcd_heldback.tif"

    def labels(self, path: Path, grid: Grid) -> ClassMap:
        """Read labels on the grid of the scene, in the classes of the recipe, as training reads them.

        Parameters
        ----------
        path : Path
            `training` or `held_back`.
        grid : Grid
            Grid of the scene.
        """
        data = Config.read(self.recipe).data
        whole = Window(row=0, col=0, height=grid.height, width=grid.width)
        codes = CodedLabels.open(path, grid, data.meanings).read(whole)
        return ClassMap(codes=codes, valid=np.asarray(codes != UNKNOWN), grid=grid, legend=data.legend)

    @property
    def legend(self) -> Legend:
        """The classes of the recipe."""
        return Config.read(self.recipe).data.legend


PACKAGED: Final = DemoScene(Path(str(files("geoseg.demo") / "data")))
"""Zion National Park. Wheels are installed unpacked, so these are regular files."""
