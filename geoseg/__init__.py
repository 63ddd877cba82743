"""Land cover from georeferenced rasters: scenes in, styled land-cover polygons out.

The public names are imported where they are first used: ``import geoseg`` costs nothing, and predicting loads
none of what only training or vectorizing needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoseg.assessment.report import report
    from geoseg.errors import GeosegError
    from geoseg.grid.grid import Grid
    from geoseg.grid.legend import Legend
    from geoseg.grid.tiling import Tiling
    from geoseg.grid.window import Window
    from geoseg.inference.label_check import LabelCheck
    from geoseg.inference.options import PredictOptions
    from geoseg.inference.pictures import predict_pictures
    from geoseg.inference.predict import PredictOutputs, Writing, predict
    from geoseg.inference.quantize import quantize
    from geoseg.inference.rasterize import rasterize
    from geoseg.inference.segment import SegmentOutputs, segment
    from geoseg.inference.submission import Submission
    from geoseg.learning.train import TrainOptions, train
    from geoseg.models.importing import import_model
    from geoseg.models.input_scale import InputScale
    from geoseg.models.model import Model
    from geoseg.models.recolor import recolor
    from geoseg.raster.scene import Scene
    from geoseg.vector.options import VectorizeOptions
    from geoseg.vector.vectorize import vectorize
    from geoseg.vector.write import write

    __version__: str

__all__ = [
    "GeosegError",
    "Grid",
    "InputScale",
    "LabelCheck",
    "Legend",
    "Model",
    "PredictOptions",
    "PredictOutputs",
    "Scene",
    "SegmentOutputs",
    "Submission",
    "Tiling",
    "TrainOptions",
    "VectorizeOptions",
    "Window",
    "Writing",
    "__version__",
    "import_model",
    "predict",
    "predict_pictures",
    "quantize",
    "rasterize",
    "recolor",
    "report",
    "segment",
    "train",
    "vectorize",
    "write",
]

_HOMES = {
    "GeosegError": "geoseg.errors",
    "Grid": "geoseg.grid.grid",
    "InputScale": "geoseg.models.input_scale",
    "LabelCheck": "geoseg.inference.label_check",
    "Legend": "geoseg.grid.legend",
    "Model": "geoseg.models.model",
    "PredictOptions": "geoseg.inference.options",
    "PredictOutputs": "geoseg.inference.predict",
    "Scene": "geoseg.raster.scene",
    "SegmentOutputs": "geoseg.inference.segment",
    "Submission": "geoseg.inference.submission",
    "Tiling": "geoseg.grid.tiling",
    "TrainOptions": "geoseg.learning.train",
    "VectorizeOptions": "geoseg.vector.options",
    "Window": "geoseg.grid.window",
    "Writing": "geoseg.inference.predict",
    "import_model": "geoseg.models.importing",
    "predict": "geoseg.inference.predict",
    "predict_pictures": "geoseg.inference.pictures",
    "quantize": "geoseg.inference.quantize",
    "rasterize": "geoseg.inference.rasterize",
    "recolor": "geoseg.models.recolor",
    "report": "geoseg.assessment.report",
    "segment": "geoseg.inference.segment",
    "train": "geoseg.learning.train",
    "vectorize": "geoseg.vector.vectorize",
    "write": "geoseg.vector.write",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("geoseg")
    elif name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'geoseg' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(set(globals()) | set(__all__))
