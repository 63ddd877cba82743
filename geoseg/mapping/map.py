"""The verb map: many scenes become one map."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from geoseg.errors import OptionError
from geoseg.inference.options import PredictOptions
from geoseg.progress import ShowProgress, shown
from geoseg.storage.output import file_given

if TYPE_CHECKING:
    from distributed import Client

    from geoseg.grid.legend import Legend
    from geoseg.models.model import Model
    from geoseg.raster.declared import Nodata, NodataRule


def map(  # noqa: A001 - the verb's name
    scenes: Sequence[str | PathLike[str]],
    model: Path | str | Model,
    *,
    output: PathLike[str] | str,
    grid: str | None = None,
    like: PathLike[str] | str | None = None,
    prefer: str = "order",
    cell: str | None = None,
    resample: Literal["nearest", "bilinear"] = "nearest",
    workers: int | None = None,
    scheduler: str | None = None,
    client: Client | None = None,
    bands: Sequence[int | str] | None = None,
    legend: Legend | PathLike[str] | str | None = None,
    nodata: Nodata | None = None,
    nodata_rule: NodataRule | None = None,
    alpha: int | Literal["none"] | None = None,
    tile_size: int | None = None,
    overlap: int | None = None,
    batch_size: int | Literal["auto"] = "auto",
    device: str = "auto",
    precision: str = "auto",
    tta: bool = False,
    profile: bool = False,
    allow_remote: bool = False,
    expand_palette: bool = False,
    assume_crs: str | None = None,
    force: bool = False,
    overwrite: bool = False,
    resume: bool = True,
    progress: ShowProgress = None,
) -> Path:
    """Turn many scenes into one land-cover map in which every piece of ground counts once.

    Scenes may overlap and lie in several UTM zones. Each keeps its own pixels: nothing is resampled before the network
    sees it. Every pixel belongs to one scene, by `prefer`, and a region is one polygon however many scenes it crosses.
    Beside `output` stand a folder of class maps, a VRT for each pixel grid that shows them as one, and a table of
    areas.

    Parameters
    ----------
    scenes : sequence of path
        The scenes, as `geoseg.segment` takes them. One that cannot be used is reported and passed over.
    model : path or Model
        A model file, or one that is open.
    output : path
        File of the polygons: a GeoPackage, GeoParquet, FlatGeobuf or GeoJSON by its ending; or a folder, ``DIR/``,
        for ``landcover.gpkg`` in it. The polygons say scene and date.
    grid : str, optional
        CRS and pixel size of the whole map, ``EPSG:3035,10``: classes are brought onto it once, at the end. By default
        the scenes keep their own grids; polygons are then in their CRS, or in longitude and latitude if there are
        several.
    like : path, optional
        Raster whose grid the whole map shall have, instead.
    prefer : str
        Which scene owns a pixel that several have valid data of: the first in the list (``order``), the ``newest``, the
        one with most valid pixels around (``clearest``), the one whose centre is ``nearest``; or ``confidence``: the
        mean of their probabilities decides.
    cell : str, optional
        Edge of the cells in which the map is computed: ``10km``, ``2048px``; it changes no pixel. By default 4096 px,
        or 2048 for more than four bands.
    resample : str
        How results come onto another grid: the class of the ``nearest`` pixel, or probabilities interpolated
        (``bilinear``) and then decided.
    workers : int, optional
        Number of processes to compute in on this machine; by default this one alone.
    scheduler : str, optional
        Address of a dask scheduler, ``tcp://host:8786``, or its JSON file: the workers of that cluster compute.
    client : distributed.Client, optional
        Client of a cluster, instead.
    bands : sequence of int or str, optional
        Which bands of the scenes (1-based numbers or names) are the model's bands, in the model's order.
    legend : Legend or path, optional
        Names and colours of codes in the products, instead of the model's.
    nodata, nodata_rule, alpha : optional
        What is no data in the scenes, as for `geoseg.predict`.
    tile_size, overlap : int, optional
        Tile size and overlap of neighbouring tiles, px; the model's by default.
    batch_size : int or "auto"
        Number of tiles per call of the model.
    device, precision : str
        As for `geoseg.predict`.
    tta : bool
        Whether to use test-time augmentation, 8 times the work.
    profile : bool
        Whether ``run.json`` beside the output says how long each stage took, summed over all workers.
    allow_remote : bool
        Whether a VRT may refer to remote files.
    expand_palette : bool
        Whether palette images are read as red, green and blue.
    assume_crs : str, optional
        CRS of scenes that have none.
    force : bool
        Whether to use scenes that do not match the model.
    overwrite : bool
        Whether to replace an existing output; cells that nothing has changed of are kept.
    resume : bool
        Whether to keep the cells of earlier calls; False computes all anew.
    progress : bool or callable, optional
        As for `geoseg.predict`; counts cells.

    Returns
    -------
    Path
        File of the polygons.

    Raises
    ------
    OptionError, ModelError, SceneError, OutputError
        If an option, the model, all of the scenes or the output cannot be used.
    """
    from geoseg.mapping.order import MapOrder
    from geoseg.mapping.run import make_map, output_of_map
    from geoseg.mapping.spread import Spread
    from geoseg.mapping.wishes import wishes_of

    given: dict[str, Any] = dict(locals())
    if isinstance(scenes, str | PathLike):
        raise OptionError(f"scenes is {str(scenes)!r}, expected a list of scenes, [{str(scenes)!r}]")
    listed = list(scenes)
    for scene in listed:
        file_given("an entry of scenes", scene)
    order = MapOrder(
        scenes=listed,
        model=model,
        output=output_of_map(output),
        options=PredictOptions.of(given),
        wishes=lambda card: wishes_of(
            card, grid=grid, like=like, prefer=prefer, cell=cell, resample=resample
        ),
        resampling=resample,
        spread=Spread(workers=workers, scheduler=scheduler, client=client),
        overwrite=overwrite,
        fresh=not resume,
    )
    with shown(progress) as told:
        return make_map(order, told).run.output
