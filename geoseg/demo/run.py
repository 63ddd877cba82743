"""The demo: the whole job on scenes that come with the package, and how good it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from importlib.metadata import version
from operator import add
from pathlib import Path

import numpy as np

from geoseg.assessment.accuracy import Accuracy, compare
from geoseg.demo.preview import Image, Preview
from geoseg.demo.scenes import BANDS, CREDIT, GRAPH, SCENES, DemoScene, data_file
from geoseg.demo.verdict import verdict
from geoseg.errors import OutputError
from geoseg.grid.window import Window
from geoseg.inference.options import PredictOptions, Progress
from geoseg.inference.predict import Writing
from geoseg.inference.prepare import Job, prepare
from geoseg.inference.segment import SegmentOutputs, segment_file
from geoseg.inference.summary import run_file
from geoseg.models.card import read_card
from geoseg.raster.classmap import read_class_map
from geoseg.raster.scene import Scene

_OPTIONS = PredictOptions(tile_size=256, overlap=64)
"""Smaller than the scenes, so that the demo really tiles and blends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """Files that the demo writes for one scene."""

    polygons: Path
    raster: Path
    confidence: Path
    preview: Path

    @classmethod
    def of(cls, folder: Path, scene: DemoScene) -> Products:
        """Name them after the scene."""
        return cls(
            polygons=folder / f"{scene.name}.gpkg",
            raster=folder / f"{scene.name}.tif",
            confidence=folder / f"{scene.name}_confidence.tif",
            preview=folder / f"{scene.name}_preview.png",
        )

    def lines(self) -> Iterator[str]:
        """Say what each file is."""
        yield f"{self.polygons}: land-cover polygons; open it in QGIS"
        yield f"{self.raster}: class map"
        yield f"{self.confidence}: how sure the model is, 0 to 254"
        yield f"{self.preview}: picture of scene, map and labels"


def run_demo(
    folder: Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    model: Path | None = None,
    scenes: Sequence[DemoScene] = SCENES,
) -> str:
    """Segment the demo scenes as `geoseg segment` would, draw them, and assess the maps.

    Law: what an earlier demo of the same version and model finished in the folder is left as it is, and the
    answer is the same; torch is not even imported then.

    Parameters
    ----------
    folder : Path
        Made where it is missing. Each scene gives NAME.gpkg (polygons), NAME.tif (class map),
        NAME_confidence.tif and NAME_preview.png.
    overwrite : bool
        Whether other files of these names may be replaced.
    progress : callable, optional
        Called with (done, total, what).
    model : Path, optional
        A model file in place of the packaged one.
    scenes : sequence of DemoScene
        At least one.

    Returns
    -------
    str
        What was written, the accuracy against labels that the model never saw, and what that means.

    Raises
    ------
    OutputExistsError
        If the folder holds files of these names that are not this demo's.
    OutputError
        If they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}); choose another with -o") from error
    model = model or data_file(GRAPH)
    lines: list[str] = []
    found: list[Accuracy] = []
    for scene in scenes:
        products = Products.of(folder, scene)
        found.append(_map_scene(_job(scene, model), scene, products, overwrite=overwrite, progress=progress))
        lines += products.lines()
    return "\n".join([*lines, "", *verdict(reduce(add, found), len(found))])


def _job(scene: DemoScene, model: Path) -> Job:
    """Scene and model; the bands are told, since the file does not say which is which."""
    names = read_card(model).band_names
    bands = tuple(BANDS[name] for name in names) if set(names) <= set(BANDS) else None
    return prepare(scene.image, model, replace(_OPTIONS, bands=bands))


def _map_scene(
    job: Job, scene: DemoScene, products: Products, *, overwrite: bool, progress: Progress | None
) -> Accuracy:
    """Write what is missing of a scene's products, and compare its map with the labels."""
    if not _finished(job, products):
        outputs = SegmentOutputs(
            polygons=products.polygons, raster=products.raster, confidence=products.confidence
        )
        segment_file(job, outputs, Writing(overwrite=overwrite, fresh=overwrite), progress)
    legend = job.card.classes
    class_map, labels = read_class_map(products.raster), read_class_map(scene.labels)
    # As make does: the picture is made of what run.json describes, so it must not be the older one.
    if not products.preview.exists() or _written(products.preview) < _written(run_file(products.polygons)):
        Preview(
            colors=natural_colors(scene),
            class_map=class_map,
            labels=labels,
            legend=legend,
            title=scene.title,
            subtitle=f"Land cover from Sentinel-2 at 10 m, mapped by geoseg with the model {job.card.name}",
            credit=CREDIT,
        ).write(products.preview)
    return compare(class_map, labels, legend=legend)


def _finished(job: Job, products: Products) -> bool:
    """Whether an earlier demo of this version, scene, model and tiling wrote all maps.

    The fingerprint in run.json also names the build of torch and its threads; to look at, a map made with
    others is as good, and asking would mean importing torch.
    """
    record = run_file(products.polygons)
    if not all(path.exists() for path in (record, products.polygons, products.raster, products.confidence)):
        return False
    try:
        found = json.loads(record.read_text())["fingerprint"]
        scene, image = found["scene"], Path(job.source.path)
        return (
            (found["version"], found["weights"]) == (version("geoseg"), job.card.weights_sha256)
            and found["tile"] == [job.tiling.size, job.tiling.overlap]
            and (scene["name"], scene["bytes"]) == (image.name, image.stat().st_size)
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def natural_colors(scene: DemoScene) -> Image:
    """Red, green and blue of a demo scene, (row, col, 3)."""
    bands = [BANDS[name] for name in ("red", "green", "blue")]
    source = Scene.open(scene.image).select(bands, validity_band=None)
    chip = source.read(Window(row=0, col=0, height=source.grid.height, width=source.grid.width))
    return np.moveaxis(chip.pixels, 0, -1)


def _written(path: Path) -> int:
    """When a file was written last, ns."""
    return path.stat().st_mtime_ns
