"""torchgeo's datasets as images and labels of ours: every file (or overlap of files) becomes a pair."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from geoseg.datasets.dataset import Channels, Pair
from geoseg.datasets.torchgeo_parts import parts_of
from geoseg.datasets.torchgeo_sources import TorchGeoImage, TorchGeoLabels
from geoseg.grid.window import Window
from geoseg.raster.labels import Meanings

if TYPE_CHECKING:
    from torchgeo.datasets import GeoDataset


def images_from_torchgeo(dataset: GeoDataset, *, nodata: float | None = None) -> tuple[TorchGeoImage, ...]:
    """Images of a torchgeo dataset, one for each row of its index (each of its files).

    Parameters
    ----------
    dataset : GeoDataset
        A `RasterDataset`, or anything with a lattice of pixels whose samples hold ``image``.
    nodata : float, optional
        Number that is not valid in any band.

    Raises
    ------
    DataError
        If the dataset's samples are no images.
    """
    return tuple(TorchGeoImage.of(part, nodata) for part, _ in parts_of(dataset, dataset))


def pairs_from_torchgeo(
    dataset: GeoDataset,
    channels: Channels,
    *,
    meanings: Meanings | None = None,
    nodata: float | None = None,
) -> tuple[Pair, ...]:
    """Pairs of images and labels of a torchgeo dataset, one for each row of its index.

    Parameters
    ----------
    dataset : GeoDataset
        Usually ``images & labels``, the labels a `VectorDataset` or a `RasterDataset` with ``is_image`` False;
        or any other whose samples hold ``image`` and ``mask``.
    channels : Channels
    meanings : Meanings, optional
        What the values of the mask mean; by default they are the codes themselves, and others are refused
        but 0, which torchgeo writes where no label is.
    nodata : float, optional
        Number of the images that is not valid in any band.

    Raises
    ------
    DataError
        If there are no images, or no labels.
    """
    images, labels = _split(dataset)
    if meanings is None:
        codes = (0, 1) if channels.task == "binary" else channels.codes
        meanings = Meanings(codes=channels.codes, code_of={code: code for code in codes})
    pairs = []
    for part, geometry in parts_of(dataset, images):
        rectangle = geometry.equals(geometry.envelope)
        pairs.append(
            Pair(
                name=part.path,
                image=TorchGeoImage.of(part, nodata),
                labels=TorchGeoLabels(
                    part=dataclasses.replace(part, dataset=labels),
                    meanings=meanings,
                    layered=channels.task == "multilabel",
                    covered=None if rectangle else geometry,
                ),
                channels=channels,
            )
        )
        pairs[-1].labels.read(Window(row=0, col=0, height=1, width=1))
    return tuple(pairs)


def _split(dataset: GeoDataset) -> tuple[GeoDataset, GeoDataset]:
    """Return the dataset to ask for images and the one to ask for labels: asking both for each reads twice."""
    from torchgeo.datasets import IntersectionDataset, RasterDataset, VectorDataset

    if not isinstance(dataset, IntersectionDataset) or dataset.transforms is not None:
        return dataset, dataset
    one, other = dataset.datasets
    for images, labels in ((one, other), (other, one)):
        is_labels = isinstance(labels, VectorDataset) or not getattr(labels, "is_image", True)
        if is_labels and isinstance(images, RasterDataset) and images.is_image:
            return images, labels
    return dataset, dataset
