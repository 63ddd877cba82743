"""What to do about a scene that does not fit a model: GDAL's programs for files, methods of arrays for arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from geoseg.errors import Message, Text
from geoseg.raster.source import Source


def converted(source: Source, dtype: np.dtype[Any]) -> Text:
    """Say how the numbers of a scene become those of another data type."""
    if not source.is_array:
        return "convert the scene with gdal_translate"
    if source.dtype.kind == "f" and dtype.kind in "iu":  # NaN would become a number like any other
        return Message(
            'convert it with .astype("{}"), after NaN is replaced by a number that {nodata} names', dtype
        )
    return f'convert it with .astype("{dtype}")'


def unscaled(source: Source) -> str:
    """Say how a scene's scale and offset are applied to its numbers."""
    if source.is_array:
        return "rioxarray.open_rasterio(..., mask_and_scale=True) applies them"
    return "gdal_translate -unscale -ot Float32 applies them"


def tagged(source: Source) -> str:
    """Say how a scene gets scale and offset."""
    if source.is_array:
        return "with scale_factor and add_offset in its attrs"
    return "with gdal_translate -a_scale and -a_offset"


def resampled(source: Source) -> str:
    """Say how a scene gets other pixels."""
    return "with .rio.reproject(resolution=...)" if source.is_array else "with gdalwarp -tr"
