"""Class maps side by side as one file: a VRT that keeps their legend, which ``gdalbuildvrt`` loses."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree as Xml

from geoseg.grid.grid import Grid
from geoseg.grid.legend import NODATA, Legend
from geoseg.grid.window import Window
from geoseg.raster.legend_file import LEGEND_TAG, legend_to_json

_BLOCK = 512


def mosaic_vrt(grid: Grid, parts: Iterable[tuple[str, Window]], legend: Legend) -> str:
    """Return the text of a VRT.

    Parameters
    ----------
    grid : Grid
        Grid of the whole map.
    parts : iterable of (str, Window)
        Files of uint8 codes by their path relative to the VRT, each with the pixels of the map that it holds. Where
        files share pixels, 255 (no data) does not cover.
    legend : Legend
        Classes.
    """
    root = Xml.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    if grid.crs is not None:
        Xml.SubElement(root, "SRS", dataAxisToSRSAxisMapping="1,2").text = grid.crs
    numbers = ", ".join(repr(float(number)) for number in grid.transform.to_gdal())
    Xml.SubElement(root, "GeoTransform").text = numbers
    metadata = Xml.SubElement(root, "Metadata")
    Xml.SubElement(metadata, "MDI", key=LEGEND_TAG).text = legend_to_json(legend)
    band = Xml.SubElement(
        root, "VRTRasterBand", dataType="Byte", band="1", blockXSize=str(_BLOCK), blockYSize=str(_BLOCK)
    )
    Xml.SubElement(band, "Description").text = "land cover"
    Xml.SubElement(band, "NoDataValue").text = str(NODATA)
    Xml.SubElement(band, "ColorInterp").text = "Palette"
    names, colors = Xml.SubElement(band, "CategoryNames"), Xml.SubElement(band, "ColorTable")
    known = {each.code: each for each in legend.classes}
    for code in range(max(known) + 1):
        found = known.get(code)
        Xml.SubElement(names, "Category").text = "" if found is None else found.name
        red, green, blue = (0, 0, 0) if found is None else found.rgb
        opaque = "0" if found is None else "255"
        Xml.SubElement(colors, "Entry", c1=str(red), c2=str(green), c3=str(blue), c4=opaque)
    for name, window in parts:
        _add(band, name, window)
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode") + "\n"


def _add(band: Xml.Element, name: str, window: Window) -> None:
    source = Xml.SubElement(band, "ComplexSource")
    Xml.SubElement(source, "SourceFilename", relativeToVRT="1").text = Path(name).as_posix()
    Xml.SubElement(source, "SourceBand").text = "1"
    width, height = str(window.width), str(window.height)
    Xml.SubElement(
        source, "SourceProperties", RasterXSize=width, RasterYSize=height, DataType="Byte",
        BlockXSize=str(_BLOCK), BlockYSize=str(_BLOCK),
    )  # fmt: skip
    Xml.SubElement(source, "SrcRect", xOff="0", yOff="0", xSize=width, ySize=height)
    place = str(window.col), str(window.row)
    Xml.SubElement(source, "DstRect", xOff=place[0], yOff=place[1], xSize=width, ySize=height)
    Xml.SubElement(source, "NODATA").text = str(NODATA)
