"""Run the demo: segment the packaged scene, assess the map, and tell what the figures mean."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import numpy as np

from geoseg.assessment.comparison import Accuracy, compare
from geoseg.demo.preview import Image, Preview
from geoseg.demo.scene import CREDIT, PACKAGED, TITLE, DemoScene
from geoseg.errors import ELSEWHERE, OutputError, plural
from geoseg.grid.window import Window
from geoseg.inference.earlier import finished_before
from geoseg.inference.options import PredictOptions
from geoseg.inference.predict import Writing
from geoseg.inference.prepare import prepare_job
from geoseg.inference.segment import SegmentOutputs, segment_file
from geoseg.progress import OnProgress
from geoseg.raster.classmap import ClassMap, read_class_map
from geoseg.raster.scene import Scene
from geoseg.storage.run_record import run_file

_GAMMA = 0.7
"""Gamma correction: forests are dark and would be nearly black."""

_GOOD = 0.6
_WEAK = 0.4
_WIDTH = 100
_ABOUT = (
    "The labels lie on another grid (pixels of 31.5 m in another coordinate system, those of the scene have 30 m): "
    "each pixel takes the label under its centre. They are of 2011 and the image of 2015; roads are narrower than "
    "a pixel, and where woodland thins out into shrub two maps seldom agree.",
    "The model learned from the rest of this one image, so it knows this place and this day. It shows what geoseg "
    "does; for a map to use, train a model on scenes like yours.",
)


@dataclass(frozen=True, slots=True)
class Products:
    """Files that the demo writes.

    Parameters
    ----------
    folder : Path
        Folder of the files.
    """

    folder: Path

    @property
    def segmented(self) -> SegmentOutputs:
        """Outputs of `geoseg segment`."""
        return SegmentOutputs(
            polygons=self.folder / "zion.gpkg",
            raster=self.folder / "zion.tif",
            confidence=self.folder / "zion_confidence.tif",
        )

    @property
    def preview(self) -> Path:
        """Picture of scene, labels and map."""
        return self.folder / "zion_preview.png"

    def lines(self) -> Iterator[str]:
        """Yield a description of each file."""
        outputs = self.segmented
        yield f"{outputs.polygons}: land-cover polygons; open it in QGIS"
        yield f"{outputs.raster}: class map"
        yield f"{outputs.confidence}: how sure the model is, 0 to 254"
        yield f"{self.preview}: picture of scene, labels and map"


def run_demo(
    folder: Path,
    *,
    overwrite: bool = False,
    progress: OnProgress | None = None,
    scene: DemoScene = PACKAGED,
) -> str:
    """Segment the demo's scene as `geoseg segment` would, draw it, and assess the map.

    Law: products of an earlier demo in the folder are kept, and the result is the same; torch is never
    imported.

    Parameters
    ----------
    folder : Path
        Output folder, created if missing, for zion.gpkg (polygons), zion.tif (class map), zion_confidence.tif and
        zion_preview.png.
    overwrite : bool
        Whether other files of these names may be replaced.
    progress : callable, optional
        Called with (done, total, what).
    scene : DemoScene
        Bands, labels and model, instead of the packaged ones.

    Returns
    -------
    str
        The written files, the accuracy on the labels that were held back from training, its meaning, and the
        commands that do the same.

    Raises
    ------
    OutputExistsError
        If the folder holds files of these names that the demo did not write.
    OutputError
        If they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror})", ELSEWHERE) from error
    products = Products(folder)
    outputs = products.segmented
    job = prepare_job(scene.bands, scene.model, PredictOptions())
    if finished_before(outputs.of(job, Writing())) is None:
        segment_file(job, outputs, Writing(overwrite=overwrite, fresh=overwrite), progress)
    assert outputs.raster is not None
    class_map = read_class_map(outputs.raster)
    held_back = scene.labels(scene.held_back, class_map.grid)
    accuracy = compare(class_map, held_back, legend=job.card.classes)
    # As in make: the picture must not be older than run.json, which describes its inputs.
    if not products.preview.exists() or _written(products.preview) < _written(run_file(outputs.polygons)):
        _preview(scene, class_map, held_back, accuracy).write(products.preview)
    return "\n".join([*products.lines(), "", *verdict(accuracy), "", *commands(scene, products)])


