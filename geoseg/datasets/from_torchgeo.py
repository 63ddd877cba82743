"""Convert a torchgeo dataset to images and labels: every file (or overlap of files) becomes an entry."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from geoseg.datasets.files import Entry
from geoseg.datasets.torchgeo_parts import parts_of
from geoseg.datasets.torchgeo_sources import TorchGeoImage, TorchGeoMasks

if TYPE_CHECKING:
    from torchgeo.datasets import GeoDataset


def is_torchgeo(data: Any) -> bool:
    """Return whether this is a torchgeo dataset, without importing torchgeo."""
    datasets = sys.modules.get("torchgeo.datasets")
    return datasets is not None and isinstance(data, datasets.GeoDataset)


def entries_of(dataset: GeoDataset) -> tuple[Entry, ...]:
    """Return the images of a torchgeo dataset with their labels, one entry for each row of its index.

    Parameters
    ----------
    dataset : GeoDataset
        Usually ``images & labels``, the labels a `VectorDataset` or a `RasterDataset` with ``is_image`` False;
        or any other whose samples hold ``image`` and ``mask``.

    Raises
    ------
    DataError
        If its samples hold no image.
    SceneError
        If it covers no whole pixel.
    """
    images, labels = _split(dataset)
    entries = []
    for part, geometry in parts_of(dataset, images):
        rectangle = geometry.equals(geometry.envelope)
        masks = TorchGeoMasks(
            part=dataclasses.replace(part, dataset=labels), covered=None if rectangle else geometry
        )
        entries.append(Entry(key=part.path, image=TorchGeoImage.of(part), labels=masks))
    return tuple(entries)


def _split(dataset: GeoDataset) -> tuple[GeoDataset, GeoDataset]:
    """Return the datasets to query for images and for labels, since querying both together reads twice."""
    from torchgeo.datasets import IntersectionDataset, RasterDataset, VectorDataset

    if not isinstance(dataset, IntersectionDataset) or dataset.transforms is not None:
        return dataset, dataset
    one, other = dataset.datasets
    for images, labels in ((one, other), (other, one)):
        is_labels = isinstance(labels, VectorDataset) or not getattr(labels, "is_image", True)
        if is_labels and isinstance(images, RasterDataset) and images.is_image:
            return images, labels
    return dataset, dataset
