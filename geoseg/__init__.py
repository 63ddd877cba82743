"""Land cover from georeferenced rasters: scenes in, styled land-cover polygons out.

The public names are imported where they are first used: ``import geoseg`` costs nothing, and predicting loads
none of what only training or vectorizing needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoseg.assessment.accuracy.design import SampleDesign, design_sample
    from geoseg.assessment.accuracy.estimate import estimate_accuracy
    from geoseg.assessment.accuracy.result import AccuracyEstimate
    from geoseg.assessment.check import check
    from geoseg.assessment.coverage.quality import PolygonQuality
    from geoseg.assessment.evaluation.compare import compare
    from geoseg.assessment.evaluation.comparison import Comparison
    from geoseg.assessment.evaluation.evaluate import evaluate
    from geoseg.assessment.evaluation.result import Evaluation
    from geoseg.assessment.report import report
    from geoseg.assessment.training_data.quality import DataQuality
    from geoseg.errors import (
        ClassMapError,
        ConfigError,
        DataError,
        GeosegError,
        LegendError,
        MismatchError,
        ModelError,
        NotANumberError,
        OptionError,
        OutputBusyError,
        OutputError,
        OutputExistsError,
        ResumeError,
        SceneError,
        StitchError,
    )
    from geoseg.experiments.sweep import sweep
    from geoseg.grid.grid import Grid
    from geoseg.grid.legend import Legend, LegendClass
    from geoseg.grid.tiling import Tiling
    from geoseg.grid.window import Window
    from geoseg.inference.calibrate import calibrate
    from geoseg.inference.predict import predict
    from geoseg.inference.quantize import quantize
    from geoseg.inference.segment import segment
    from geoseg.learning.config import Config
    from geoseg.learning.train import train
    from geoseg.mapping.map import map  # noqa: A004
    from geoseg.models.card import Card
    from geoseg.models.importing import import_model
    from geoseg.models.model import Model
    from geoseg.models.recolor import recolor
    from geoseg.pictures.predict_pictures import PicturesReport, predict_pictures
    from geoseg.raster.classmap import ClassMap, LayeredMap
    from geoseg.raster.scene import Scene
    from geoseg.vector.rasterize import rasterize
    from geoseg.vector.vectorize import vectorize
    from geoseg.vector.write import write

    __version__: str

__all__ = [
    "AccuracyEstimate",
    "Card",
    "ClassMap",
    "ClassMapError",
    "Comparison",
    "Config",
    "ConfigError",
    "DataError",
    "DataQuality",
    "Evaluation",
    "GeosegError",
    "Grid",
    "LayeredMap",
    "Legend",
    "LegendClass",
    "LegendError",
    "MismatchError",
    "Model",
    "ModelError",
    "NotANumberError",
    "OptionError",
    "OutputBusyError",
    "OutputError",
    "OutputExistsError",
    "PicturesReport",
    "PolygonQuality",
    "ResumeError",
    "SampleDesign",
    "Scene",
    "SceneError",
    "StitchError",
    "Tiling",
    "Window",
    "__version__",
    "calibrate",
    "check",
    "compare",
    "design_sample",
    "estimate_accuracy",
    "evaluate",
    "import_model",
    "map",
    "predict",
    "predict_pictures",
    "quantize",
    "rasterize",
    "recolor",
    "report",
    "segment",
    "sweep",
    "train",
    "vectorize",
    "write",
]

_HOMES = {
    "AccuracyEstimate": "geoseg.assessment.accuracy.result",
    "Card": "geoseg.models.card",
    "ClassMap": "geoseg.raster.classmap",
    "ClassMapError": "geoseg.errors",
    "Comparison": "geoseg.assessment.evaluation.comparison",
    "Config": "geoseg.learning.config",
    "ConfigError": "geoseg.errors",
    "DataError": "geoseg.errors",
    "DataQuality": "geoseg.assessment.training_data.quality",
    "Evaluation": "geoseg.assessment.evaluation.result",
    "GeosegError": "geoseg.errors",
    "Grid": "geoseg.grid.grid",
    "LayeredMap": "geoseg.raster.classmap",
    "Legend": "geoseg.grid.legend",
    "LegendClass": "geoseg.grid.legend",
    "LegendError": "geoseg.errors",
    "MismatchError": "geoseg.errors",
    "Model": "geoseg.models.model",
    "ModelError": "geoseg.errors",
    "NotANumberError": "geoseg.errors",
    "OptionError": "geoseg.errors",
    "OutputBusyError": "geoseg.errors",
    "OutputError": "geoseg.errors",
    "OutputExistsError": "geoseg.errors",
    "PicturesReport": "geoseg.pictures.predict_pictures",
    "PolygonQuality": "geoseg.assessment.coverage.quality",
    "ResumeError": "geoseg.errors",
    "SampleDesign": "geoseg.assessment.accuracy.design",
    "Scene": "geoseg.raster.scene",
    "SceneError": "geoseg.errors",
    "StitchError": "geoseg.errors",
    "Tiling": "geoseg.grid.tiling",
    "Window": "geoseg.grid.window",
    "calibrate": "geoseg.inference.calibrate",
    "check": "geoseg.assessment.check",
    "compare": "geoseg.assessment.evaluation.compare",
    "design_sample": "geoseg.assessment.accuracy.design",
    "estimate_accuracy": "geoseg.assessment.accuracy.estimate",
    "evaluate": "geoseg.assessment.evaluation.evaluate",
    "import_model": "geoseg.models.importing",
    "map": "geoseg.mapping.map",
    "predict": "geoseg.inference.predict",
    "predict_pictures": "geoseg.pictures.predict_pictures",
    "quantize": "geoseg.inference.quantize",
    "rasterize": "geoseg.vector.rasterize",
    "recolor": "geoseg.models.recolor",
    "report": "geoseg.assessment.report",
    "segment": "geoseg.inference.segment",
    "sweep": "geoseg.experiments.sweep",
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