def commands(scene: DemoScene, products: Products) -> Iterator[str]:
    """Yield the shell commands that do the same, and that train the model again."""
    outputs = products.segmented
    bands = ",".join(f"$DATA/{path.name}" for path in scene.bands.values())
    written = [shlex.quote(str(path)) for path in outputs.paths]
    yield "The same in commands:"
    yield f"  DATA={shlex.quote(str(scene.folder))}"
    yield f'  geoseg segment --stack "{bands}" -m "$DATA/{scene.model.name}" \\'
    yield f"    -o {written[0]} --raster {written[1]} --save-confidence {written[2]}"
    yield f"The model again, in about 4 minutes on one core, with the recipe {scene.recipe}:"
    yield f'  geoseg train "$DATA/{scene.recipe.name}" -o {shlex.quote(str(products.folder / "run"))}'


def _preview(scene: DemoScene, class_map: ClassMap, held_back: ClassMap, accuracy: Accuracy) -> Preview:
    """Combine scene, labels and map in one picture."""
    trained = scene.labels(scene.training, class_map.grid)
    reference = ClassMap(
        codes=np.where(held_back.valid, held_back.codes, trained.codes),
        valid=held_back.valid | trained.valid,
        grid=class_map.grid,
        legend=held_back.legend,
    )
    return Preview(
        colors=natural_colors(scene),
        class_map=class_map,
        reference=reference,
        held_back=held_back.valid,
        legend=accuracy.legend,
        title=TITLE,
        subtitle="Land cover from four bands of Landsat 8. The model saw no label between the lines; "
        f"there it agrees with the reference on {accuracy.overall:.0%} of the pixels.",
        names=("Landsat 8, August 2015", "reference: NLCD 2011", "map by geoseg"),
        credit=CREDIT,
    )


def natural_colors(scene: DemoScene) -> Image:
    """Return red, green and blue of the scene, (row, col, 3), stretched between the 2nd and 98th percentile,
    brightened.
    """
    source = Scene.open({name: scene.bands[name] for name in ("red", "green", "blue")})
    chip = source.read(Window(row=0, col=0, height=source.grid.height, width=source.grid.width))
    low, high = np.percentile(chip.pixels, (2, 98), axis=(1, 2))[:, :, None, None]
    shown = np.clip((chip.pixels - low) / np.maximum(high - low, 1), 0, 1) ** _GAMMA * 255
    return np.moveaxis(shown.round().astype(np.uint8), 0, -1)


def _written(path: Path) -> int:
    """Return the modification time of a file, ns."""
    return path.stat().st_mtime_ns


def verdict(accuracy: Accuracy) -> Iterator[str]:
    """Yield a table of accuracies, and a plain statement on the classes.

    Parameters
    ----------
    accuracy : Accuracy
        Accuracy on the labels that were held back.
    """
    yield f"Accuracy in the strip that was held back, {plural(accuracy.pixels, 'pixel')} whose labels no training saw:"
    yield ""
    for line in accuracy.lines():
        yield f"  {line}"
    yield ""
    scores = {row["name"]: row["iou"] for row in accuracy.rows() if row["reference_pixels"]}
    good = [name for name, iou in scores.items() if iou >= _GOOD]
    fair = [name for name, iou in scores.items() if _WEAK <= iou < _GOOD]
    weak = [name for name, iou in scores.items() if iou < _WEAK]
    if good:
        yield f"Good for: {', '.join(good)} (IoU of {_GOOD:.0%} and more)."
    if fair:
        yield f"With care: {', '.join(fair)} (IoU of {_WEAK:.0%} to {_GOOD:.0%})."
    if weak:
        yield f"Not good for: {', '.join(weak)} (IoU below {_WEAK:.0%}); do not map these with it."
    yield from wrap(f"Most often wrong: {'; '.join(_worst(accuracy))}.", _WIDTH)
    for paragraph in _ABOUT:
        yield from wrap(paragraph, _WIDTH)


def _worst(accuracy: Accuracy, most: int = 3) -> Iterator[str]:
    """Name the most common confusions, the worst first."""
    wrong = accuracy.confusion.counts.copy()
    np.fill_diagonal(wrong, 0)
    names = accuracy.legend.names
    for place in np.argsort(-wrong, axis=None, kind="stable")[:most]:
        truth, found = np.unravel_index(place, wrong.shape)
        if wrong[truth, found]:
            share = wrong[truth, found] / accuracy.pixels
            yield f"{names[truth]} mapped as {names[found]} ({share:.1%} of all pixels)"
